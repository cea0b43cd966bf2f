// Draws the pictures of the README: `node screenshots.mjs FOLDER`.

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exception, KIND, request, span, spanId, traceId } from './otlp.mjs';
import { Browser, Extension, eventually } from './support.mjs';

const MAX_BYTES = 80_000;

/** The same pictures each time: a random number generator with a seed. */
let seed = 7;
const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;

const ROUTES = [
  'GET /api/activities/home',
  'POST /api/activities',
  'GET /api/activities/{key}',
  'GET /api/message_groups',
];

const SERVICES = ['home-activities', 'create-activity', 'show-activities', 'message-groups'];

function requests() {
  return Array.from({ length: 40 }, (_, i) => {
    const [method, route] = ROUTES[Math.floor(random() * ROUTES.length)].split(' ');
    const cold = i % 13 === 5;
    const failed = i % 11 === 3;
    const took = (cold ? 60 : 3) + random() ** 4 * 40;
    const user = random() < 0.7 ? '4f14de3f-90c1' : undefined;
    const outcome = failed ? { status: 500, error: 'generic_500' } : i % 9 === 4 ? { status: 422 } : {};
    return request({ method, route, took, cold, user, ago: 5000 + i * 2700, ...outcome });
  });
}

/** The functions of the routes have names of their own. */
function serviceOf({ name }) {
  return SERVICES[ROUTES.indexOf(name)];
}

/** A cold start whose query fails at first. */
async function coldFailure(extension) {
  const [trace, server, work, query] = [traceId(), spanId(), spanId(), spanId()];
  const start = Date.now() - 200;
  const child = (name, parent, from, took, more = {}) =>
    span({ trace, parent, name, start: start + from, took, ...more });
  const events = [exception(start + 37, 'the table answered nothing')];
  await extension.send([
    request({
      trace,
      id: server,
      route: '/api/activities/home',
      start,
      took: 42,
      cold: true,
      status: 500,
      error: 'generic_500',
      events,
    }),
    child('home-activities', server, 4, 36, { id: work, attributes: { 'app.feed': 'home' } }),
    child('SQLite.Query', work, 7, 9, { kind: KIND.client }),
    child('SQLite.Query', work, 18, 18, {
      id: query,
      kind: KIND.client,
      error: 'timeout',
      events: [{ name: 'retry', time: start + 27 }],
    }),
  ]);
  await extension.sendPlatform([
    child('init', server, -58, 54),
    child('runtimeOverhead', server, 42, 2.5),
    child('platform.report', server, -1, 46),
  ]);
  await extension.sendLines([
    { trace, span: work, message: 'Looked up the feed of home', time: start + 17, fields: { rows: 5 } },
    { trace, span: query, level: 'WARN', message: 'The table answers slowly', time: start + 30 },
    { trace, span: server, level: 'ERROR', message: 'GET /api/activities/home 500', time: start + 41 },
  ]);
  await eventually(async () => {
    const { summary } = await extension.get(`/api/traces/${trace}`);
    return summary.spans === 7 && summary.lines === 3;
  });
  return trace;
}

const [browser, extension] = await Promise.all([Browser.start(), Extension.start()]);
const all = requests();
for (const service of SERVICES)
  await extension.send(
    all.filter(it => serviceOf(it) === service),
    { service },
  );
const trace = await coldFailure(extension);
for (const [name, path, height] of [
  ['page-traces', '/', 500],
  ['page-waterfall', `/traces/${trace}`, 600],
]) {
  const page = await browser.open(extension.url + path, { width: 1040, height });
  await page.getByText('live', { exact: true }).waitFor();
  await page.locator('main table, main .waterfall').first().waitFor();
  const file = join(process.argv[2], `${name}.png`);
  await page.screenshot({ path: file });
  const { size } = await stat(file);
  if (size > MAX_BYTES) throw new Error(`${file} has ${size} bytes, at most ${MAX_BYTES} are wanted`);
  console.log(`${file}: ${size} bytes`);
}
await Promise.all([browser.end(), extension.end()]);
