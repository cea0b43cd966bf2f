// Hostile values, sizes of windows, light and dark, keys alone, and a screen reader's view.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, afterEach, before, test } from 'node:test';
import { exception, request, span, spanId, traceId } from './otlp.mjs';
import { Browser, Extension, eventually, focused, picture } from './support.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const HOSTILE = '<img src=x onerror="window.executed=1"><script>window.executed=1</script>';
const [trace, server] = [traceId(), spanId()];

let browser;
let extension;
let views;
before(async () => {
  [browser, extension] = await Promise.all([Browser.start(), Extension.start()]);
  const start = Date.now() - 1000;
  const attributes = {
    [HOSTILE]: HOSTILE,
    __proto__: 'a key of JavaScript',
    bidi: 'left \u202e right \u2066',
    control: 'a\u0000b\u001b[31m',
    huge: 'é'.repeat(500_000),
    'javascript:alert(1)': 'javascript:alert(1)',
    nan: Number.NaN,
  };
  const events = [
    exception(start + 5, HOSTILE),
    { name: HOSTILE, time: start + 6, attributes: { [HOSTILE]: HOSTILE } },
  ];
  await extension.send(
    [
      request({
        trace,
        id: server,
        route: HOSTILE,
        name: HOSTILE,
        start,
        user: HOSTILE,
        status: 500,
        error: HOSTILE,
        events,
        attributes,
      }),
      span({ trace, parent: server, name: '', start, took: 1 }),
    ],
    { service: HOSTILE },
  );
  await extension.sendLines([{ trace, span: server, level: 'ERROR', message: HOSTILE, fields: attributes }]);
  await extension.send(
    Array.from({ length: 60 }, (_, i) => request({ route: `/api/activities/${'long'.repeat(i)}`, took: i + 1 })),
  );
  await extension.has(61);
  await eventually(async () => (await extension.get('/api/failures')).groups.length > 0);
  views = {
    traces: '/',
    trace: `/traces/${trace}`,
    latency: '/latency',
    lines: '/lines',
    failures: '/failures',
    destinations: '/destinations',
  };
});
afterEach(() => browser.close());
after(async () => {
  await Promise.all([browser?.end(), extension?.end()]);
});

/** Opens a view with all of its parts unfolded. */
async function open(path, options) {
  const page = await browser.open(extension.url + path, options);
  await page.locator('main table:visible, main .waterfall, main details.group').first().waitFor();
  for (const summary of await page.locator('main summary').all()) await summary.click();
  return page;
}

test('hostile values are shown as text and execute nowhere', async () => {
  for (const path of Object.values(views)) {
    const page = await open(path);
    if (path.startsWith('/traces/')) {
      await page.getByRole('tab').first().waitFor();
      assert.match(await page.getByLabel('Details').innerText(), /<img src=x/);
      assert.equal(
        (await page
          .getByLabel('Details')
          .getByRole('button', { name: /^Copy all/ })
          .count()) > 0,
        true,
      );
    }
    assert.equal(await page.evaluate(() => window.executed), undefined);
    assert.equal(await page.locator('main img, main script, main iframe').count(), 0);
    const schemes = await page.locator('a').evaluateAll(all => all.map(it => it.protocol));
    assert.deepEqual([...new Set(schemes)], ['http:']);
  }
});

test('a page of another site can neither read nor clear what is stored', async () => {
  const site = createServer((_, reply) =>
    reply.writeHead(200, { 'content-type': 'text/html' }).end('<title>other</title>'),
  );
  await new Promise(resolve => site.listen(0, '127.0.0.1', resolve));
  const other = await new Browser().attach(browser).open(`http://localhost:${site.address().port}/`);
  const tried = await other.evaluate(async url => {
    const read = await fetch(`${url}/api/traces`).then(
      () => 'read',
      () => 'refused',
    );
    await fetch(`${url}/api/clear`, { method: 'POST', mode: 'no-cors' }).catch(() => {});
    return read;
  }, extension.url);
  site.close();
  assert.equal(tried, 'refused');
  assert.equal((await extension.get('/api/traces')).matched, 61);
});

test('values that change the direction of text are isolated', async () => {
  const page = await open(views.trace);
  const value = page.getByLabel('Details').locator('bdi', { hasText: 'left' }).first();
  assert.equal(await value.evaluate(it => getComputedStyle(it).unicodeBidi), 'isolate');
});

test('invalid UTF-8 and a query that is no query are answered, and the page stays', async () => {
  const page = await browser.open(`${extension.url}/?attr=%FF%FE&status=%00&min_ms=NaN`);
  await page.locator('h1', { hasText: 'Traces' }).waitFor();
  await page.locator('.problem, .empty, tbody tr').first().waitFor();
  browser.problems = browser.problems.filter(problem => !problem.includes('status of 400'));
});

test('no view scrolls sideways at 360 and 1,600 pixels, in light and dark', async () => {
  for (const [width, height] of [
    [360, 740],
    [1600, 1000],
  ]) {
    for (const scheme of ['light', 'dark']) {
      for (const [name, path] of Object.entries(views)) {
        const page = await open(path, { width, height, scheme });
        const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(excess <= 0, `${name} at ${width}: ${excess} pixels too wide`);
        await page.evaluate(() => scrollTo(0, 0));
        await picture(page, `${name}-${scheme}-${width}`);
        await page.context().close();
      }
    }
  }
});

test('each view passes the accessibility check in light and dark', async () => {
  for (const scheme of ['light', 'dark']) {
    for (const [name, path] of Object.entries(views)) {
      const page = await open(path, { scheme });
      // By the browser's own channel, since the page's policy allows no other script.
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }));
      const found = violations.map(
        it => `${it.id}: ${it.help}: ${it.nodes.map(node => node.html.slice(0, 200)).join('\n  ')}`,
      );
      assert.deepEqual(found, [], `${name} in ${scheme}`);
      await page.context().close();
    }
  }
});

test('keys alone reach every view, with a visible focus', async () => {
  const page = await browser.open(extension.url);
  await page.getByText('live', { exact: true }).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'Skip to the content');
  const ring = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(await ring(), 'solid');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'Pause');
  for (const name of ['Latency', 'Lines', 'Failures', 'Destinations', 'Traces']) {
    for (let presses = 0; (await focused(page)) !== name; presses += 1) {
      assert.ok(presses < 20, `${name} is not reached`);
      await page.keyboard.press('Shift+Tab');
    }
    assert.equal(await ring(), 'solid');
    await page.keyboard.press('Enter');
    await eventually(async () => (await focused(page)) === name);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
    assert.equal(await page.title(), `${name} · Cruddur`);
    assert.equal(await page.locator('nav a[aria-current=page]').innerText(), name);
  }
  await page.goBack();
  await page.locator('h1', { hasText: 'Destinations' }).waitFor();
});

test('the page moves nothing where motion is not wanted', async () => {
  const page = await browser.open(extension.url, { reducedMotion: 'reduce' });
  const duration = await page
    .getByRole('button', { name: 'Pause' })
    .evaluate(it => getComputedStyle(it).transitionDuration);
  assert.equal(duration, '0s');
});

test('no message of the console is unexpected', () => assert.deepEqual(browser.problems, []));
