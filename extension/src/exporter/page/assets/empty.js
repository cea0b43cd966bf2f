// What a view shows before the first data: the command that makes some.

import { button, copy, h } from './dom.js';

const COMMAND = 'curl -s localhost:9000/api/activities/home';

/**
 * @param {string} title
 * @param {string} text
 * @param {string | null} [command]
 */
export function empty(title, text, command = COMMAND) {
  const line =
    command &&
    h(
      'p.command',
      h('code', command),
      button('Copy', () => copy(command)),
    );
  return h('div.empty', h('h2', title), h('p', text), line);
}

/** @param {string} text */
export function heading(text) {
  return h('h1', { tabindex: '-1' }, text);
}
