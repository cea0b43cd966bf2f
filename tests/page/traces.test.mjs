// The list of traces.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { request } from './otlp.mjs';
import { Browser, Extension, LIVE_MS, eventually, focused, picture } from './support.mjs';

let browser;
let extension;
before(async () => ([browser, extension] = await Promise.all([Browser.start(), Extension.start()])));
afterEach(() => browser.close());
after(async () => {
  await Promise.all([browser?.end(), extension?.end()]);
});

const names = page => page.locator('th.request a').allTextContents();
const shown = (page, expected) =>
  eventually(async () => JSON.stringify(await names(page)) === JSON.stringify(expected));

async function cleared() {
  await fetch(`${extension.url}/api/clear`, { method: 'POST' });
}

test('an empty list shows the command that fills it, and a request appears within a second', async () => {
  const page = await browser.open(extension.url);
  await page.getByText('curl -s localhost:9000/api/activities/home').waitFor();
  await page.getByText('live', { exact: true }).waitFor();
  await picture(page, 'traces-empty');

  const sent = performance.now();
  await extension.send([request({ route: '/api/activities/home', user: '4f14de3f-1', cold: true })]);
  await page.getByRole('link', { name: 'GET /api/activities/home' }).waitFor();
  const took = performance.now() - sent;

  assert.ok(took < LIVE_MS, `${took} ms`);
  assert.match(await page.locator('tbody tr').innerText(), /cold[^]*200[^]*5\.00 ms[^]*4f14de3f…/);
});

test('each filter keeps the requests that fit, in the address too', async () => {
  await cleared();
  await extension.send([
    request({ route: '/api/a', ago: 400, user: 'ada', attributes: { 'app.feed': 'home' } }),
    request({ route: '/api/b', ago: 30, status: 404, took: 250 }),
    request({ route: '/api/c', ago: 20, status: 500, error: 'generic_500' }),
  ]);
  await extension.has(3);
  const page = await browser.open(extension.url);
  await shown(page, ['GET /api/c', 'GET /api/b', 'GET /api/a']);
  const cases = [
    ['Search', 'API/B', ['GET /api/b'], 'text=API%2FB'],
    ['Route', '/api/a', ['GET /api/a'], 'route=%2Fapi%2Fa'],
    ['Status', '4xx', ['GET /api/b'], 'status=4xx'],
    ['User', 'ada', ['GET /api/a'], 'user=ada'],
    ['At least, ms', '100', ['GET /api/b'], 'min_ms=100'],
    ['Attribute', 'app.feed:home', ['GET /api/a'], 'attr=app.feed%3Ahome'],
  ];
  for (const [label, text, expected, query] of cases) {
    await page.getByLabel(label, { exact: true }).fill(text);
    await shown(page, expected);
    assert.equal(new URL(page.url()).search, `?${query}`);
    await page.reload();
    await shown(page, expected);
    assert.equal(await page.getByLabel(label, { exact: true }).inputValue(), text);
    await page.getByRole('link', { name: 'Reset' }).click();
    await shown(page, ['GET /api/c', 'GET /api/b', 'GET /api/a']);
  }
  await page.getByLabel('Errors only').check();
  await shown(page, ['GET /api/c']);
  await page.getByLabel('User', { exact: true }).fill('nobody');
  await page.getByText('No request fits these filters').waitFor();
});

test('an attribute in the details leads to the requests that have it', async () => {
  await cleared();
  await extension.send([
    request({ route: '/api/a', attributes: { 'app.feed': 'home' } }),
    request({ route: '/api/b' }),
  ]);
  await extension.has(2);
  const page = await browser.open(extension.url);
  await page.getByRole('link', { name: 'GET /api/a' }).click();
  await page.getByRole('link', { name: 'Requests with this app.feed' }).click();
  await shown(page, ['GET /api/a']);
  assert.equal(await page.getByLabel('Attribute').inputValue(), 'app.feed:home');
});

test('a paused list stays, and resumes with the requests that came meanwhile', async () => {
  await cleared();
  await extension.send([request({ route: '/api/a', ago: 20 })]);
  const page = await browser.open(extension.url);
  await shown(page, ['GET /api/a']);
  await page.getByRole('button', { name: 'Pause' }).click();
  await extension.send([request({ route: '/api/b' })]);
  await page.getByRole('button', { name: 'Resume, 1 new' }).waitFor();
  assert.deepEqual(await names(page), ['GET /api/a']);
  await page.getByRole('button', { name: 'Resume' }).click();
  await shown(page, ['GET /api/b', 'GET /api/a']);
});

test('two tabs show the same, and clearing in one empties the other', async () => {
  await cleared();
  const first = await browser.open(extension.url);
  const second = await browser.tab(first.context(), extension.url);
  await extension.send([request({ route: '/api/a' })]);
  await shown(first, ['GET /api/a']);
  await shown(second, ['GET /api/a']);
  await second.getByRole('button', { name: 'Clear' }).click();
  await second.getByText('No requests yet').waitFor();
  await first.getByText('No requests yet').waitFor();
});

test('a request that arrives between the first list and the stream is shown', async () => {
  await cleared();
  const page = await browser.open('about:blank');
  let subscribe = () => {};
  const sent = new Promise(resolve => (subscribe = resolve));
  await page.route('**/api/stream', async route => {
    await sent;
    await route.continue();
  });
  await page.goto(extension.url);
  await page.getByText('No requests yet').waitFor();
  await extension.send([request({ route: '/api/a' })]);
  await extension.has(1);
  subscribe();
  await shown(page, ['GET /api/a']);
});

test('a row keeps its focus when others arrive, arrow keys move, and Enter opens the trace', async () => {
  await cleared();
  await extension.send([request({ route: '/api/a', ago: 40 }), request({ route: '/api/b', ago: 20 })]);
  await extension.has(2);
  const page = await browser.open(extension.url);
  await page.getByRole('link', { name: 'GET /api/b' }).focus();
  await extension.send([request({ route: '/api/c' })]);
  await shown(page, ['GET /api/c', 'GET /api/b', 'GET /api/a']);
  assert.equal(await focused(page), 'GET /api/b');
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(page), 'GET /api/a');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(page), 'GET /api/c');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/traces\/[0-9a-f]{32}$/);
  await page.locator('h1', { hasText: 'GET /api/c' }).waitFor();
});

test('of 1,000 requests the newest 200 are drawn, and the rest is counted', async () => {
  await cleared();
  const page = await browser.open(extension.url);
  await page.getByText('live', { exact: true }).waitFor();
  const sent = performance.now();
  for (let i = 0; i < 10; i += 1) {
    await extension.send(Array.from({ length: 100 }, () => request({ route: '/api/a' })));
  }
  await page.locator('.total', { hasText: 'the newest 200 of 1000 requests' }).waitFor();
  assert.ok(performance.now() - sent < 10 * LIVE_MS);
  assert.equal(await page.locator('tbody tr').count(), 200);
});

test('no message of the console is unexpected', () => assert.deepEqual(browser.problems, []));

test('the page outlives the extension, and shows the data of the next one without a reload', async () => {
  await cleared();
  await extension.send([request({ route: '/api/a' })]);
  const page = await browser.open(extension.url);
  await shown(page, ['GET /api/a']);
  await extension.stop();
  await page.getByText('no answer: make run starts the extension').waitFor();
  assert.deepEqual(await names(page), ['GET /api/a']);
  await extension.restart();
  await page.getByText('live', { exact: true }).waitFor();
  await extension.send([request({ route: '/api/after' })]);
  await page.getByRole('link', { name: 'GET /api/after' }).waitFor();
  const others = browser.problems.filter(problem => !/net::ERR_|Failed to load resource/.test(problem));
  assert.deepEqual(others, []);
});
