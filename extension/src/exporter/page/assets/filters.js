// A form whose fields are the query of the address.

import { h } from './dom.js';

/** Time without typing before the query changes. */
const TYPING_MS = 200;

/**
 * @typedef {{
 *   name: string, label: string, type?: string, placeholder?: string,
 *   options?: [string, string][], list?: string
 * }} Field `options` makes it a choice; `list` is the id of a datalist
 */

/**
 * @param {string} label
 * @param {Field[]} fields
 * @param {URLSearchParams} query the first values
 * @param {(query: URLSearchParams) => void} changed gets the fields that are set
 */
export function filters(label, fields, query, changed) {
  const inputs = fields.map(field => labelled(field, query.getAll(field.name).at(-1) ?? ''));
  const form = h('form.filters', { role: 'search', 'aria-label': label }, inputs);
  form.append(h('a.button.quiet', { href: location.pathname }, 'Reset'));
  let timer = 0;
  const read = () => {
    const pairs = [...new FormData(form)].map(([name, text]) => [name, String(text).trim()]);
    const kept = [...query].filter(([name]) => !fields.some(field => field.name === name));
    changed(new URLSearchParams([...pairs.filter(([, text]) => text), ...kept]));
  };
  form.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(read, TYPING_MS);
  });
  form.addEventListener('submit', event => {
    event.preventDefault();
    clearTimeout(timer);
    read();
  });
  return form;
}

/**
 * @param {Field} field
 * @param {string} text
 */
function labelled({ name, label, type = 'text', options, ...rest }, text) {
  if (type === 'checkbox') {
    return h('label.check', h('input', { name, type, value: '1', checked: text === '1' }), h('span', label));
  }
  const choices = options?.map(([key, choice]) => h('option', { value: key, selected: key === text }, choice));
  const typing = { autocomplete: 'off', spellcheck: 'false', min: type === 'number' ? '0' : null, step: 'any' };
  const input = choices ? h('select', { name }, choices) : h('input', { name, type, value: text, ...rest, ...typing });
  return h(`label.field.of-${name}`, h('span', label), input);
}
