// Draws the rows that are in sight, so that a trace of any size costs the same.

import { h, level, value } from './dom.js';
import { clock, duration, niceStep, rounded } from './format.js';
import { eventText, noteCount, visibleRows } from './rows.js';

/**
 * @typedef {import('./rows.js').Row} Row
 * @typedef {import('./tree.js').TreeNode} TreeNode
 */

/** Height of a row in CSS pixels; style.css repeats it. */
const ROW = 30;

/** Rows drawn above and below those in sight. */
const MARGIN = 8;

/** Levels that are indented; deeper ones stay below the last. */
const MAX_INDENT = 14;

/** Above it, events and log lines are left to the details at first. */
const MANY_NOTES = 400;

export class Waterfall {
  /** @param {(row: Row) => void} selected */
  constructor(selected) {
    this.selected = selected;
    /** @type {TreeNode[]} */
    this.nodes = [];
    /** @type {import('./api.js').Line[]} */
    this.lines = [];
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Set<number>} */
    this.collapsed = new Set();
    this.active = 0;
    this.hasNotes = true;
    this.begin = 0;
    this.range = 1;
    this.height = 0;
    this.axis = h('div.axis', { role: 'columnheader' });
    this.space = h('div.space', { role: 'presentation' });
    this.element = h(
      'div.waterfall',
      { role: 'treegrid', tabindex: '0', 'aria-label': 'Spans' },
      h('div.row.head', { role: 'row' }, h('div', { role: 'columnheader' }, 'Span'), this.axis),
      this.space,
    );
    let frame = 0;
    this.element.addEventListener('scroll', () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => this.draw());
    });
    new ResizeObserver(() => this.height !== this.element.clientHeight && this.draw()).observe(this.element);
    this.element.addEventListener('keydown', event => this.key(event));
    this.element.addEventListener('click', event => this.click(event));
  }

  /**
   * @param {TreeNode[]} nodes
   * @param {import('./api.js').Line[]} lines
   */
  show(nodes, lines) {
    if (this.nodes.length !== nodes.length) this.collapsed.clear();
    if (!this.nodes.length) this.hasNotes = noteCount(nodes, lines) <= MANY_NOTES;
    this.nodes = nodes;
    this.lines = lines;
    let end = -Infinity;
    this.begin = Infinity;
    for (const node of nodes) {
      this.begin = Math.min(this.begin, node.start_ms);
      end = Math.max(end, node.start_ms + node.duration_ms);
    }
    this.range = Math.max(end - this.begin, 0.001);
    this.layOut();
    // In a task of its own, so that a large trace never blocks the page for long.
    requestAnimationFrame(() => this.draw());
  }

  layOut() {
    const kept = this.rows[this.active];
    this.rows = visibleRows(this.nodes, this.lines, this);
    const same = this.rows.findIndex(row => kept && row.kind === kept.kind && row.node?.index === kept.node?.index);
    this.active = Math.max(0, same >= 0 ? same : Math.min(this.active, this.rows.length - 1));
    this.space.style.height = `${this.rows.length * ROW}px`;
    this.element.setAttribute('aria-rowcount', String(this.rows.length + 1));
  }

  /** @param {string} id */
  select(id) {
    const index = this.rows.findIndex(row => row.kind === 'span' && row.node.span.id === id);
    if (index >= 0) this.activate(index);
    return index >= 0;
  }

  draw() {
    const { scrollTop, clientHeight } = this.element;
    this.height = clientHeight;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - MARGIN);
    const last = Math.min(this.rows.length, Math.ceil((scrollTop + (clientHeight || 800)) / ROW) + MARGIN);
    this.drawAxis();
    const drawn = [];
    for (let index = first; index < last; index += 1) drawn.push(this.row(index));
    this.space.replaceChildren(...drawn);
    const isDrawn = this.active >= first && this.active < last;
    if (isDrawn) this.element.setAttribute('aria-activedescendant', `row-${this.active}`);
    else this.element.removeAttribute('aria-activedescendant');
  }

  drawAxis() {
    const step = niceStep(this.range, this.axis.clientWidth > 400 ? 6 : 3);
    const ticks = [];
    for (let at = 0; at <= this.range * 0.95; at += step) {
      ticks.push(h('span.tick', { style: { left: this.percent(this.begin + at) } }, rounded(at)));
    }
    this.axis.replaceChildren(...ticks);
  }

  /** @param {number} time_ms */
  percent(time_ms) {
    const share = (time_ms - this.begin) / this.range;
    return `${Math.min(100, Math.max(0, share * 100 || 0)).toFixed(3)}%`;
  }

  /** @param {number} index */
  row(index) {
    const row = this.rows[index];
    const depth = row.node ? row.node.depth + (row.kind === 'span' ? 0 : 1) : 0;
    const [label, chart] = row.kind === 'span' ? this.span(row.node) : this.note(row);
    const hasChildren = row.kind === 'span' && row.node.end > row.node.index + 1;
    const isActive = index === this.active;
    const attributes = {
      role: 'row',
      id: `row-${index}`,
      'aria-rowindex': index + 2,
      'aria-level': depth + 1,
      'aria-selected': String(isActive),
      'aria-expanded': hasChildren ? String(!this.collapsed.has(row.node.index)) : null,
      style: { top: `${index * ROW}px`, '--depth': String(Math.min(depth, MAX_INDENT)) },
    };
    const cells = [h('div.name', { role: 'gridcell' }, label), h('div.chart', { role: 'gridcell' }, chart)];
    return h(`div.row.${row.kind}.${isActive ? 'is-active' : ''}`, attributes, cells);
  }

  /** @param {TreeNode} node */
  span({ span, index, end, start_ms, duration_ms, notes }) {
    const below = end - index - 1;
    const isOpen = !this.collapsed.has(index);
    const toggle = h(
      `span.toggle.${below ? '' : 'is-leaf'}`,
      { 'aria-hidden': 'true' },
      below ? (isOpen ? '▾' : '▸') : '',
    );
    const width = `${Math.min(100, (duration_ms / this.range) * 100).toFixed(3)}%`;
    const shift = start_ms - span.start_ms || 0;
    const ticks = span.events.map(event => this.mark(event.time_ms + shift, event.name === 'exception'));
    const bar = `span.span-bar.${color(span)}.${span.error ? 'error' : ''}`;
    const label = [
      toggle,
      span.error && h('span.sign', '✗ '),
      value(span.name || 'a span without a name', 80),
      below > 0 && !isOpen && h('span.badge', `+${below}`),
      notes.map(note => h('span.badge.odd', note)),
      h('span.hidden', `, ${span.service}${span.error ? ', error' : ''}`),
    ];
    const took = h('span.took', { style: { left: this.percent(start_ms + duration_ms) } }, duration(span.duration_ms));
    return [label, [h(bar, { style: { left: this.percent(start_ms), width } }), ticks, took]];
  }

  /**
   * @param {number} time_ms
   * @param {boolean} isBad
   */
  mark(time_ms, isBad) {
    return h(`span.mark.${isBad ? 'error' : ''}`, { style: { left: this.percent(time_ms) } });
  }

  /** @param {Exclude<Row, { kind: 'span' }>} row */
  note(row) {
    const isEvent = row.kind === 'event';
    const isBad = isEvent ? row.event.name === 'exception' : /error|fatal/i.test(row.line.level);
    const text = isEvent ? eventText(row.event) : row.line.message;
    const sign = level(isEvent ? (isBad ? 'error' : 'event') : row.line.level);
    return [
      [sign, value(text, 160)],
      [this.mark(row.time_ms, isBad), h('span.hidden', clock(row.time_ms))],
    ];
  }

  /** @param {number} index */
  activate(index) {
    this.active = Math.max(0, Math.min(index, this.rows.length - 1));
    const top = this.active * ROW;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + 2 * ROW > scrollTop + clientHeight) this.element.scrollTop = top + 2 * ROW - clientHeight;
    this.draw();
  }

  /**
   * @param {number} index of a row
   * @param {boolean} isOpen
   */
  fold(index, isOpen) {
    const row = this.rows[index];
    if (row?.kind !== 'span' || row.node.end === row.node.index + 1) return false;
    if (isOpen !== this.collapsed.has(row.node.index)) return false;
    if (isOpen) this.collapsed.delete(row.node.index);
    else this.collapsed.add(row.node.index);
    this.active = index;
    this.layOut();
    this.draw();
    return true;
  }

  /** @param {boolean} isOpen */
  foldAll(isOpen) {
    this.collapsed = new Set(
      isOpen ? [] : this.nodes.filter(node => node.depth > 0 && node.end > node.index + 1).map(node => node.index),
    );
    this.layOut();
    this.draw();
  }

  /** @param {boolean} hasNotes */
  showNotes(hasNotes) {
    this.hasNotes = hasNotes;
    this.layOut();
    this.draw();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 2);
    const row = this.rows[this.active];
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: this.rows.length };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step) this.activate(this.active + step);
    else if (event.key === 'ArrowLeft') this.fold(this.active, false) || this.activate(this.above(row));
    else if (event.key === 'ArrowRight') this.fold(this.active, true) || this.activate(this.active + 1);
    else if (event.key === 'Enter' || event.key === ' ') this.selected(row);
    else return;
    event.preventDefault();
  }

  /** @param {Row} row */
  above(row) {
    const wanted = row.kind === 'span' ? row.node.parent : row.node?.index;
    const index = this.rows.findIndex(other => other.kind === 'span' && other.node.index === wanted);
    return index < 0 ? this.active : index;
  }

  /** @param {MouseEvent} event */
  click(event) {
    const target = event.target instanceof Element ? event.target : null;
    const id = target?.closest('[id^=row-]')?.id;
    if (!id) return;
    const index = Number(id.slice('row-'.length));
    if (target.closest('.toggle:not(.is-leaf)')) {
      const row = this.rows[index];
      this.fold(index, row.kind === 'span' && this.collapsed.has(row.node.index));
      return;
    }
    this.activate(index);
    this.selected(this.rows[index]);
  }
}

/**
 * The class of a span's colour: its platform's kind, or one of six for its service.
 * @param {import('./api.js').Span} span
 */
function color({ platform, service }) {
  if (platform && platform in PLATFORM) return platform;
  let sum = 0;
  for (const letter of service) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 6007;
  return `hue-${sum % 6}`;
}

const PLATFORM = /** @type {Record<string, string>} */ ({
  init: 'init: the sandbox starts (cold start)',
  restore: 'restore: from a snapshot (cold start)',
  overhead: 'overhead: the runtime, after the reply',
  report: 'report: what Lambda billed',
});

/**
 * The services and the platform's spans of a trace, with their colours.
 * @param {TreeNode[]} nodes
 */
export function legend(nodes) {
  const items = new Map(nodes.map(({ span }) => [PLATFORM[span.platform ?? ''] ?? span.service, color(span)]));
  const shown = [...items].slice(0, 16);
  if (nodes.some(node => node.span.error)) shown.push(['✗ error', 'error']);
  const item = (/** @type {string[]} */ [text, name]) => h('li', h(`span.swatch.${name}`), value(text, 40));
  return h('ul.legend', { 'aria-label': 'Legend' }, shown.map(item));
}
