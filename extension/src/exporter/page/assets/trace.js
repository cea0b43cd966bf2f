// One trace: its waterfall, the details of a span, its failures, and what each destination gets.

import { ApiError, get, getText } from './api.js';
import { button, copy, h, showOnly, value } from './dom.js';
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
  const h1 = heading('Trace');
  const content = h('div');
  const download = h('a.button', { href: `${path}/otlp`, download: '' }, 'Download OTLP');
  const actions = h('div.actions', { hidden: true }, copyButton(path, signal), download);
  const bar = h('div.bar', h('div', h1, h('div.about')), actions);
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
    waterfall.show(nodes, found.lines);
    if (isFirst) content.replaceChildren(...frame(waterfall, panel), h('div.found'), previews(path, signal));
    actions.hidden = false;
    h1.replaceChildren(...title(found.summary));
    showOnly(/** @type {Element} */ (bar.querySelector('.about')), about(found));
    content.querySelector('.legend')?.replaceWith(legend(nodes));
    const failures = found.failures.map(it => group(it));
    const list = h('div', failures.length > 0 && h('h2', 'Failures'), failures);
    showOnly(/** @type {Element} */ (content.querySelector('.found')), list);
    if (!isFirst) return;
    waterfall.select(query().get('span') ?? '');
    if (waterfall.rows.length) detail(waterfall.rows[waterfall.active]);
  };
  const refresh = async () => {
    const found = await get(path, {}, signal).catch(error => {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    });
    if (found) draw(found);
    else if (!shown) showOnly(content, empty('This trace is not here', GONE, null));
  };
  const element = h('div', bar, content);
  return { title: `Trace ${id.slice(-8)}`, element, refresh, concerns: ids => !ids || ids.has(id) };
}

/** @param {import('./api.js').Summary} summary */
function title(summary) {
  const { status, cold, error } = summary;
  return [
    value(requestTitle(summary), 200),
    status ? h(`span.status.${statusClass(status)}`, ` ${status}`) : '',
    cold ? h('span.badge.cold', 'cold') : '',
    error ? h('span.badge.error', value(error, 60)) : '',
  ];
}

/** @param {Trace} found */
function about({ summary: { start_ms, duration_ms, orphans, user, id }, spans, dropped }) {
  const facts = [
    day(start_ms),
    duration(duration_ms),
    count(spans.length, 'span'),
    orphans > 0 && count(orphans, 'orphan'),
    dropped > 0 && `${count(dropped, 'item')} dropped by the page`,
  ];
  return h(
    'div',
    h('p.muted', facts.filter(Boolean).join(' · '), user && [' · user ', value(user, 40)]),
    h('p.muted.id', 'trace ', h('code', value(id, 64))),
  );
}

/**
 * @param {string} path
 * @param {AbortSignal} signal
 */
function copyButton(path, signal) {
  const made = button('Copy as text', async () => {
    if (await copy(await getText(`${path}/text`, {}, signal))) made.textContent = 'Copied';
    setTimeout(() => (made.textContent = 'Copy as text'), 2000);
  });
  return made;
}

/**
 * @param {Waterfall} waterfall
 * @param {HTMLElement} panel
 */
function frame(waterfall, panel) {
  const notes = h('input', { type: 'checkbox', checked: waterfall.hasNotes });
  notes.addEventListener('change', () => waterfall.showNotes(notes.checked));
  const tools = h(
    'div.tools',
    h('ul.legend'),
    h('label.check', notes, h('span', 'Events and lines')),
    button('Collapse', () => waterfall.foldAll(false), { class: 'quiet' }),
    button('Expand', () => waterfall.foldAll(true), { class: 'quiet' }),
  );
  return [tools, h('div.split', waterfall.element, panel)];
}
