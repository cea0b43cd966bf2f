// Shows the view of the address, and refreshes it when data arrives.

import { ApiError } from './api.js';
import { announce, h } from './dom.js';
import { connect } from './live.js';
import { traces } from './traces.js';
import { trace } from './trace.js';
import { latency } from './latency.js';
import { lines } from './lines.js';
import { failures } from './failures.js';
import { destinations } from './destinations.js';

/**
 * @typedef {{
 *   title: string,
 *   element: HTMLElement,
 *   refresh: () => Promise<void>,
 *   concerns?: (ids: Set<string> | null) => boolean,
 *   polls?: boolean
 * }} View `concerns` is false for changes that the view does not show; `polls`: it also shows what the
 *   stream does not report
 * @typedef {{
 *   path: string,
 *   signal: AbortSignal,
 *   query: () => URLSearchParams,
 *   search: (query: URLSearchParams) => void
 * }} Context `search` changes the query of the address and refreshes the view
 */

/** Least time between two refreshes by the stream, which bounds the work under any load. */
const REFRESH_MS = 400;

/** Time between two refreshes of a view that polls. */
const POLL_MS = 700;

/** @type {[RegExp, (context: Context) => View][]} */
const ROUTES = [
  [/^\/traces\/[^/]+$/, trace],
  [/^\/latency$/, latency],
  [/^\/lines$/, lines],
  [/^\/failures$/, failures],
  [/^\/destinations$/, destinations],
];

const main = /** @type {HTMLElement} */ (document.getElementById('main'));
const connection = /** @type {HTMLElement} */ (document.getElementById('connection'));

/** @type {View} */
let view;
let abort = new AbortController();
let running = Promise.resolve();
let timer = 0;
let refreshed = 0;

/** @param {{ isFocused: boolean }} options `isFocused`: the heading gets the focus, as after a link */
function show({ isFocused }) {
  abort.abort();
  abort = new AbortController();
  const path = location.pathname;
  const open = ROUTES.find(([pattern]) => pattern.test(path))?.[1] ?? traces;
  view = open({ path, signal: abort.signal, query: () => new URLSearchParams(location.search), search });
  document.title = `${view.title} · Cruddur`;
  main.replaceChildren(view.element);
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll('nav a'))) {
    const isCurrent = link.pathname === path || (link.pathname === '/' && path.startsWith('/traces'));
    link.toggleAttribute('aria-current', isCurrent);
    if (isCurrent) link.setAttribute('aria-current', 'page');
  }
  if (isFocused) {
    scrollTo(0, 0);
    main.querySelector('h1')?.focus();
  }
  refresh();
}

/** @param {URLSearchParams} query */
async function search(query) {
  history.replaceState(null, '', query.size ? `?${query}` : location.pathname);
  await refresh();
  announce(main.querySelector('.total')?.textContent ?? '');
}

async function refresh() {
  clearTimeout(timer);
  timer = 0;
  refreshed = performance.now();
  // One at a time, so that an older answer never replaces a newer one.
  running = running.catch(() => {}).then(() => view.refresh());
  await running;
  main.querySelector('.problem')?.remove();
}

/** Refreshes now, or as soon as the bound allows. */
function refreshSoon() {
  timer ||= setTimeout(refresh, Math.max(0, refreshed + REFRESH_MS - performance.now()));
}

// A lost connection is reported by the stream's state, and the data stays on the screen.
addEventListener('unhandledrejection', event => {
  if (event.reason?.name === 'AbortError') event.preventDefault();
  if (!(event.reason instanceof ApiError)) return;
  event.preventDefault();
  main.querySelector('.problem')?.remove();
  if (event.reason.status) main.prepend(h('p.problem', event.reason.message));
});

document.addEventListener('click', event => {
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  const isView = link?.origin === location.origin && !link.pathname.startsWith('/api/');
  if (!link || !isPlain || !isView) return;
  event.preventDefault();
  if (link.hash) return main.focus(); // to skip the navigation
  if (link.href !== location.href) history.pushState(null, '', link.href);
  show({ isFocused: true });
});
addEventListener('popstate', () => show({ isFocused: true }));

setInterval(() => {
  if (view.polls && !document.hidden && connection.classList.contains('is-live')) refreshSoon();
}, POLL_MS);

show({ isFocused: false });
connect({
  changed: ids => {
    if (view.concerns?.(ids) ?? true) refreshSoon();
  },
  state: state => {
    if (connection.classList.contains(`is-${state}`)) return;
    const isFirst = connection.className === 'connection';
    connection.className = `connection is-${state}`;
    connection.textContent = state === 'live' ? 'live' : 'no answer: make run starts the extension';
    if (!isFirst || state === 'offline') announce(`The extension is ${state}`);
  },
});
