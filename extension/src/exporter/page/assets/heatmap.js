// A heatmap of durations over time, with a brush for pointer and keyboard.

import { COLD_FLAG, ERROR_FLAG } from './api.js';
import { h, svg } from './dom.js';
import { clock, count, duration, rounded, timeStep } from './format.js';

/**
 * @typedef {import('./api.js').Point} Point
 * @typedef {{ x: number, y: number }} Cell column and row, from the left and the bottom
 * @typedef {Record<string, string>} Range parameters of `/api/traces`
 */

const COLUMNS = 60;
const ROWS = 24;
const HEIGHT = 280;
const PAD = { left: 58, right: 12, top: 10, bottom: 28 };
const CELL_HEIGHT = (HEIGHT - PAD.top - PAD.bottom) / ROWS;

/** Shorter durations are in the lowest row, since zero has no logarithm. */
const SHORTEST_MS = 0.01;

const STEPS = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
});

const HELP = 'Drag, or move by arrow keys and select with Shift; Escape ends the selection.';

export class Heatmap {
  /** @param {(ids: Set<string>, range: Range | null, text: string) => void} selected null: no selection */
  constructor(selected) {
    this.selected = selected;
    /** @type {Point[]} */
    this.points = [];
    /** Begin and width of a column in ms, the lowest duration as log10 of ms, and rows for a factor of ten. */
    this.scale = { begin: 0, step: 1, low: 0, perDecade: 6 };
    this.isBrushed = false;
    /** @type {Cell} */
    this.anchor = { x: 0, y: 0 };
    /** @type {Cell} */
    this.cursor = { x: 0, y: 0 };
    this.picture = svg('svg', { height: HEIGHT, 'aria-hidden': 'true' });
    const label = { 'aria-label': 'Heatmap of durations over time', 'aria-describedby': 'heatmap-help' };
    this.element = h('div.heatmap', { role: 'application', tabindex: '0', ...label }, this.picture);
    this.help = h('p.muted', { id: 'heatmap-help' }, HELP);
    this.element.addEventListener('keydown', event => this.key(event));
    this.element.addEventListener('pointerdown', event => this.press(event));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** @param {Point[]} points */
  show(points) {
    this.points = points;
    // While cells are selected, the scale stays, so that they keep their meaning.
    if (!this.isBrushed && points.length) this.fit(points);
    this.draw();
  }

  /** @param {Point[]} points */
  fit(points) {
    let [begin, end, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const [start, took] of points) {
      [begin, end] = [Math.min(begin, start), Math.max(end, start)];
      [low, high] = [Math.min(low, size(took)), Math.max(high, size(took))];
    }
    low = Math.floor(low);
    const perDecade = ROWS / Math.max(1, Math.ceil(high + 0.01) - low);
    this.scale = { begin, step: Math.max(end - begin, 1000) / (COLUMNS - 1), low, perDecade };
  }

  /**
   * @param {Point} point
   * @returns {Cell}
   */
  cell([start, took]) {
    const { begin, step, low, perDecade } = this.scale;
    return inside((start - begin) / step, (size(took) - low) * perDecade);
  }

  get cellWidth() {
    return (Math.max(200, this.element.clientWidth) - PAD.left - PAD.right) / COLUMNS;
  }

  draw() {
    this.picture.setAttribute('width', String(this.cellWidth * COLUMNS + PAD.left + PAD.right));
    /** @type {Map<number, { count: number, flags: number }>} */
    const cells = new Map();
    for (const point of this.points) {
      const { x, y } = this.cell(point);
      const cell = cells.get(x * ROWS + y);
      cells.set(x * ROWS + y, { count: (cell?.count ?? 0) + 1, flags: (cell?.flags ?? 0) | point[2] });
    }
    const most = Math.max(1, ...[...cells.values()].map(cell => cell.count));
    const drawn = [...cells].map(([key, { count: number, flags }]) => {
      const cell = { x: Math.floor(key / ROWS), y: key % ROWS };
      const strength = (0.3 + 0.7 * Math.sqrt(number / most)).toFixed(2);
      const name = `cell ${flags & ERROR_FLAG ? 'error' : flags & COLD_FLAG ? 'cold' : ''}`;
      return this.box(name, cell, cell, { rx: 1.5, 'fill-opacity': strength });
    });
    const brush = this.isBrushed ? [this.box('brush', ...this.corners())] : [];
    const cursor = this.box('cursor', this.cursor, this.cursor);
    this.picture.replaceChildren(...this.axes(), ...drawn, ...brush, cursor);
  }

  /**
   * A rectangle from one cell to another.
   * @param {string} name
   * @param {Cell} low
   * @param {Cell} high
   * @param {Record<string, unknown>} [more]
   */
  box(name, low, high, more = {}) {
    return svg('rect', {
      class: name,
      x: PAD.left + low.x * this.cellWidth,
      y: PAD.top + (ROWS - 1 - high.y) * CELL_HEIGHT,
      width: (high.x - low.x + 1) * this.cellWidth - 1,
      height: (high.y - low.y + 1) * CELL_HEIGHT - 1,
      ...more,
    });
  }

  axes() {
    const { begin, step, low, perDecade } = this.scale;
    const right = PAD.left + this.cellWidth * COLUMNS;
    const drawn = [];
    for (let decade = 0; decade * perDecade <= ROWS; decade += 1) {
      const y = PAD.top + (ROWS - decade * perDecade) * CELL_HEIGHT;
      drawn.push(svg('line', { class: 'grid', x1: PAD.left, x2: right, y1: y, y2: y }));
      drawn.push(svg('text', { x: PAD.left - 8, y: y + 4, 'text-anchor': 'end' }, rounded(10 ** (low + decade))));
    }
    const range = step * COLUMNS;
    const every = timeStep(range, right > 700 ? 8 : 3);
    for (let at = Math.ceil(begin / every) * every; at < begin + range * 0.95; at += every) {
      const x = PAD.left + ((at - begin) / step) * this.cellWidth;
      drawn.push(svg('text', { x, y: HEIGHT - 8, 'text-anchor': 'middle' }, clock(at, 8)));
    }
    return drawn;
  }

  /** @returns {[Cell, Cell]} the lowest and the highest selected cell */
  corners() {
    const { anchor, cursor } = this;
    const low = { x: Math.min(anchor.x, cursor.x), y: Math.min(anchor.y, cursor.y) };
    return [low, { x: Math.max(anchor.x, cursor.x), y: Math.max(anchor.y, cursor.y) }];
  }

  report() {
    const [low, high] = this.corners();
    const found = this.points.filter(point => {
      const { x, y } = this.cell(point);
      return x >= low.x && x <= high.x && y >= low.y && y <= high.y;
    });
    const { begin, step, low: lowest, perDecade } = this.scale;
    const [since, until] = [begin + low.x * step, begin + (high.x + 1) * step];
    const [shortest, longest] = [low.y, high.y + 1].map(row => 10 ** (lowest + row / perDecade));
    const times = `${clock(since, 8)} to ${clock(until, 8)}`;
    const text = `${count(found.length, 'request')}, ${times}, ${duration(shortest)} to ${duration(longest)}`;
    const range = { since_ms: String(since - 1), until_ms: String(until + 1) };
    this.selected(new Set(found.map(([, , , id]) => id)), range, text);
  }

  clear() {
    this.isBrushed = false;
    this.draw();
    this.selected(new Set(), null, '');
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = STEPS[event.key];
    if (event.key === 'Escape') this.clear();
    if (!step) return;
    event.preventDefault();
    this.cursor = inside(this.cursor.x + step[0], this.cursor.y + step[1]);
    if (!event.shiftKey) this.anchor = this.cursor;
    this.isBrushed = true;
    this.draw();
    this.report();
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0) return;
    this.element.setPointerCapture(event.pointerId);
    this.anchor = this.at(event);
    const abort = new AbortController();
    const move = (/** @type {PointerEvent} */ moved) => {
      this.cursor = this.at(moved);
      this.isBrushed = true;
      this.draw();
    };
    const end = () => {
      abort.abort();
      this.report();
    };
    move(event);
    this.element.addEventListener('pointermove', move, abort);
    this.element.addEventListener('pointerup', end, abort);
    this.element.addEventListener('pointercancel', end, abort);
  }

  /** @param {PointerEvent} event */
  at(event) {
    const { left, top } = this.picture.getBoundingClientRect();
    const x = (event.clientX - left - PAD.left) / this.cellWidth;
    return inside(x, ROWS - (event.clientY - top - PAD.top) / CELL_HEIGHT);
  }
}

/**
 * @param {number} x
 * @param {number} y
 * @returns {Cell}
 */
function inside(x, y) {
  const bounded = (/** @type {number} */ at, /** @type {number} */ cells) =>
    Math.min(cells - 1, Math.max(0, Math.floor(at)));
  return { x: bounded(x, COLUMNS), y: bounded(y, ROWS) };
}

/** @param {number} ms */
function size(ms) {
  return Math.log10(Math.max(ms, SHORTEST_MS));
}
