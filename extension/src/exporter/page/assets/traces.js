// The list of requests, newest first.

import { clear, get } from './api.js';
import { announce, button, h, keyed, showOnly } from './dom.js';
import { empty, heading } from './empty.js';
import { filters } from './filters.js';
import { count } from './format.js';
import { requests } from './requests.js';

const LIMIT = 200;

/** @type {import('./filters.js').Field[]} */
const FIELDS = [
  { name: 'text', label: 'Search', type: 'search', placeholder: 'any text or id' },
  { name: 'route', label: 'Route', list: 'routes' },
  { name: 'status', label: 'Status', placeholder: '500 or 4xx' },
  { name: 'user', label: 'User' },
  { name: 'min_ms', label: 'At least, ms', type: 'number' },
  { name: 'attr', label: 'Attribute', placeholder: 'key:value' },
  { name: 'error', label: 'Errors only', type: 'checkbox' },
];

/**
 * @param {import('./main.js').Context} context
 * @returns {import('./main.js').View}
 */
export function traces({ query, signal, search }) {
  let isPaused = false;
  let waiting = 0;
  const suggestions = h('datalist', { id: 'routes' });
  const total = h('p.muted.total');
  const list = requests('Requests, newest first');
  const place = h('div');
  const refresh = async () => {
    const wanted = new URLSearchParams([...query(), ['limit', String(LIMIT)]]);
    const [answer, { routes }] = await Promise.all([
      get('/api/traces', wanted, signal),
      get('/api/routes', {}, signal),
    ]);
    list.show(answer.traces);
    keyed(suggestions, routeNames(routes), name => h('option', { value: name }));
    total.textContent = totals(answer);
    showOnly(place, answer.traces.length ? list.element : nothing(query()));
  };
  const pause = button('Pause', () => {
    isPaused = !isPaused;
    waiting = 0;
    pause.setAttribute('aria-pressed', String(isPaused));
    pause.textContent = isPaused ? 'Resume' : 'Pause';
    if (!isPaused) search(query());
  });
  const erase = button('Clear', async () => {
    await clear();
    await refresh();
    announce('The list is empty');
  });
  const form = filters('Filter the requests', FIELDS, query(), search);
  const bar = h('div.bar', heading('Traces'), total, h('div.actions', pause, erase));
  const concerns = (/** @type {Set<string> | null} */ ids) => {
    if (!isPaused) return true;
    waiting += ids?.size ?? 0;
    pause.textContent = `Resume, ${waiting} new`;
    return false;
  };
  return { title: 'Traces', element: h('div', bar, form, suggestions, place), refresh, concerns };
}

/** @param {import('./api.js').Route[]} routes */
export function routeNames(routes) {
  return [...new Set(routes.map(({ route }) => route))];
}

/** @param {{ traces: unknown[], matched: number, spans_dropped: number, traces_evicted: number }} answer */
function totals({ traces, matched, spans_dropped, traces_evicted }) {
  const parts = [
    matched > traces.length ? `the newest ${LIMIT} of ${matched} requests` : count(traces.length, 'request'),
  ];
  if (traces_evicted) parts.push(`${count(traces_evicted, 'older trace')} left the store`);
  if (spans_dropped) parts.push(`${count(spans_dropped, 'span')} dropped by the page`);
  return parts.join(', ');
}

/** @param {URLSearchParams} query */
function nothing(query) {
  if (query.size) return empty('No request fits these filters', 'Reset them, or wait for one that fits.', null);
  return empty('No requests yet', 'Send one from another terminal, and it appears here within a second:');
}
