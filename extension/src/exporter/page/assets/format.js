// Numbers and times as text.

/**
 * With three digits, such as `4.95 ms`.
 * @param {number | null | undefined} ms
 */
export function duration(ms) {
  if (typeof ms !== 'number' || !Number.isFinite(ms)) return '–';
  const size = Math.abs(ms);
  if (size >= 120000) return `${digits(ms / 60000)} min`;
  if (size >= 1000) return `${digits(ms / 1000)} s`;
  if (size >= 1 || size === 0) return `${digits(ms)} ms`;
  return `${digits(ms * 1000)} µs`;
}

/**
 * Without zeros behind the point, such as `5 ms`.
 * @param {number} ms
 */
export function rounded(ms) {
  return duration(ms).replace(/\.0+ /, ' ');
}

/** @param {number} number */
function digits(number) {
  const size = Math.abs(number);
  return number.toFixed(size >= 100 || number === 0 ? 0 : size >= 10 ? 1 : 2);
}

/**
 * The time of day in UTC, as in the terminal.
 * @param {number} ms since the epoch
 * @param {number} [length] 8: seconds, 12: milliseconds
 */
export function clock(ms, length = 12) {
  const date = new Date(ms);
  return Number.isNaN(date.valueOf()) ? '–' : date.toISOString().slice(11, 11 + length);
}

/** @param {number} ms */
export function day(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.valueOf()) ? '–' : `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/**
 * Steps of 1, 2 or 5 times a power of ten, `wanted` of them at most.
 * @param {number} range
 * @param {number} wanted
 */
export function niceStep(range, wanted) {
  const rough = range / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find(step => step * power >= rough) ?? 10);
}

/**
 * The same for times of the day: steps of seconds, minutes or hours.
 * @param {number} range in ms
 * @param {number} wanted
 */
export function timeStep(range, wanted) {
  const seconds = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];
  return 1000 * (seconds.find(step => step * 1000 * wanted >= range) ?? 86400 * Math.ceil(range / wanted / 86.4e6));
}
