// Log lines, failures, and the account of destinations.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import { exception, request, traceId } from './otlp.mjs';
import { Browser, Extension, LIVE_MS, eventually, picture } from './support.mjs';

let browser;
let extension;
let honeycomb;
/** The status that Honeycomb answers. */
let answered = 200;

before(async () => {
  honeycomb = createServer((incoming, reply) => {
    incoming.resume();
    incoming.on('end', () => reply.writeHead(answered, { 'content-type': 'application/json' }).end('{}'));
  });
  await new Promise(resolve => honeycomb.listen(0, '127.0.0.1', resolve));
  const variables = {
    HONEYCOMB_API_KEY: 'hcaik_0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop',
    HONEYCOMB_API_ENDPOINT: `http://127.0.0.1:${honeycomb.address().port}`,
  };
  [browser, extension] = await Promise.all([Browser.start(), Extension.start(variables)]);
});
afterEach(() => browser.close());
after(async () => {
  await Promise.all([browser?.end(), extension?.end()]);
  honeycomb?.closeAllConnections();
  honeycomb?.close();
});

const rows = page => page.locator('tbody tr');

test('lines are found by text and by level', async () => {
  const trace = traceId();
  const page = await browser.open(`${extension.url}/lines`);
  await page.getByText('No lines yet').waitFor();
  await extension.sendLines([
    { trace, level: 'INFO', message: 'Looked up the feed', fields: { feed: 'home' } },
    { trace, level: 'WARN', message: 'The table answers slowly' },
    { trace, level: 'ERROR', message: 'The table is gone' },
  ]);
  await eventually(async () => (await rows(page).count()) === 3, LIVE_MS);
  assert.match(await rows(page).filter({ hasText: 'Looked up' }).innerText(), /info[^]*feed=home/);
  await picture(page, 'lines');
  await page.getByLabel('Level from').selectOption('warn');
  await eventually(async () => (await rows(page).count()) === 2);
  await page.getByLabel('Search').fill('GONE');
  await eventually(async () => (await rows(page).count()) === 1);
  assert.match(page.url(), /level=warn/);
  assert.match(page.url(), /text=GONE/);
  assert.match(await rows(page).innerText(), /The table is gone/);
});

test('failures of the same cause are one group, with frames, request, person and traces', async t => {
  const page = await browser.open(`${extension.url}/failures`);
  const failed = (message, user) => {
    const start = Date.now() - 10;
    const events = [exception(start + 5, message)];
    const attributes = { 'url.path': '/api/activities/home', 'client.address': '192.0.2.1' };
    return request({ route: '/api/activities/home', status: 500, error: message, events, user, start, attributes });
  };
  const sent = [failed('a header asked for it', 'ada'), failed('a header asked for it', 'ada')];
  const sentAt = performance.now();
  await extension.send(sent);
  const group = page.locator('details.group').filter({ hasText: 'a header asked for it' });
  await group.getByText('2 ×').waitFor();
  const took = performance.now() - sentAt;
  t.diagnostic(`shown after ${Math.round(took)} ms`);
  assert.ok(took < LIVE_MS, `${took} ms`);
  assert.equal(await group.count(), 1);
  await group.locator('summary').focus();
  await page.keyboard.press('Enter');
  const text = await group.innerText();
  assert.match(text, /functions\/src\/endpoints\/home_activities\.rs:8\s+home_activities::handle/);
  assert.match(text, /\/api\/activities\/home/);
  assert.match(text, /ada/);
  await picture(page, 'failures');
  for (const { traceId: trace } of sent) assert.ok(text.includes(trace), `${trace} is missing`);
  await group.getByRole('link', { name: sent[0].traceId }).click();
  await page.locator('h1', { hasText: 'GET /api/activities/home' }).waitFor();
  await page.getByRole('heading', { name: 'Failures' }).waitFor();
});

test('the account of a destination adds up, and its breaker opens while it fails', async () => {
  const page = await browser.open(`${extension.url}/destinations`);
  const row = page.getByRole('row').filter({ hasText: 'honeycomb' });
  const account = async () => {
    const [breaker, ...texts] = await row.locator('td').allInnerTexts();
    const [received, delivered, held, spooled, dropped] = texts.map(text =>
      Number.parseInt(text.replaceAll(',', ''), 10),
    );
    return { breaker, received, delivered, held, spooled, dropped };
  };
  await eventually(async () => {
    const { received, delivered } = await account();
    return received > 0 && received === delivered;
  });
  const before = await account();
  assert.equal(before.breaker, 'closed');

  answered = 503;
  await extension.send([request({ route: '/api/a' })]);
  await eventually(async () => {
    if ((await account()).breaker === 'open') return true;
    await extension.send([request({ route: '/api/a' })]);
    return false;
  }, 60_000);

  await eventually(async () => {
    const { received, delivered, held, spooled, dropped } = await account();
    return received === delivered + held + spooled + dropped && held + spooled > 0;
  });
  const { received, delivered } = await account();
  assert.ok(received > before.received && delivered === before.delivered);
  await picture(page, 'destinations');
});

test('no message of the console is unexpected', () => assert.deepEqual(browser.problems, []));
