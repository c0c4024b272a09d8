// The page in headless Chromium: bytes of its first load without the model, time until one can type and until the example's
// translation and attention are drawn (its model, 5 MB, fetched and started), and the overview of 6 layers × 8 heads over
// 60 tokens, from q and k at hand to all pictures read and painted: in a browser that opens it first of all, in a page just
// opened, and in one that has shown another. Medians of nine pages. `node bench/page.mjs`
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';
import { folderFiles, servePage } from '../dist/cli/server.js';
import { createTrace, saveTrace } from '../dist/index.js';
import { findChromium } from '../scripts/chromium.mjs';

const ROUNDS = 9;
const [layers, H, L, D] = [6, 8, 60, 64];
const from = (path) => new URL(path, import.meta.url).pathname;

function trace() {
  const words = Array.from({ length: L }, (_, i) => `word${i}`);
  const text = words.join(' ');
  const offsets = words.map((word) => [text.indexOf(word), text.indexOf(word) + word.length]);
  const own = { text, tokens: words, offsets, words: [...words.keys()], wordSpans: offsets };
  const data = (seed) =>
    Float32Array.from({ length: H * L * D }, (_, n) => 2 * Math.sin((n + seed) * (n + 1)));
  const tensor = (seed) => ({ dtype: 'float32', shape: [H, L, D], data: data(seed) });
  const entries = Array.from({ length: layers }, (_, layer) => ({
    name: `layers.${layer}.attention`,
    queries: 'own',
    keys: 'own',
    q: tensor(layer),
    k: tensor(layer + 100),
  }));
  return saveTrace(createTrace({ texts: { own }, entries }));
}

/** Milliseconds of the nth overview of a page, once all of its pictures are painted. */
async function drawn(page, n) {
  await page.waitForFunction((n) => performance.getEntriesByName('overview').length > n, n);
  const canvases = page.locator('fovea-heads canvas');
  const painted = await canvases.evaluateAll((all) => all.filter(({ width }) => width === 60).length);
  if (painted !== layers * H) throw new Error(`${painted} pictures painted, expected ${layers * H}`);
  return page.evaluate((n) => performance.getEntriesByName('overview')[n].duration, n);
}

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
const files = new Map([
  ...(await folderFiles(from('../dist/viewer'))),
  ...(await folderFiles(from('../models/en-fr'), '/models/en-fr/')),
  ['/trace.safetensors', await trace()],
  ['/again.safetensors', await trace()],
]);
const server = await servePage(files);
const browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] });
const loads = [];
const interactive = [];
const example = [];
const straight = [];
const first = [];
const overview = [];
for (let round = 0; round < ROUNDS; round++) {
  const fresh = await browser.newContext();
  const only = await fresh.newPage();
  await only.goto(`${server.url}#trace=./trace.safetensors&view=overview`);
  straight.push(await drawn(only, 0));
  await fresh.close();
  const context = await browser.newContext();
  const page = await context.newPage();
  const asked = new Set();
  context.on('request', (request) =>
    asked.add(new URL(request.url()).pathname.replace(/^\/$/, '/index.html')),
  );
  const ready = await (async () => {
    await page.goto(server.url);
    await page.locator('textarea').waitFor();
    return page.evaluate(() => performance.now());
  })();
  interactive.push(ready);
  await page.locator('fovea-words path').first().waitFor({ state: 'attached' });
  example.push(await page.evaluate(() => performance.now()));
  const own = [...asked].filter((path) => !path.startsWith('/models/'));
  loads.push(own.reduce((sum, path) => sum + gzipSync(readFileSync(files.get(path))).length, 0));
  await page.goto(`${server.url}?overview#trace=./trace.safetensors&view=overview`);
  first.push(await drawn(page, 0));
  await page.evaluate(() => location.assign('#trace=./again.safetensors&view=overview'));
  overview.push(await drawn(page, 1));
  await context.close();
}
await browser.close();
await server.close();
const ms = (list) =>
  `${median(list).toFixed(0)} ms (${Math.min(...list).toFixed(0)} to ${Math.max(...list).toFixed(0)})`;
console.log(`first load, compressed: ${(median(loads) / 1000).toFixed(1)} kB (bar: 400)`);
console.log(`until one can type: ${ms(interactive)} (bar: 2000)`);
console.log(`until the example is translated and drawn: ${ms(example)}`);
console.log(`the overview opened first of all: ${ms(straight)} (bar: 100)`);
console.log(`the overview in a page just opened: ${ms(first)}`);
console.log(`overview of ${layers} × ${H} heads, ${L} tokens, read and painted: ${ms(overview)} (bar: 100)`);
