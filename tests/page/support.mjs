// A running extension, and a browser that shows its page.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { logsBody, platformBody, tracesBody } from './otlp.mjs';

const { CRUDDUR_PROGRAM, CRUDDUR_CHROMIUM, CRUDDUR_SCREENSHOTS } = process.env;

/** Time in which telemetry must be on the page. */
export const LIVE_MS = 1000;

export class Extension {
  /** @param {Record<string, string>} variables */
  static async start(variables = {}) {
    const extension = new Extension();
    extension.directory = await mkdtemp(join(tmpdir(), 'cruddur-page-'));
    extension.variables = variables;
    await extension.run('127.0.0.1:0');
    return extension;
  }

  /** Starts the program and waits until it prints its address. */
  async run(listen) {
    const env = {
      PATH: process.env.PATH,
      CRUDDUR_OTLP_LISTEN: listen,
      CRUDDUR_OTLP_GRPC_LISTEN: 'off',
      CRUDDUR_SPOOL_DIR: join(this.directory, 'spool'),
      CRUDDUR_CONSOLE: 'off',
      ...this.variables,
    };
    this.process = spawn(CRUDDUR_PROGRAM, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = new Promise(resolve => this.process.once('exit', resolve));
    this.output = '';
    this.process.stdout.on('data', text => (this.output += text));
    const address = new Promise(resolve => {
      createInterface({ input: this.process.stderr }).on('line', line => {
        this.output += `${line}\n`;
        const found = /OTLP is received at http:\/\/(\S+:\d+)/.exec(line);
        if (found) resolve(found[1]);
      });
    });
    const ended = this.ended.then(code => assert.fail(`the extension ended with ${code}: ${this.output}`));
    this.address = await Promise.race([address, ended]);
    ended.catch(() => {}); // its later end is expected
    this.url = `http://localhost:${this.address.split(':').at(-1)}`;
  }

  async stop() {
    this.process.kill('SIGTERM');
    await this.ended;
  }

  async restart() {
    await this.run(this.address);
  }

  async end() {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  async post(path, body) {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const reply = await fetch(this.url + path, init);
    assert.equal(reply.status, 200, await reply.text());
  }

  send(spans, options) {
    return this.post('/v1/traces', tracesBody(spans, options));
  }

  sendPlatform(spans) {
    return this.post('/v1/traces', platformBody(spans));
  }

  sendLines(lines) {
    return this.post('/v1/logs', logsBody(lines));
  }

  async get(path) {
    const reply = await fetch(this.url + path);
    assert.equal(reply.status, 200, path);
    return reply.json();
  }

  /** Waits until the page's store has this many traces. */
  async has(traces) {
    await eventually(async () => (await this.get('/api/traces?limit=10000')).matched === traces);
  }
}

/** Asks again until the answer is true; the time limit is for a failing test only. */
export async function eventually(ask, limit_ms = 10_000) {
  const end = performance.now() + limit_ms;
  while (!(await ask())) {
    assert.ok(performance.now() < end, `not within ${limit_ms} ms: ${ask}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

export class Browser {
  static async start() {
    const browser = new Browser();
    browser.chromium = await chromium.launch({ executablePath: CRUDDUR_CHROMIUM, args: ['--no-sandbox'] });
    /** Messages that no test expects. */
    browser.problems = [];
    return browser;
  }

  /** Shares the process of another browser; messages of its pages are expected. */
  attach({ chromium: shared }) {
    return Object.assign(this, { chromium: shared, problems: [] });
  }

  /** A page of its own session. */
  async open(address, options = {}) {
    const { width = 1280, height = 900, scheme = 'light', ...rest } = options;
    const context = await this.chromium.newContext({
      viewport: { width, height },
      colorScheme: scheme,
      permissions: ['clipboard-read', 'clipboard-write'],
      ...rest,
    });
    return this.tab(context, address);
  }

  async tab(context, address) {
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    page.on('pageerror', error => this.problems.push(`${page.url()}: ${error.stack}`));
    page.on('console', message => {
      if (['error', 'warning'].includes(message.type())) this.problems.push(`${page.url()}: ${message.text()}`);
    });
    page.on('dialog', dialog => {
      this.problems.push(`${page.url()}: dialog ${dialog.message()}`);
      dialog.dismiss();
    });
    await page.goto(address);
    return page;
  }

  /** Closes all tabs, which would otherwise follow what the next test does. */
  async close() {
    await Promise.all(this.chromium.contexts().map(context => context.close()));
  }

  async end() {
    await this.chromium.close();
  }
}

/** Leaves a picture in the folder of screenshots. */
export async function picture(page, name) {
  await mkdir(CRUDDUR_SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(CRUDDUR_SCREENSHOTS, `${name}.png`), animations: 'disabled' });
}

/** The text of the element that has the focus. */
export function focused(page) {
  return page.evaluate(() => document.activeElement?.textContent ?? '');
}
