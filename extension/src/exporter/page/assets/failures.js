// Failures, grouped as Rollbar groups them.

import { get } from './api.js';
import { h, keyed, level, longValue, showOnly, table, value } from './dom.js';
import { attributes } from './details.js';
import { empty, heading } from './empty.js';
import { clock, count, day } from './format.js';

/** @typedef {import('./api.js').Group} Group */

const COMMAND = 'curl -s localhost:9000/api/activities/home -H x-cruddur-fault:panic';

const MAX_TRACES = 20;
const MAX_FRAMES = 200;

/**
 * @param {import('./main.js').Context} context
 * @returns {import('./main.js').View}
 */
export function failures({ signal }) {
  const total = h('p.muted.total');
  const list = h('div.groups');
  const place = h('div');
  /** @type {Set<string>} */
  const open = new Set();
  const refresh = async () => {
    /** @type {Group[]} */
    const groups = (await get('/api/failures', {}, signal)).groups;
    keyed(list, groups, it => group(it, open));
    const items = groups.reduce((sum, it) => sum + it.count, 0);
    total.textContent = groups.length ? `${count(groups.length, 'group')} of ${count(items, 'failure')}` : '';
    const text = 'Panics, exceptions and lines of errors appear here, grouped as Rollbar would. This request panics:';
    showOnly(place, groups.length ? list : empty('No failures', text, COMMAND));
  };
  const element = h('div', h('div.bar', heading('Failures'), total), place);
  return { title: 'Failures', element, refresh, polls: true };
}

/**
 * @param {Group} it
 * @param {Set<string>} [open] the keys of the groups that stay open when they are drawn again
 */
export function group(it, open = new Set()) {
  const last = h('time.muted', { title: day(it.last_ms) }, clock(it.last_ms, 8));
  const times = h('span.badge', `${it.count.toLocaleString('en')} ×`);
  const summary = h('summary', level(it.level), h('h2.title', value(it.title, 300)), times, last);
  const hasCustom = Object.keys(it.custom).length > 0;
  const body = [
    h('p.muted', `First ${day(it.first_ms)}, last ${day(it.last_ms)}`),
    it.causes.length > 0 && [h('h3', 'Chain'), h('ol', it.causes.map(cause))],
    it.frames.length > 0 && [h('h3', 'Frames'), frames(it.frames)],
    it.traces.length > 0 && [h('h3', 'Traces'), h('ul.traces', it.traces.slice(0, MAX_TRACES).map(link))],
    it.request && [h('h3', 'Request'), attributes(it.request)],
    it.person && [h('h3', 'Person'), attributes(it.person)],
    it.lines.length > 0 && [h('h3', 'Log lines before it'), h('ul.lines', it.lines.map(line))],
    hasCustom && [h('h3', 'More'), attributes(it.custom)],
  ];
  const element = h('details.group', { open: open.has(it.key) }, summary, h('div.body', body));
  element.addEventListener('toggle', () => (element.open ? open.add(it.key) : open.delete(it.key)));
  return element;
}

/** @param {{ title: string, frames: import('./api.js').Frame[] }} cause */
function cause({ title, frames: list }) {
  return h('li', longValue(title), list.length > 0 && frames(list));
}

/** @param {import('./api.js').Frame[]} list */
function frames(list) {
  const { element, body } = table('Frames, the most recent call first', ['Place', 'Function']);
  for (const { file, line: number, function: name, own } of list.slice(0, MAX_FRAMES)) {
    const place = `${file ?? '?'}${number ? `:${number}` : ''}`;
    const cells = [h('th', { scope: 'row' }, value(place, 300)), h('td', value(name ?? '?', 160))];
    body.append(h(`tr.${own ? 'is-own' : ''}`, cells));
  }
  return element;
}

/** @param {Group['lines'][number]} line */
function line({ time_ms, level: weight, message }) {
  return h('li', h('time.muted', clock(time_ms)), ' ', level(weight), ' ', value(message, 400));
}

/** @param {string} trace */
function link(trace) {
  return h('li', h('a', { href: `/traces/${encodeURIComponent(trace)}` }, trace));
}
