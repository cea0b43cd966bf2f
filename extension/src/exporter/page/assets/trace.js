// One trace: its waterfall, the details of a span, its failures, and what each destination gets.

import { ApiError, get, getText } from './api.js';
import { button, copy, h, value } from './dom.js';
import { details } from './details.js';
import { empty, heading } from './empty.js';
import { group } from './failures.js';
import { count, day, duration } from './format.js';
import { previews } from './previews.js';
import { statusClass, title as requestTitle } from './requests.js';
import { tree } from './tree.js';
import { Waterfall, legend } from './waterfall.js';

/**
 * @typedef {import('./api.js').Trace} Trace
 * @typedef {import('./rows.js').Row} Row
 */

/** Width in CSS pixels from which the details are beside the waterfall, as in style.css. */
const BESIDE = 1100;

const GONE = 'It has not arrived yet, or newer traces took its place. Its spans are shown as soon as they arrive.';

/**
 * @param {import('./main.js').Context} context
 * @returns {import('./main.js').View}
 */
export function trace({ path: address, query, signal }) {
  const id = decodeURIComponent(address.slice('/traces/'.length));
  const path = `/api/traces/${encodeURIComponent(id)}`;
  const element = h('div', heading('Trace'));
  const panel = h('section.panel', { 'aria-label': 'Details' });
  /** @type {Trace | null} */
  let shown = null;

  const detail = (/** @type {Row} */ row) => {
    const span = row.node?.span.id;
    panel.replaceChildren(details(row, id, shown?.lines.filter(line => line.span && line.span === span) ?? []));
    return span;
  };
  const waterfall = new Waterfall(row => {
    const span = detail(row);
    history.replaceState(null, '', span ? `?${new URLSearchParams({ span })}` : address);
    panel.querySelector('h2')?.focus({ preventScroll: innerWidth >= BESIDE });
  });
  panel.addEventListener('keydown', event => {
    if (event.key === 'Escape') waterfall.element.focus();
  });

  const draw = (/** @type {Trace} */ found) => {
    const isFirst = !shown;
    shown = found;
    const nodes = tree(found.spans);
    if (isFirst) element.replaceChildren(...frame(path, waterfall, panel, signal));
    swap(element, '.title', title(found));
    swap(element, '.legend', legend(nodes));
    const failures = found.failures.map(it => group(it));
    swap(element, '.found', h('div.found', failures.length > 0 && h('h2', 'Failures'), failures));
    waterfall.show(nodes, found.lines);
    if (!isFirst) return;
    waterfall.select(query().get('span') ?? '');
    if (waterfall.rows.length) detail(waterfall.rows[waterfall.active]);
    const notes = element.querySelector('input');
    if (notes) notes.checked = waterfall.hasNotes;
  };
  const refresh = async () => {
    const hadFocus = document.activeElement?.tagName === 'H1';
    const found = await get(path, {}, signal).catch(error => {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    });
    if (found) draw(found);
    else if (!shown) element.replaceChildren(heading('Trace'), empty('This trace is not here', GONE));
    if (hadFocus) element.querySelector('h1')?.focus();
  };
  return { title: `Trace ${id.slice(-8)}`, element, refresh, concerns: ids => !ids || ids.has(id) };
}

/**
 * Replaces a part, unless it is equal: then it keeps its focus and what is open.
 * @param {Element} element
 * @param {string} selector
 * @param {Element} part
 */
function swap(element, selector, part) {
  const old = element.querySelector(selector);
  if (!old?.isEqualNode(part)) old?.replaceWith(part);
}

/** @param {Trace} found */
function title({ summary, spans, dropped }) {
  const { status, id, user } = summary;
  const facts = [
    day(summary.start_ms),
    duration(summary.duration_ms),
    count(spans.length, 'span'),
    summary.orphans > 0 && count(summary.orphans, 'orphan'),
    dropped > 0 && `${count(dropped, 'item')} dropped by the page`,
  ];
  const text = [
    value(requestTitle(summary), 200),
    status && h(`span.status.${statusClass(status)}`, ` ${status}`),
    summary.cold && h('span.badge.cold', 'cold'),
    summary.error && h('span.badge.error', value(summary.error, 60)),
  ];
  return h(
    'div.title',
    h('h1', { tabindex: '-1' }, text),
    h('p.muted', facts.filter(Boolean).join(' · '), user && [' · user ', value(user, 40)]),
    h('p.muted.id', 'trace ', h('code', value(id, 64))),
  );
}

/**
 * @param {string} path
 * @param {Waterfall} waterfall
 * @param {HTMLElement} panel
 * @param {AbortSignal} signal
 */
function frame(path, waterfall, panel, signal) {
  const asText = button('Copy as text', async () => {
    if (await copy(await getText(`${path}/text`, {}, signal))) asText.textContent = 'Copied';
    setTimeout(() => (asText.textContent = 'Copy as text'), 2000);
  });
  const download = h('a.button', { href: `${path}/otlp`, download: '' }, 'Download OTLP');
  const showNotes = (/** @type {Event} */ { target }) =>
    waterfall.showNotes(target instanceof HTMLInputElement && target.checked);
  const tools = h(
    'div.tools',
    h('ul.legend'),
    h('label.check', h('input', { type: 'checkbox', on: { change: showNotes } }), h('span', 'Events and lines')),
    button('Collapse', () => waterfall.foldAll(false), { class: 'quiet' }),
    button('Expand', () => waterfall.foldAll(true), { class: 'quiet' }),
  );
  const bar = h('div.bar', h('div.title'), h('div.actions', asText, download));
  return [bar, tools, h('div.split', waterfall.element, panel), h('div.found'), previews(path, signal)];
}
