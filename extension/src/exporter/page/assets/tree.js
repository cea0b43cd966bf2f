// Orders the spans of a trace: each below its parent, siblings by time.
//
// Nothing is left out: a span without a received parent becomes a root with a note, and so does one
// span of a circle. Loops, not recursion: a trace may be 100,000 spans deep.

/** @typedef {import('./api.js').Span} Span */

/**
 * @typedef {{
 *   span: Span, index: number, parent: number, depth: number, end: number,
 *   start_ms: number, duration_ms: number, notes: string[]
 * }} TreeNode `parent` is an index or -1; `end` is the index after the last descendant; `start_ms` is
 *   corrected for the clock of its service
 */

/** Spans further from the others have an invalid time, such as 1970, and would hide them. */
const FAR_MS = 86_400_000;

/** Clocks of one machine differ by less. */
const SKEW_MS = 1;

/**
 * @param {Span[]} spans
 * @returns {TreeNode[]}
 */
export function tree(spans) {
  const ordered = sorted(spans);
  const middle = finite(ordered[ordered.length >> 1]?.start_ms);
  const children = group(ordered);
  /** @type {TreeNode[]} */
  const nodes = [];
  const placed = new Set();
  for (const root of [...(children.get(null) ?? [])]) place(root, children, nodes, placed);
  // No root leads to the spans of a circle: its first one becomes a root.
  for (const span of ordered) {
    if (!placed.has(span)) place(span, children, nodes, placed, 'its parents form a circle');
  }
  for (const node of nodes.filter(({ start_ms }) => Math.abs(start_ms - middle) > FAR_MS)) {
    node.notes.push('its time is invalid');
    node.start_ms = nodes[node.parent]?.start_ms ?? middle;
  }
  return nodes;
}

/**
 * @param {Span[]} spans
 * @returns {Map<string | null, Span[]>} by parent, null for roots and orphans
 */
function group(spans) {
  const ids = new Set(spans.map(span => span.id));
  /** @type {Map<string | null, Span[]>} */
  const children = new Map();
  for (const span of spans) {
    const parent = span.parent && span.parent !== span.id && ids.has(span.parent) ? span.parent : null;
    const siblings = children.get(parent);
    if (siblings) siblings.push(span);
    else children.set(parent, [span]);
  }
  return children;
}

/** @param {Span[]} spans */
function sorted(spans) {
  return [...spans].sort((a, b) => finite(a.start_ms) - finite(b.start_ms));
}

/** @param {unknown} number */
function finite(number) {
  return typeof number === 'number' && Number.isFinite(number) ? number : 0;
}

/**
 * Adds a span and its descendants.
 * @param {Span} root
 * @param {Map<string | null, Span[]>} children
 * @param {TreeNode[]} nodes
 * @param {Set<Span>} placed
 * @param {string} [note]
 */
function place(root, children, nodes, placed, note) {
  /** @type {{ span: Span, parent: number }[]} */
  const waiting = [{ span: root, parent: -1 }];
  const first = nodes.length;
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { span, parent } = next;
    if (placed.has(span)) continue;
    placed.add(span);
    const index = nodes.length;
    nodes.push(node(span, index, parent, nodes));
    const below = children.get(span.id) ?? [];
    for (let i = below.length - 1; i >= 0; i -= 1) {
      if (below[i] !== span) waiting.push({ span: below[i], parent: index });
    }
    // Of spans that share an id, the first one gets the children.
    children.delete(span.id);
  }
  for (let i = nodes.length - 1; i > first; i -= 1) {
    const { parent, end } = nodes[i];
    if (parent >= 0) nodes[parent].end = Math.max(nodes[parent].end, end);
  }
  if (note) nodes[first].notes.push(note);
  else if (root.parent) nodes[first].notes.push(`parent ${root.parent.slice(0, 16)} was not received`);
}

/**
 * @param {Span} span
 * @param {number} index
 * @param {number} parent
 * @param {TreeNode[]} nodes
 * @returns {TreeNode}
 */
function node(span, index, parent, nodes) {
  const above = nodes[parent];
  const shift = above ? skew(span, above) : 0;
  return {
    span,
    index,
    parent,
    depth: above ? above.depth + 1 : 0,
    end: index + 1,
    start_ms: finite(span.start_ms) + shift,
    duration_ms: Math.max(0, finite(span.duration_ms)),
    notes:
      Math.abs(shift) > SKEW_MS && !(above && isOfService(span, above))
        ? [`its clock differs by ${Math.round(-shift)} ms`]
        : [],
  };
}

/**
 * How far to move a span. A server span that began outside its caller is moved into the caller's middle,
 * and the spans of its service move with it.
 * @param {Span} span
 * @param {TreeNode} above
 */
function skew(span, above) {
  if (isOfService(span, above)) return above.start_ms - finite(above.span.start_ms);
  const start = finite(span.start_ms);
  const isOutside = start < above.start_ms - SKEW_MS || start > above.start_ms + above.duration_ms + SKEW_MS;
  if (span.platform || span.kind !== 'server' || !isOutside) return 0;
  const room = Math.max(0, above.duration_ms - finite(span.duration_ms));
  return above.start_ms + room / 2 - start;
}

/**
 * @param {Span} span
 * @param {TreeNode} above
 */
function isOfService(span, above) {
  return span.service === above.span.service && span.kind !== 'server';
}
