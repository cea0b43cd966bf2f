// Builds elements. Values become text nodes and attributes, never markup, so hostile values do not
// execute.

/**
 * @typedef {Node | string | number | null | undefined | false} Item
 * @typedef {Item | (Item | (Item | Item[])[])[]} Child
 * @typedef {Record<string, any>} Properties
 */

const SVG = 'http://www.w3.org/2000/svg';

/** Characters of a value that are shown; a longer one has a button that copies all of it. */
const SHOWN_CHARS = 2000;

/**
 * @template {string} T
 * @typedef {T extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[T] : HTMLElement} ElementOf
 */

/**
 * @template {string} T
 * @param {T} tag with classes, such as `p.muted`
 * @param {...(Properties | Child)} rest properties first: `on` holds listeners, `style` properties; the
 *   rest are attributes, of which null and false are left out. Then children.
 * @returns {T extends `${infer N}.${string}` ? ElementOf<N> : ElementOf<T>}
 */
export function h(tag, ...rest) {
  const [name, ...classes] = tag.split('.');
  return /** @type {any} */ (fill(document.createElement(name), classes, rest));
}

/**
 * @param {string} tag
 * @param {...(Properties | Child)} rest
 * @returns {SVGElement}
 */
export function svg(tag, ...rest) {
  return fill(/** @type {SVGElement} */ (document.createElementNS(SVG, tag)), [], rest);
}

/**
 * @template {HTMLElement | SVGElement} T
 * @param {T} element
 * @param {string[]} classes
 * @param {(Properties | Child)[]} rest
 */
function fill(element, classes, rest) {
  const [first] = rest;
  const isProperties = first && typeof first === 'object' && !Array.isArray(first) && !(first instanceof Node);
  const { on = {}, style = {}, ...attributes } = isProperties ? /** @type {Properties} */ (first) : {};
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  for (const [key, text] of Object.entries(style)) element.style.setProperty(key, text);
  const set = Object.entries(attributes).filter(([, text]) => text !== null && text !== undefined && text !== false);
  for (const [name, text] of set) element.setAttribute(name, text === true ? '' : String(text));
  for (const name of classes.filter(Boolean)) element.classList.add(name);
  const children = /** @type {any[]} */ (isProperties ? rest.slice(1) : rest).flat(Infinity);
  element.append(...children.filter(child => child || child === 0));
  return element;
}

/**
 * @param {string} label
 * @param {(event: Event) => void} click
 * @param {Properties} [attributes]
 */
export function button(label, click, attributes = {}) {
  return h('button', { type: 'button', ...attributes, on: { click } }, label);
}

/**
 * The level of a line, a failure or an event, in the colour of its weight.
 * @param {string} text
 */
export function level(text) {
  const name = text.toLowerCase();
  return h(`span.level.${/^[a-z]+$/.test(name) ? name : ''}`, name);
}

/**
 * A received value, isolated so that its direction changes nothing around it.
 * @param {unknown} value
 * @param {number} [chars] the most characters shown
 */
export function value(value, chars = 200) {
  const text = asText(value);
  return h('bdi', text.length > chars ? `${text.slice(0, chars)}…` : text);
}

/**
 * A received value of any length, with its lines.
 * @param {unknown} value
 * @returns {Child[]}
 */
export function longValue(value) {
  const text = asText(value);
  const shown = h('bdi.long', text.slice(0, SHOWN_CHARS));
  if (text.length <= SHOWN_CHARS) return [shown];
  const label = `Copy all ${text.length.toLocaleString('en')} characters`;
  return [shown, '… ', button(label, () => copy(text), { class: 'quiet' })];
}

/** @param {unknown} value */
export function asText(value) {
  if (typeof value === 'string') return value;
  return JSON.stringify(value) ?? '';
}

/** @type {WeakMap<Element, string>} */
const identities = new WeakMap();

/**
 * Makes the children of `parent` those of `items`. An element whose item is unchanged stays in place,
 * with its focus.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => Element} make
 */
export function keyed(parent, items, make) {
  const old = new Map([...parent.children].map(child => [identities.get(child), child]));
  const next = items.map(item => {
    const identity = JSON.stringify(item);
    const element = old.get(identity) ?? make(item);
    identities.set(element, identity);
    old.delete(identity);
    return element;
  });
  for (const gone of old.values()) gone.remove();
  next.forEach((element, index) => {
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
  });
}

/**
 * Makes `element` the only child, unless an equal one is: then that one stays, with its focus.
 * @param {Element} place
 * @param {Element} element
 */
export function showOnly(place, element) {
  const shown = place.firstElementChild;
  if (shown !== element && !shown?.isEqualNode(element)) place.replaceChildren(element);
}

/**
 * A table in a region of its own, which scrolls sideways where the page is narrow.
 * @param {string} caption
 * @param {string[]} columns labels, with classes such as `Spans.number`
 * @param {string} [captionClass]
 */
export function table(caption, columns, captionClass = 'hidden') {
  const head = columns
    .map(column => column.split('.'))
    .map(([label, ...classes]) => [label, `th.${classes.join('.')}`]);
  const body = h('tbody');
  const element = h(
    'table',
    h(`caption.${captionClass}`, caption),
    h(
      'thead',
      h(
        'tr',
        head.map(([label, tag]) => h(tag, { scope: 'col' }, label)),
      ),
    ),
    body,
  );
  return { element: h('div.wide', { role: 'group', 'aria-label': caption, tabindex: '0' }, element), body };
}

/**
 * Reports to a screen reader what the user's action did.
 * @param {string} text
 */
export function announce(text) {
  const status = document.getElementById('status');
  if (status) status.textContent = text;
}

/**
 * Copies a text; where the browser refuses, shows it selected.
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce('Copied');
    return true;
  } catch {
    const area = h('textarea', { readonly: true, rows: '20', 'aria-label': 'Text to copy' }, text);
    const dialog = h(
      'dialog',
      { 'aria-label': 'Text to copy' },
      area,
      button('Close', () => dialog.remove()),
    );
    document.body.append(dialog);
    dialog.showModal();
    area.select();
    return false;
  }
}
