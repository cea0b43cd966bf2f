// The stream of new traces. It is closed while the tab is hidden: a browser opens six connections to
// one host at most, for all tabs.

/** Time between a lost connection and the next attempt. */
const RETRY_MS = 1000;

/**
 * @param {{
 *   changed: (ids: Set<string> | null) => void,
 *   state: (state: 'live' | 'offline') => void
 * }} handlers `changed` gets the ids of changed traces, null where anything may have changed
 */
export function connect({ changed, state }) {
  /** @type {EventSource | null} */
  let stream = null;
  let retry = 0;

  const open = () => {
    clearTimeout(retry);
    stream?.close();
    const opened = new EventSource('/api/stream');
    stream = opened;
    opened.addEventListener('open', () => state('live'));
    // The page has missed what arrived before, or has data of an extension that ended.
    opened.addEventListener('hello', () => {
      state('live');
      changed(null);
    });
    opened.addEventListener('clear', () => changed(null));
    opened.addEventListener('trace', event => changed(ids(event.data)));
    opened.addEventListener('error', () => {
      state('offline');
      opened.close();
      if (stream === opened && !document.hidden) retry = setTimeout(open, RETRY_MS);
    });
  };
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      clearTimeout(retry);
      stream?.close();
    } else {
      open();
    }
  });
  open();
}

/**
 * @param {string} data
 * @returns {Set<string>}
 */
function ids(data) {
  return new Set(JSON.parse(data).map((/** @type {{ id: string }} */ summary) => summary.id));
}
