// What holds for the page's own source.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

const MAX_PLAIN_LINES = 1500;
const MAX_FILE_LINES = 400;

const folder = process.env.CRUDDUR_ASSETS;
const names = await readdir(folder);
const files = await Promise.all(names.map(async name => [name, await readFile(join(folder, name), 'utf8')]));
const scripts = files.filter(([name]) => name.endsWith('.js'));

test('the own JavaScript stays under 1,500 lines without blank lines and comments', t => {
  const isPlain = line => line.trim() && !/^\s*(\/\/|\/\*|\*)/.test(line);
  const lines = scripts.flatMap(([, text]) => text.split('\n').filter(isPlain));
  t.diagnostic(`${lines.length} lines in ${scripts.length} files`);
  assert.ok(lines.length < MAX_PLAIN_LINES, `${lines.length} lines`);
  for (const [name, text] of scripts) assert.ok(text.split('\n').length <= MAX_FILE_LINES, name);
});

test('no value becomes markup or code, and nothing is loaded from elsewhere', () => {
  const forbidden = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|setAttribute\('style'/;
  for (const [name, text] of scripts) assert.doesNotMatch(text, forbidden, name);
  for (const [name, text] of files) {
    const addresses = text.match(/https?:\/\/[^\s'"]+/g) ?? [];
    assert.deepEqual(
      addresses.filter(it => it !== 'http://www.w3.org/2000/svg'),
      [],
      name,
    );
  }
  const [, index] = files.find(([name]) => name === 'index.html');
  assert.doesNotMatch(index, /<style|style=|<script(?! type="module" src="\/assets\/)| on[a-z]+=/);
});
