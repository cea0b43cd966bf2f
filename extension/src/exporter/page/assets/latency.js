// Durations over time, and percentiles by route.

import { COLD_FLAG, get } from './api.js';
import { announce, button, h, keyed, showOnly, table, value } from './dom.js';
import { empty, heading } from './empty.js';
import { filters } from './filters.js';
import { count, duration } from './format.js';
import { Heatmap } from './heatmap.js';
import { requests } from './requests.js';
import { routeNames } from './traces.js';

/**
 * @typedef {import('./api.js').Route} Route
 * @typedef {import('./api.js').Summary} Summary
 */

/** @type {import('./filters.js').Field[]} */
const FIELDS = [
  { name: 'route', label: 'Route', list: 'routes' },
  {
    name: 'minutes',
    label: 'Time',
    options: [
      ['', 'all that is stored'],
      ['5', 'last 5 minutes'],
      ['60', 'last hour'],
    ],
  },
  {
    name: 'starts',
    label: 'Starts',
    options: [
      ['', 'warm and cold'],
      ['warm', 'warm only'],
      ['cold', 'cold only'],
    ],
  },
];

const COLUMNS = [
  'Route',
  'Count.number',
  'Errors.number',
  'p50.number',
  'p90.number',
  'p99.number',
  'Cold starts.number',
];

const LEGEND = { '': 'requests: the stronger, the more', cold: 'with a cold start', error: 'with an error' };

/**
 * @param {import('./main.js').Context} context
 * @returns {import('./main.js').View}
 */
export function latency({ query, signal, search }) {
  const total = h('p.muted.total');
  const suggestions = h('datalist', { id: 'routes' });
  const routes = table('Percentiles of warm requests by route', COLUMNS, 'shown');
  const selected = requests('Selected requests, newest first');
  const text = h('p.muted');
  const end = button('End the selection', () => heatmap.clear(), { class: 'quiet' });
  const inside = h('section', { hidden: true }, h('div.bar', h('h2', 'Selection'), text, end), selected.element);
  const heatmap = new Heatmap(async (ids, range, label) => {
    inside.hidden = !range;
    if (!range) return;
    text.textContent = label;
    announce(label);
    const { traces } = await get('/api/traces', { limit: '10000', ...range }, signal);
    selected.show(/** @type {Summary[]} */ (traces).filter(({ id }) => ids.has(id)));
  });
  const items = Object.entries(LEGEND).map(([name, label]) => h('li', h(`span.swatch.cell.${name}`), label));
  const legend = h('ul.legend', { 'aria-label': 'Legend' }, items);
  const content = h('div', heatmap.element, h('div.tools', legend, heatmap.help), inside, routes.element);
  const place = h('div');
  const refresh = async () => {
    const { route = '', minutes, starts } = Object.fromEntries(query());
    /** @type {Record<string, string>} */
    const since = minutes ? { since_ms: String(Date.now() - 60_000 * Number(minutes)) } : {};
    const [{ points }, { routes: found }] = await Promise.all([
      get('/api/points', { route, ...since }, signal),
      get('/api/routes', since, signal),
    ]);
    const kept = /** @type {import('./api.js').Point[]} */ (points).filter(([, , flags]) => fits(flags, starts));
    heatmap.show(kept);
    keyed(routes.body, /** @type {Route[]} */ (found), row);
    keyed(suggestions, routeNames(found), name => h('option', { value: name }));
    total.textContent = count(kept.length, 'request');
    const nothing = empty('No requests yet', 'Durations appear with the first one:');
    showOnly(place, found.length || points.length || query().size ? content : nothing);
  };
  const changed = (/** @type {URLSearchParams} */ set) => {
    heatmap.clear();
    search(set);
  };
  const form = filters('Filter the heatmap', FIELDS, query(), changed);
  const element = h('div', h('div.bar', heading('Latency'), total), form, suggestions, place);
  return { title: 'Latency', element, refresh };
}

/**
 * @param {number} flags
 * @param {string | undefined} starts
 */
function fits(flags, starts) {
  return !starts || Boolean(flags & COLD_FLAG) === (starts === 'cold');
}

/** @param {Route} it */
function row({ route, method, count: number, errors, p50_ms, p90_ms, p99_ms, cold }) {
  const query = new URLSearchParams({ route });
  const name = `${method ?? ''} ${route}`.trim();
  return h(
    'tr',
    h('th', { scope: 'row' }, h('a', { href: `/?${query}` }, value(name || 'without a name', 120))),
    h('td.number', number.toLocaleString('en')),
    h(`td.number.${errors ? 'is-bad' : ''}`, errors.toLocaleString('en')),
    [p50_ms, p90_ms, p99_ms].map(ms => h('td.number', duration(ms))),
    h('td.number', cold.toLocaleString('en')),
  );
}
