// The extension's JSON API, and its types.

/**
 * @typedef {{
 *   id: string, name: string, route: string | null, method: string | null, status: number | null,
 *   error: string | null, cold: boolean, user: string | null, service: string,
 *   request_id: string | null, start_ms: number, duration_ms: number, spans: number, lines: number,
 *   failures: number, orphans: number
 * }} Summary
 * @typedef {{ name: string, time_ms: number, attributes: Record<string, unknown> }} SpanEvent
 * @typedef {{
 *   id: string, parent: string | null, name: string, kind: string, service: string,
 *   start_ms: number, duration_ms: number, error: boolean, status_message: string | null,
 *   platform: string | null, cut: boolean, attributes: Record<string, unknown>,
 *   resource: Record<string, unknown>, events: SpanEvent[],
 *   links: { trace: string, span: string }[]
 * }} Span
 * @typedef {{
 *   time_ms: number, level: string, message: string, trace: string | null, span: string | null,
 *   request_id: string | null, service: string, fields: Record<string, unknown>
 * }} Line
 * @typedef {{ file: string | null, line: number | null, function: string | null, own: boolean }} Frame
 * @typedef {{
 *   key: string, title: string, level: string, count: number, first_ms: number, last_ms: number,
 *   traces: string[], frames: Frame[], causes: { title: string, frames: Frame[] }[],
 *   lines: { time_ms: number, level: string, message: string }[],
 *   request: Record<string, unknown> | null, person: Record<string, unknown> | null,
 *   custom: Record<string, unknown>
 * }} Group
 * @typedef {{ summary: Summary, spans: Span[], lines: Line[], failures: Group[], dropped: number }} Trace
 * @typedef {{
 *   route: string, method: string | null, count: number, errors: number, cold: number,
 *   p50_ms: number | null, p90_ms: number | null, p99_ms: number | null
 * }} Route
 * @typedef {[number, number, number, string]} Point start and duration in ms, flags, trace id
 * @typedef {{
 *   name: string, enabled: boolean, endpoint: string | null, breaker: string | null,
 *   received: number, delivered: number, held: number, spooled: number,
 *   dropped: Record<string, number>
 * }} Destination
 */

export const ERROR_FLAG = 1;
export const COLD_FLAG = 2;

export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {Record<string, string> | URLSearchParams} query
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
export async function get(path, query, signal) {
  const text = await getText(path, query, signal);
  return JSON.parse(text);
}

/**
 * @param {string} path
 * @param {Record<string, string> | URLSearchParams} query
 * @param {AbortSignal} signal
 */
export async function getText(path, query, signal) {
  const search = new URLSearchParams(/** @type {Record<string, string>} */ (query)).toString();
  return (await answer(search ? `${path}?${search}` : path, { signal })).text();
}

/**
 * @param {string} address
 * @param {RequestInit} request
 */
async function answer(address, request) {
  const response = await fetch(address, request).catch(error => {
    throw error instanceof TypeError ? new ApiError(0, 'The extension does not answer') : error;
  });
  if (!response.ok) throw new ApiError(response.status, `${address} answered ${response.status}`);
  return response;
}

/** Removes what the page's store holds; what is on its way to destinations stays. */
export async function clear() {
  await answer('/api/clear', { method: 'POST' });
}
