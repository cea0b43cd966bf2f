// The details of a span, an event or a log line.

import { asText, h, level, longValue, table, value } from './dom.js';
import { clock, duration } from './format.js';
import { eventText } from './rows.js';

/**
 * @typedef {import('./api.js').SpanEvent} SpanEvent
 * @typedef {import('./api.js').Line} Line
 */

/** Log lines listed of a span. */
const MAX_LINES = 200;

/**
 * @param {import('./rows.js').Row} row
 * @param {string} trace
 * @param {Line[]} lines those of the span
 */
export function details(row, trace, lines) {
  const parts = row.kind === 'line' ? lineParts(row.line) : spanParts(row.node, lines);
  const query = new URLSearchParams({ trace });
  return h('div', parts, h('p', h('a', { href: `/lines?${query}` }, 'Log lines of this trace')));
}

/**
 * @param {import('./tree.js').TreeNode} node
 * @param {Line[]} lines
 */
function spanParts({ span, notes }, lines) {
  const exceptions = span.events.filter(event => event.name === 'exception');
  const events = span.events.filter(event => event.name !== 'exception');
  const status = span.error ? ['error', span.status_message].filter(Boolean).join(': ') : 'ok';
  return [
    h('h2', { tabindex: '-1' }, value(span.name || 'a span without a name', 200)),
    notes.map(note => h('p.note', note)),
    span.cut && h('p.note', 'Values of this span were cut for the page; destinations get them whole.'),
    facts({
      Duration: duration(span.duration_ms),
      Start: `${clock(span.start_ms)} UTC`,
      Service: span.service,
      Kind: span.platform ? `platform: ${span.platform}` : span.kind,
      Status: status,
      'Span id': span.id,
    }),
    exceptions.map(event => [h('h3', 'Exception'), h('p.sign', longValue(eventText(event))), stack(event)]),
    events.length > 0 && [h('h3', 'Events'), events.map(eventPart)],
    lines.length > 0 && [h('h3', 'Log lines'), h('ul.lines', lines.slice(0, MAX_LINES).map(lineItem))],
    h('h3', 'Attributes'),
    attributes(span.attributes, { hasFilters: true }),
    span.links.length > 0 && [h('h3', 'Links'), h('ul', span.links.map(spanLink))],
    Object.keys(span.resource).length > 0 && [h('h3', 'Resource'), attributes(span.resource, { hasFilters: true })],
  ];
}

/** @param {Line} line */
function lineParts({ message, time_ms, level: weight, service, request_id, fields }) {
  return [
    h('h2', { tabindex: '-1' }, 'Log line'),
    h('p', longValue(message)),
    facts({ Time: `${clock(time_ms)} UTC`, Level: weight, Service: service, Request: request_id ?? '–' }),
    h('h3', 'Fields'),
    attributes(fields),
  ];
}

/** @param {Record<string, string>} pairs */
function facts(pairs) {
  return h(
    'dl.facts',
    Object.entries(pairs).map(([name, text]) => [h('dt', name), h('dd', longValue(text))]),
  );
}

/** @param {SpanEvent} event */
function stack({ attributes: { 'exception.stacktrace': text } }) {
  return text ? h('pre.stack', { tabindex: '0', role: 'group', 'aria-label': 'Stack' }, longValue(text)) : null;
}

/** @param {SpanEvent} event */
function eventPart(event) {
  return h('div', h('p', clock(event.time_ms), ' ', value(eventText(event))), attributes(event.attributes));
}

/** @param {Line} line */
function lineItem(line) {
  return h('li', level(line.level), ' ', value(line.message, 400));
}

/** @param {{ trace: string, span: string }} link */
function spanLink({ trace, span }) {
  const href = `/traces/${encodeURIComponent(trace)}?${new URLSearchParams({ span })}`;
  return h('li', h('a', { href }, `span ${span} of trace ${trace}`));
}

/**
 * @param {Record<string, unknown>} pairs
 * @param {{ hasFilters?: boolean }} [options] `hasFilters`: each value links to the traces that have it
 */
export function attributes(pairs, { hasFilters = false } = {}) {
  const keys = Object.keys(pairs).sort();
  if (!keys.length) return h('p.muted', 'none');
  const list = table('Attributes', ['Key', 'Value']);
  for (const key of keys) {
    const query = new URLSearchParams({ attr: `${key}:${asText(pairs[key]).slice(0, 500)}` });
    const label = `Requests with this ${key.slice(0, 80)}`;
    const link = hasFilters && h('a.filter', { href: `/?${query}`, 'aria-label': label, title: label }, '⌕');
    list.body.append(h('tr', h('th', { scope: 'row' }, value(key, 120)), h('td', longValue(pairs[key]), link)));
  }
  return list.element;
}
