// The rows of a waterfall: spans, and below each its events and log lines.

/**
 * @typedef {import('./tree.js').TreeNode} TreeNode
 * @typedef {import('./api.js').Line} Line
 * @typedef {import('./api.js').SpanEvent} SpanEvent
 * @typedef {{ kind: 'span', node: TreeNode }
 *   | { kind: 'event', node: TreeNode, event: SpanEvent, time_ms: number }
 *   | { kind: 'line', node: TreeNode | null, line: Line, time_ms: number }} Row
 */

/**
 * @param {TreeNode[]} nodes
 * @param {Line[]} lines
 * @param {{ collapsed: Set<number>, hasNotes: boolean }} view `collapsed` holds indexes of nodes;
 *   `hasNotes`: with events and log lines
 * @returns {Row[]}
 */
export function visibleRows(nodes, lines, { collapsed, hasNotes }) {
  const bySpan = Map.groupBy(lines, line => line.span);
  const known = new Set(nodes.map(node => node.span.id));
  /** @type {Row[]} */
  const rows = [];
  let index = 0;
  while (index < nodes.length) {
    const node = nodes[index];
    rows.push({ kind: 'span', node });
    if (collapsed.has(index)) {
      index = node.end;
      continue;
    }
    if (hasNotes) rows.push(...notes(node, bySpan.get(node.span.id) ?? []));
    index += 1;
  }
  if (hasNotes) {
    const rest = lines.filter(line => !line.span || !known.has(line.span));
    for (const line of rest) rows.push({ kind: 'line', node: null, line, time_ms: line.time_ms });
  }
  return rows;
}

/**
 * @param {TreeNode} node
 * @param {Line[]} lines
 * @returns {Row[]}
 */
function notes(node, lines) {
  const shift = node.start_ms - node.span.start_ms || 0;
  /** @type {Exclude<Row, { kind: 'span' }>[]} */
  const found = [
    ...node.span.events.map(event => ({
      kind: /** @type {const} */ ('event'),
      node,
      event,
      time_ms: event.time_ms + shift,
    })),
    ...lines.map(line => ({ kind: /** @type {const} */ ('line'), node, line, time_ms: line.time_ms + shift })),
  ];
  return found.sort((a, b) => a.time_ms - b.time_ms);
}

/**
 * How many events and log lines a trace has.
 * @param {TreeNode[]} nodes
 * @param {Line[]} lines
 */
export function noteCount(nodes, lines) {
  return nodes.reduce((sum, node) => sum + node.span.events.length, lines.length);
}

/** @param {SpanEvent} event */
export function eventText(event) {
  if (event.name !== 'exception') return event.name || 'an event without a name';
  const { 'exception.type': type, 'exception.message': message } = event.attributes;
  return [type, message].filter(Boolean).join(': ') || 'exception';
}
