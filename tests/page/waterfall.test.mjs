// One trace: its waterfall, details, text, download and previews.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, test } from 'node:test';
import { KIND, exception, request, span, spanId, traceId } from './otlp.mjs';
import { Browser, Extension, eventually, picture } from './support.mjs';

/** The longest task that the page may have, as the browser's performance entries measure it. */
const LONG_TASK_MS = 50;

const MOST_TRIES = 8;

let browser;
let extension;
before(async () => ([browser, extension] = await Promise.all([Browser.start(), Extension.start()])));
afterEach(() => browser.close());
after(async () => {
  await Promise.all([browser?.end(), extension?.end()]);
});
const problems = () => browser.problems;

const rows = page => page.getByRole('treegrid').getByRole('row');
const row = (page, text) => rows(page).filter({ hasText: text });

async function open(trace) {
  const page = await browser.open(`${extension.url}/traces/${trace}`);
  await page.locator('.row.span').first().waitFor();
  return page;
}

/** A cold start that fails: a request, a query with a retry, an exception, lines, and platform spans. */
async function coldFailure() {
  const [trace, server, query] = [traceId(), spanId(), spanId()];
  const start = Date.now() - 500;
  const error = exception(start + 30, 'a header asked for it');
  const failing = { events: [error], error: 'generic_500', status: 500, cold: true, user: '4f14de3f' };
  const retry = { name: 'retry', time: start + 15, attributes: { attempt: 2 } };
  await extension.send([
    request({ trace, id: server, route: '/api/activities/home', start, took: 40, ...failing }),
    span({
      trace,
      id: query,
      parent: server,
      name: 'SQLite.Query',
      kind: KIND.client,
      start: start + 10,
      took: 12,
      events: [retry],
    }),
  ]);
  const part = (name, from, took) => span({ trace, parent: server, name, start: start + from, took });
  await extension.sendPlatform([
    part('init', -60, 55),
    part('restore', -62, 1),
    part('runtimeOverhead', 40, 3),
    part('platform.report', -1, 45),
  ]);
  await extension.sendLines([
    {
      trace,
      span: query,
      level: 'WARN',
      message: 'The first attempt failed',
      time: start + 16,
      fields: { attempt: 1 },
    },
    { trace, span: server, message: 'Answered 500', time: start + 39 },
  ]);
  await eventually(async () => {
    const { summary } = await extension.get(`/api/traces/${trace}`).catch(() => ({ summary: {} }));
    return summary.spans === 6 && summary.lines === 2;
  });
  return { trace, server, query };
}

test('an address is permanent: it waits for its trace, and keeps the selected span', async () => {
  const [trace, query] = [traceId(), spanId()];
  const page = await browser.open(`${extension.url}/traces/${trace}`);
  await page.getByText('This trace is not here').waitFor();
  await extension.send([
    request({ trace, route: '/api/a', id: 'b7ad6b7169203331' }),
    span({ trace, id: query, parent: 'b7ad6b7169203331', name: 'SQLite.Query', start: Date.now(), took: 1 }),
  ]);
  await page.locator('h1', { hasText: 'GET /api/a' }).waitFor();
  await row(page, 'SQLite.Query').click();
  await page.waitForURL(`${extension.url}/traces/${trace}?span=${query}`);
  await page.reload();
  await page.getByLabel('Details').getByRole('heading', { name: 'SQLite.Query' }).waitFor();
  assert.equal(await row(page, 'SQLite.Query').getAttribute('aria-selected'), 'true');
});

test('the waterfall shows errors, the stack, events and log lines on their spans', async () => {
  const { trace } = await coldFailure();
  const page = await open(trace);
  const texts = await rows(page).evaluateAll(all => all.map(it => `${it.getAttribute('aria-level')} ${it.innerText}`));
  const at = text => texts.findIndex(it => it.includes(text));
  assert.ok(
    at('retry') === at('SQLite.Query') + 1 && at('The first attempt failed') === at('retry') + 1,
    texts.join('\n'),
  );
  assert.ok(texts[at('✗')].includes('GET /api/activities/home'), texts.join('\n'));
  assert.ok(texts[at('panic: a header asked for it')].startsWith('2'), texts.join('\n'));
  const panel = page.getByLabel('Details');
  await panel.getByText('functions/src/endpoints/home_activities.rs:8').waitFor();
  assert.match(await panel.innerText(), /error: generic_500[^]*panic: a header asked for it[^]*Answered 500/);
  const bar = await page.locator('.span-bar.error').boundingBox();
  const mark = await page.locator('.row.span .mark.error').boundingBox();
  assert.ok(Math.abs(mark.x + mark.width / 2 - (bar.x + bar.width * 0.75)) < 2, 'the mark is at 30 of 40 ms');
  await picture(page, 'trace');
  await row(page, 'The first attempt failed').click();
  await panel.getByRole('heading', { name: 'Log line' }).waitFor();
  assert.match(await panel.innerText(), /attempt\s+1/);
});

test('init, restore, overhead and report are drawn as what they are, and explained', async () => {
  const { trace } = await coldFailure();
  const page = await open(trace);
  for (const [name, kind] of [
    ['init', 'init'],
    ['restore', 'restore'],
    ['runtimeOverhead', 'overhead'],
    ['platform.report', 'report'],
  ]) {
    const bar = row(page, name).locator(`.span-bar.${kind}`);
    assert.equal(await bar.count(), 1, name);
    assert.equal(await page.getByLabel('Legend').locator(`.swatch.${kind}`).count(), 1, name);
  }
  const init = await row(page, 'init').locator('.span-bar').boundingBox();
  const server = await page.locator('.span-bar.error').boundingBox();
  assert.ok(init.x + init.width <= server.x, 'init ends before the request begins');
  await page.locator('h1', { hasText: 'cold' }).waitFor();
});

test('orphans, circles, spans without a time or name and a wrong clock all have a row', async () => {
  const [trace, server, far] = [traceId(), spanId(), spanId()];
  const start = Date.now();
  const [one, two] = [spanId(), spanId()];
  await extension.send([
    request({ trace, id: server, route: '/api/a', start, took: 100 }),
    span({ trace, parent: spanId(), name: 'an orphan', start: start + 5, took: 5 }),
    span({ trace, id: one, parent: two, name: 'circle 1', start: start + 10, took: 5 }),
    span({ trace, id: two, parent: one, name: 'circle 2', start: start + 11, took: 5 }),
    span({ trace, parent: server, name: '', start: start + 20, took: 5 }),
    {
      ...span({ trace, parent: server, name: 'no time', start, took: 0 }),
      startTimeUnixNano: '0',
      endTimeUnixNano: '0',
    },
  ]);
  const skewed = span({
    trace,
    id: far,
    parent: server,
    name: 'far away',
    kind: KIND.server,
    start: start - 3_600_000,
    took: 50,
  });
  await extension.send([skewed], { service: 'another-machine' });
  await eventually(
    async () => (await extension.get(`/api/traces/${trace}`).catch(() => ({ spans: [] }))).spans.length === 7,
  );
  const page = await open(trace);
  await row(page, 'an orphan').getByText('was not received').waitFor();
  await row(page, 'circle 1').getByText('circle').first().waitFor();
  for (const name of ['circle 2', 'a span without a name', 'no time']) await row(page, name).first().waitFor();
  await row(page, 'far away').getByText('its clock differs by').waitFor();
  const [outer, inner] = [row(page, 'GET /api/a'), row(page, 'far away')].map(it => it.first().locator('.span-bar'));
  const [around, inside] = [await outer.boundingBox(), await inner.boundingBox()];
  assert.ok(inside.x >= around.x && inside.x + inside.width <= around.x + around.width, 'inside its caller');
  assert.ok(around.width > 200, 'the others keep their scale');
  await page.getByText('1 orphan').waitFor();
});

/** The longest task in ms while a page is opened, scrolled, collapsed and expanded. */
async function longestTask(trace) {
  const page = await browser.open(`${extension.url}/traces/${traceId()}`);
  await page.getByText('This trace is not here').waitFor();
  await page.evaluate(() => {
    window.tasks = [];
    new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(it => it.duration))).observe({
      type: 'longtask',
    });
  });
  // By the page's own links, so that the observer stays.
  await page.evaluate(id => {
    const link = document.createElement('a');
    link.href = `/traces/${id}`;
    document.body.append(link);
    link.click();
    link.remove();
  }, trace);
  await row(page, 'step 0').first().waitFor();
  const grid = page.getByRole('treegrid');
  await grid.focus();
  for (const key of ['End', 'PageUp', 'PageUp', 'Home', 'PageDown']) await page.keyboard.press(key);
  await grid.evaluate(element => (element.scrollTop = element.scrollHeight / 2));
  await page.getByRole('button', { name: 'Collapse' }).click();
  await page.getByRole('button', { name: 'Expand' }).click();
  await page.evaluate(() => new Promise(done => requestAnimationFrame(() => setTimeout(done))));
  const tasks = await page.evaluate(() => window.tasks);
  await page.context().close();
  return Math.max(0, ...tasks);
}

test('1,000 spans are shown, scrolled and collapsed without a task over 50 ms', async t => {
  const [trace, server] = [traceId(), spanId()];
  const start = Date.now();
  const ids = [server];
  const spans = [request({ trace, id: server, route: '/api/a', start, took: 1000 })];
  for (let i = 0; i < 1000; i += 1) {
    const id = spanId();
    spans.push(
      span({
        trace,
        id,
        parent: ids[Math.max(0, ids.length - 1 - (i % 40))],
        name: `step ${i}`,
        start: start + i,
        took: 20,
      }),
    );
    ids.push(id);
  }
  await extension.send(spans);
  await eventually(
    async () => (await extension.get(`/api/traces/${trace}`).catch(() => ({ spans: [] }))).spans.length === 1001,
  );
  const longest = [];
  // Other programs on the processor only lengthen a task, so the shortest measurement counts.
  while (longest.length < MOST_TRIES && !longest.some(took => took <= LONG_TASK_MS)) {
    longest.push(await longestTask(trace));
  }
  t.diagnostic(`longest tasks: ${longest.join(', ')} ms (0: none over ${LONG_TASK_MS})`);
  assert.ok(Math.min(...longest) <= LONG_TASK_MS, longest.join());
  const page = await open(trace);
  assert.equal(await page.getByRole('treegrid').getAttribute('aria-rowcount'), '1002');
  assert.ok((await rows(page).count()) < 80, 'rows out of sight are not drawn');
  await page.getByRole('treegrid').focus();
  await page.keyboard.press('End');
  await row(page, 'step 999').waitFor();
  await picture(page, 'trace-1000');
});

test('keys walk, collapse and open the rows, and Escape returns', async () => {
  const { trace } = await coldFailure();
  const page = await open(trace);
  const grid = page.getByRole('treegrid');
  const active = async () => {
    const id = await grid.getAttribute('aria-activedescendant');
    return page.locator(`#${id}`).innerText();
  };
  const count = await rows(page).count();
  await grid.focus();
  assert.match(await active(), /GET \/api\/activities\/home/);
  await page.keyboard.press('ArrowLeft');
  assert.equal(await rows(page).count(), 2, 'the heads and the collapsed request');
  await page.keyboard.press('ArrowRight');
  assert.equal(await rows(page).count(), count);
  await page.keyboard.press('ArrowDown');
  assert.doesNotMatch(await active(), /GET \/api\/activities\/home/);
  await page.keyboard.press('ArrowLeft');
  assert.match(await active(), /GET \/api\/activities\/home/);
  await page.keyboard.press('End');
  assert.match(await active(), /runtimeOverhead/);
  await page.keyboard.press('Enter');
  await eventually(async () => (await page.evaluate(() => document.activeElement.textContent)) === 'runtimeOverhead');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('role')), 'treegrid');
});

test('a trace can be copied as text', async () => {
  const { trace } = await coldFailure();
  const page = await open(trace);
  await page.getByRole('button', { name: 'Copy as text' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  for (const part of [
    trace,
    'GET /api/activities/home',
    'SQLite.Query',
    'a header asked for it',
    'The first attempt failed',
  ]) {
    assert.ok(copied.includes(part), `${part} is missing in:\n${copied}`);
  }
});

test('the download is the OTLP that was sent', async () => {
  const trace = traceId();
  const server = request({ trace, route: '/api/a', attributes: { 'app.text': 'é \u202e <b>', 'app.share': 0.5 } });
  const child = span({
    trace,
    parent: server.spanId,
    name: 'query',
    start: Date.now(),
    took: 1,
    events: [exception(Date.now(), 'x')],
  });
  await extension.send([server, child]);
  const page = await open(trace);
  await page.locator('h1', { hasText: '/api/a' }).waitFor();
  await row(page, 'query').first().waitFor();
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download OTLP' }).click();
  const body = JSON.parse(await readFile(await (await download).path(), 'utf8'));
  const found = body.resourceSpans.flatMap(it => it.scopeSpans.flatMap(scope => scope.spans));
  const pick = it => ({
    ...Object.fromEntries(
      ['traceId', 'spanId', 'name', 'kind', 'startTimeUnixNano', 'endTimeUnixNano'].map(key => [key, it[key]]),
    ),
    parent: it.parentSpanId ?? '',
    attributes: it.attributes ?? [],
    events: it.events ?? [],
  });
  const byId = (a, b) => a.spanId.localeCompare(b.spanId);
  assert.deepEqual(found.map(pick).sort(byId), [server, child].map(pick).sort(byId));
});

test('previews show what each destination gets', async () => {
  const { trace } = await coldFailure();
  const page = await open(trace);
  await page.getByText('What each destination gets').click();
  const panel = page.getByRole('tabpanel');
  const text = async name => {
    await page.getByRole('tab', { name }).click();
    return panel.innerText();
  };
  assert.match(await text(/Honeycomb/), /SQLite\.Query/);
  assert.match(await text(/X-Ray/), new RegExp(`1-${trace.slice(0, 8)}-${trace.slice(8)}`));
  assert.match(await text(/CloudWatch/), /The first attempt failed/);
  assert.match(await text(/Rollbar/), /a header asked for it/);
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.getByRole('tab', { name: /Honeycomb/ }).getAttribute('aria-selected'), 'true');
  await picture(page, 'previews');
});

test('a line leads to its span, and the span to its lines', async () => {
  const { trace, query } = await coldFailure();
  const page = await browser.open(`${extension.url}/lines?text=first+attempt&trace=${trace}`);
  const line = page.locator('tbody tr').filter({ hasText: 'The first attempt failed' });
  await line.getByRole('link').click();
  await page.waitForURL(`${extension.url}/traces/${trace}?span=${query}`);
  await page.getByLabel('Details').getByRole('heading', { name: 'SQLite.Query' }).waitFor();
  await page.getByRole('link', { name: 'Log lines of this trace' }).click();
  await page.waitForURL(`${extension.url}/lines?trace=${trace}`);
  await line.waitFor();
  assert.equal(await page.locator('tbody tr').count(), 2);
});

test('no message of the console is unexpected', () => {
  // An address that waits for its trace asks for it, which the browser reports as 404.
  assert.deepEqual(
    problems().filter(problem => !problem.includes('404')),
    [],
  );
});
