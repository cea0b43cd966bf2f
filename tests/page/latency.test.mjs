// The heatmap, its brush, and percentiles by route.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { request } from './otlp.mjs';
import { Browser, Extension, eventually, picture } from './support.mjs';

let browser;
let extension;
before(async () => {
  [browser, extension] = await Promise.all([Browser.start(), Extension.start()]);
  // 101 requests of 1 to 101 ms, so that each percentile is one of them whatever the method.
  const known = Array.from({ length: 101 }, (_, i) =>
    request({ route: '/api/known', took: i + 1, ago: 60_000 - i * 500 }),
  );
  const cold = [1, 2].map(i => request({ route: '/api/known', took: 3000, ago: i * 1000, cold: true }));
  const failed = [1, 2, 3].map(i =>
    request({ route: '/api/failed', took: 7, ago: i * 5000, status: 500, error: true }),
  );
  await extension.send([...known, ...cold, ...failed]);
  await extension.has(106);
});
afterEach(() => browser.close());
after(async () => {
  await Promise.all([browser?.end(), extension?.end()]);
});

const open = async (query = '') => {
  const page = await browser.open(`${extension.url}/latency${query}`);
  await page.locator('.heatmap .cell').first().waitFor();
  return page;
};
const selection = page => page.getByRole('group', { name: 'Selected requests' });
const selected = async page => Number.parseInt(await page.locator('section .muted').innerText(), 10);

test('percentiles, counts and errors by route are those of the known durations, without cold starts', async () => {
  const page = await open();
  const table = page.getByRole('group', { name: 'Percentiles of warm requests by route' });
  const cells = async route => table.getByRole('row').filter({ hasText: route }).locator('td').allInnerTexts();
  assert.deepEqual(await cells('/api/known'), ['103', '0', '51.0 ms', '91.0 ms', '100 ms', '2']);
  assert.deepEqual(await cells('/api/failed'), ['3', '3', '7.00 ms', '7.00 ms', '7.00 ms', '0']);
});

test('a brush by pointer leads to the traces in it', async () => {
  const page = await open();
  const cell = await page.locator('.heatmap .cell.cold').first().boundingBox();
  await page.mouse.move(cell.x + 1, cell.y + 1);
  await page.mouse.down();
  await page.mouse.move(cell.x + 200, cell.y + cell.height - 1, { steps: 5 });
  await page.mouse.up();
  await eventually(async () => (await selection(page).locator('tbody tr').count()) === 2);
  assert.equal(await selected(page), 2);
  await picture(page, 'latency');
  await selection(page).getByRole('link').first().click();
  await page.locator('h1', { hasText: 'GET /api/known' }).waitFor();
});

test('a brush by keys selects the same as by pointer, and Escape ends it', async () => {
  const page = await open();
  await page.getByRole('application').focus();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowLeft');
  for (let i = 0; i < 60; i += 1) await page.keyboard.press('Shift+ArrowRight');
  for (let i = 0; i < 24; i += 1) await page.keyboard.press('Shift+ArrowUp');
  assert.equal(await selected(page), 106);
  await eventually(async () => (await selection(page).locator('tbody tr').count()) === 106);
  assert.match(await page.getByRole('status').innerText(), /^106 requests, /);
  await page.keyboard.press('Escape');
  await selection(page).waitFor({ state: 'hidden' });
});

test('cold starts are apart', async () => {
  const page = await open();
  assert.ok((await page.locator('.heatmap .cell.cold').count()) > 0);
  await page.getByLabel('Starts').selectOption('warm');
  await page.locator('.total', { hasText: '104 requests' }).waitFor();
  assert.equal(await page.locator('.heatmap .cell.cold').count(), 0);
  await page.getByLabel('Starts').selectOption('cold');
  await page.locator('.total', { hasText: '2 requests' }).waitFor();
  assert.equal(new URL(page.url()).search, '?starts=cold');
});

test('a request appears in the heatmap within a second', async () => {
  const page = await browser.open(`${extension.url}/latency?route=/api/new`);
  await page.locator('.total', { hasText: '0 requests' }).waitFor();
  const sent = performance.now();
  await extension.send([request({ route: '/api/new' })]);
  await page.locator('.total', { hasText: /^1 request$/ }).waitFor();
  assert.ok(performance.now() - sent < 1000);
});

test('no message of the console is unexpected', () => assert.deepEqual(browser.problems, []));
