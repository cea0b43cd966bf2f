// What each destination gets of a trace, as tabs. Loaded when opened.

import { get } from './api.js';
import { button, h, longValue } from './dom.js';

const TITLES = /** @type {Record<string, string>} */ ({
  honeycomb: 'Honeycomb',
  xray: 'X-Ray',
  cloudwatch: 'CloudWatch Logs',
  rollbar: 'Rollbar',
});

/** Longer texts are shown as they are, since indenting them would block the page. */
const MAX_INDENTED = 200_000;

/** Characters shown of all texts of a destination. */
const MAX_SHOWN = 60_000;

/**
 * @param {string} path of the trace in the API
 * @param {AbortSignal} signal
 */
export function previews(path, signal) {
  const place = h('div', h('p.muted', 'Loading'));
  const element = h('details.previews', h('summary', h('h2', 'What each destination gets')), place);
  element.addEventListener('toggle', async () => {
    if (!element.open) return;
    place.replaceChildren(...tabs(await get(`${path}/previews`, {}, signal)));
  });
  return element;
}

/** @param {Record<string, string[]>} texts */
function tabs(texts) {
  const names = Object.keys(TITLES).filter(name => texts[name]);
  const panel = h('div', { role: 'tabpanel', id: 'preview', tabindex: '0' });
  const buttons = names.map((name, i) => {
    const attributes = { role: 'tab', id: `tab-${name}`, 'aria-controls': 'preview' };
    return button(`${TITLES[name]} (${texts[name].length})`, () => open(i), attributes);
  });
  const open = (/** @type {number} */ wanted) => {
    const index = (wanted + names.length) % names.length;
    buttons.forEach((tab, i) => {
      tab.setAttribute('aria-selected', String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
    });
    panel.setAttribute('aria-labelledby', `tab-${names[index]}`);
    panel.replaceChildren(...shown(texts[names[index]]));
    return buttons[index];
  };
  buttons.forEach((tab, i) => {
    tab.addEventListener('keydown', event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) open(i + step).focus();
    });
  });
  if (names.length) open(0);
  return [h('div', { role: 'tablist', 'aria-label': 'Destinations' }, buttons), panel];
}

/** @param {string[]} texts */
function shown(texts) {
  if (!texts.length) return [h('p.muted', 'This destination gets nothing of this trace.')];
  let room = MAX_SHOWN;
  return texts.flatMap(text => {
    const indented = indent(text);
    const fits = indented.length <= room;
    room = Math.max(0, room - indented.length);
    return h(
      'pre',
      { tabindex: '0', role: 'group', 'aria-label': 'Document' },
      fits ? h('bdi', indented) : longValue(indented),
    );
  });
}

/** @param {string} text */
function indent(text) {
  if (text.length > MAX_INDENTED) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
