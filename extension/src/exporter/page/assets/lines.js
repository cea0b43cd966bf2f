// Log lines, newest first.

import { get } from './api.js';
import { asText, h, keyed, level, showOnly, table, value } from './dom.js';
import { empty, heading } from './empty.js';
import { filters } from './filters.js';
import { clock, count, day } from './format.js';

/** @typedef {import('./api.js').Line} Line */

const LIMIT = 300;

/** Fields shown beside a message; the details of the line show all. */
const MAX_FIELDS = 8;

/** @type {import('./filters.js').Field[]} */
const FIELDS = [
  { name: 'text', label: 'Search', type: 'search', placeholder: 'message or field' },
  { name: 'level', label: 'Level from', options: ['', 'debug', 'info', 'warn', 'error'].map(it => [it, it || 'all']) },
  { name: 'trace', label: 'Trace' },
];

/**
 * @param {import('./main.js').Context} context
 * @returns {import('./main.js').View}
 */
export function lines({ query, signal, search }) {
  const total = h('p.muted.total');
  const list = table('Log lines, newest first', ['Time (UTC), level', 'Message', 'Span']);
  const place = h('div');
  const refresh = async () => {
    const wanted = new URLSearchParams([...query(), ['limit', String(LIMIT)]]);
    const { lines: found, matched } = await get('/api/lines', wanted, signal);
    keyed(list.body, /** @type {Line[]} */ (found), row);
    total.textContent =
      matched > found.length ? `the newest ${LIMIT} of ${matched} lines` : count(found.length, 'line');
    const nothing = query().size
      ? empty('No line fits these filters', 'Reset them, or wait for one that fits.', null)
      : empty('No lines yet', 'Each request of the local run logs one:');
    showOnly(place, found.length ? list.element : nothing);
  };
  const form = filters('Filter the lines', FIELDS, query(), search);
  const element = h('div', h('div.bar', heading('Lines'), total), form, place);
  return { title: 'Lines', element, refresh, polls: true };
}

/** @param {Line} line */
function row({ time_ms, level: weight, message, trace, span, fields }) {
  const pairs = Object.entries(fields).slice(0, MAX_FIELDS);
  const query = new URLSearchParams(span ? { span } : {});
  const link = trace && h('a', { href: `/traces/${encodeURIComponent(trace)}?${query}` }, (span ?? trace).slice(-8));
  return h(
    'tr',
    h('td.time', h('time', { title: day(time_ms) }, clock(time_ms)), level(weight)),
    h(
      'td.message',
      h('div', value(message, 600)),
      pairs.map(([key, field]) => h('span.pair', value(key, 60), '=', value(asText(field), 120))),
    ),
    h('td', link || '–'),
  );
}
