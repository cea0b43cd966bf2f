// A table of requests. Arrow keys move between its rows.

import { h, keyed, table, value } from './dom.js';
import { clock, count, day, duration } from './format.js';

/** @typedef {import('./api.js').Summary} Summary */

const COLUMNS = [
  'Time (UTC)',
  'Request',
  'Status.number',
  'Duration.number',
  'User.wide-only',
  'Service.wide-only',
  'Spans.number.wide-only',
  'Lines.number.wide-only',
];

/** @param {string} caption */
export function requests(caption) {
  const { element, body } = table(caption, COLUMNS);
  body.addEventListener('keydown', walk);
  return { element, show: (/** @type {Summary[]} */ summaries) => keyed(body, summaries, row) };
}

/** @param {{ name: string, route: string | null, method: string | null }} summary */
export function title({ name, route, method }) {
  return route ? `${method ?? ''} ${route}`.trim() : name || 'a span without a name';
}

/** @param {number | null} status */
export function statusClass(status) {
  if (!status) return '';
  return status >= 500 ? 'is-bad' : status >= 400 ? 'is-odd' : 'is-fine';
}

/** @param {Summary} summary */
function row(summary) {
  const { id, status, error, user, start_ms, duration_ms, failures, orphans } = summary;
  // A tenth of the width for 1 ms, all of it for 10 s.
  const width = `${Math.min(100, Math.max(2, 25 * Math.log10(1 + (duration_ms || 0))))}%`;
  return h(
    `tr.${error || (status ?? 0) >= 500 ? 'is-error' : ''}`,
    h('td.time', h('time', { title: day(start_ms) }, clock(start_ms))),
    h(
      'th.request',
      { scope: 'row' },
      h('a', { href: `/traces/${encodeURIComponent(id)}` }, value(title(summary), 120)),
      summary.cold && h('span.badge.cold', 'cold'),
      error && h('span.badge.error', value(error, 40)),
      failures > 0 && !error && h('span.badge.error', count(failures, 'failure')),
      orphans > 0 && h('span.badge', count(orphans, 'orphan')),
    ),
    h(`td.number.status.${statusClass(status)}`, status ?? '–'),
    h('td.number', duration(duration_ms), h('span.meter', h('span', { style: { width } }))),
    h('td.wide-only', user ? value(user, 8) : '–'),
    h('td.wide-only', value(summary.service, 40)),
    h('td.number.wide-only', summary.spans),
    h('td.number.wide-only', summary.lines),
  );
}

/** @param {KeyboardEvent} event */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target instanceof Element ? event.target.closest('tr') : null;
  if (!step || !row) return;
  const next = step > 0 ? row.nextElementSibling : row.previousElementSibling;
  event.preventDefault();
  next?.querySelector('a')?.focus();
}
