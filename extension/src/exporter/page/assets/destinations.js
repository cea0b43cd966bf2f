// The account of each destination: what it received, and what became of it.

import { get } from './api.js';
import { h, keyed, showOnly, table, value } from './dom.js';
import { empty, heading } from './empty.js';
import { duration } from './format.js';

/** @typedef {import('./api.js').Destination} Destination */

const COLUMNS = [
  'Destination',
  'Breaker',
  'Received.number',
  'Delivered.number',
  'Held.number',
  'Spooled.number',
  'Dropped.number',
];

/**
 * @param {import('./main.js').Context} context
 * @returns {import('./main.js').View}
 */
export function destinations({ signal }) {
  const list = table('Spans, log records and failures by destination', COLUMNS);
  const figures = h('div');
  const place = h('div');
  const refresh = async () => {
    const { destinations: found, holds, refused } = await get('/api/destinations', {}, signal);
    keyed(list.body, /** @type {Destination[]} */ (found), row);
    const text = 'Set the key of one, such as Honeycomb’s, and start again:';
    showOnly(place, found.length ? list.element : empty('No destinations', text, 'HONEYCOMB_API_KEY=… make run'));
    const tables = [account('Holds of the next invocation', holds), account('Refused by the receivers', refused)];
    showOnly(figures, h('div.pairs', tables));
  };
  const text =
    'Received = delivered + held in memory + spooled on disk + dropped. A failing destination opens its breaker.';
  const element = h('div', h('div.bar', heading('Destinations')), h('p.muted', text), place, figures);
  return { title: 'Destinations', element, refresh, polls: true };
}

/** @param {Destination} it */
function row({ name, enabled, endpoint, breaker, dropped, ...it }) {
  const reasons = Object.entries(dropped).filter(([, number]) => number > 0);
  const sum = reasons.reduce((total, [, number]) => total + number, 0);
  const lost = reasons.map(([reason, number]) =>
    h('span.reason', value(reason, 80), ` ${number.toLocaleString('en')}`),
  );
  const figures = [it.received, it.delivered, it.held, it.spooled];
  return h(
    `tr.${enabled ? '' : 'is-off'}`,
    h('th', { scope: 'row' }, value(name), endpoint && h('span.endpoint', value(endpoint, 120))),
    h('td', enabled ? h(`span.badge.${breaker === 'closed' ? 'fine' : 'error'}`, breaker) : 'off'),
    figures.map(figure => h('td.number', figure.toLocaleString('en'))),
    h('td.number', sum.toLocaleString('en'), lost),
  );
}

/**
 * @param {string} title
 * @param {Record<string, unknown> | null} pairs
 */
function account(title, pairs) {
  const rows = Object.entries(pairs ?? {}).filter(([, figure]) => typeof figure === 'number');
  const list = table(title, ['Figure', 'Value.number'], 'shown');
  for (const [name, figure] of rows) {
    const text = name.endsWith('_ms') ? duration(Number(figure)) : Number(figure).toLocaleString('en');
    const label = name.replace(/_ms$/, '').replaceAll('_', ' ');
    list.body.append(h('tr', h('th', { scope: 'row' }, value(label)), h('td.number', text)));
  }
  return rows.length > 0 && list.element;
}
