// <fovea-map> at N = 1,000,000 in headless Chromium, on two threads: a trace's file of one head (D = 64) is opened by a page,
// with and without logSumExp in it. Time to the first picture of the whole, and of places at every level, jumped to, panned
// and zoomed; until tiles of the four finest levels are exact; the longest pause between two frames; one weight read under
// the crosshair, checked against float64; and the page's largest memory.
// node bench/map-page.mjs [N] [--json]
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { chromium } from 'playwright-core';
import { findChromium } from '../scripts/chromium.mjs';
import { seeded } from './measure.mjs';
import { millionText, writeTrace } from './million-trace.mjs';

const json = process.argv.includes('--json');
const N = Number(process.argv.slice(2).find((word) => !word.startsWith('--')) ?? 1_000_000);
const WINDOW = { width: 1024, height: 768 };
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };
const PAGE = `<!doctype html><meta charset="utf-8"><style>body{margin:0}fovea-map{height:100vh}</style>
<body><script type="module" src="page.js"></script></body>`;
/** Levels at which tiles become exact. */
const FINEST = 3;

async function bundle(outdir) {
  await esbuild.build({
    absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
    entryPoints: { page: 'bench/map-page/page.js', worker: 'dist/engine/worker.js' },
    bundle: true,
    format: 'esm',
    minify: true,
    conditions: ['browser'],
    loader: { '.wasm': 'file' },
    outdir,
    logLevel: 'error',
  });
}

/** Serves the page and, in parts, the trace. */
async function serve(folder, trace) {
  const isolated = {
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/size') {
      response.end(JSON.stringify({ size: statSync(trace).size }));
    } else if (pathname === '/trace') {
      const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range).map(Number);
      response.writeHead(206);
      createReadStream(trace, { start, end }).pipe(response);
    } else if (pathname === '/') {
      response.writeHead(200, { ...isolated, 'Content-Type': 'text/html' }).end(PAGE);
    } else if (readdirSync(folder).includes(pathname.slice(1))) {
      response.writeHead(200, { ...isolated, 'Content-Type': TYPES[extname(pathname)] });
      response.end(readFileSync(join(folder, pathname)));
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** The largest memory that any page of this process's browser has held, in MB. */
function pageMemory() {
  const parents = new Map();
  const pages = [];
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${id}/status`, 'utf8');
      parents.set(id, /PPid:\s*(\d+)/.exec(status)[1]);
      const peak = Number(/VmHWM:\s*(\d+)/.exec(status)?.[1] ?? 0);
      if (readFileSync(`/proc/${id}/cmdline`, 'utf8').includes('--type=renderer')) pages.push({ id, peak });
    } catch {
      // The process has ended meanwhile.
    }
  }
  const ours = (id) => id === String(process.pid) || (parents.has(id) && ours(parents.get(id)));
  return Math.round(Math.max(0, ...pages.filter(({ id }) => ours(id)).map(({ peak }) => peak)) / 1024);
}

const draw = (random, n) => Math.floor(((random() + 1) / 2) * n);

/** A place of the size that the frame shows at a level. */
function placeOf(random, { width, height }, level) {
  const [rows, columns] = [height, width].map((pixels) => Math.min(N, Math.floor(pixels * 2 ** level)));
  const [i, j] = [draw(random, N - rows + 1), draw(random, N - columns + 1)];
  return { queries: [i, i + rows], keys: [j, j + columns] };
}

function moved({ queries, keys }, share) {
  const step = Math.floor((keys[1] - keys[0]) * share);
  const by = keys[1] + step <= N ? step : -step;
  return { queries, keys: [keys[0] + by, keys[1] + by] };
}

function closer({ queries, keys }) {
  const half = ([from, to]) => [from + Math.floor((to - from) / 4), to - Math.floor((to - from) / 4)];
  return { queries: half(queries), keys: half(keys) };
}

/** Points at a cell of a close view, and reads what the map says of it. */
async function readCell(page, text, random) {
  const place = placeOf(random, { width: 16, height: 12 }, 0);
  await page.evaluate((view) => globalThis.bench.look(view, { exact: true }), place);
  const frame = await page.locator('fovea-map .frame').boundingBox();
  const told = page.evaluate(
    () =>
      new Promise((done) => {
        const hear = ({ detail }) => detail && done(detail);
        document.querySelector('fovea-map').addEventListener('fovea-cell', hear);
      }),
  );
  await page.mouse.move(frame.x + frame.width * 0.61, frame.y + frame.height * 0.47);
  const { query, key, weight } = await told;
  const expected = text.weightOf(query, key);
  if (!(Math.abs(weight - expected) <= 1e-5 * expected + 1e-12)) {
    throw new Error(`query ${query}, key ${key}: got ${weight}, expected ${expected}`);
  }
  return { query, key, weight, expected };
}

async function look(text, known, folder) {
  const trace = join(folder, 'trace.safetensors');
  await writeTrace(trace, text, known);
  const server = await serve(folder, trace);
  const browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage({ viewport: WINDOW });
    page.setDefaultTimeout(120_000);
    await page.goto(server.url);
    await page.waitForFunction(() => globalThis.bench !== undefined);
    const made = { load: await page.evaluate(() => globalThis.bench.load()) };
    made.whole = await page.evaluate(() => globalThis.bench.show());
    const random = seeded(11);
    const box = await page.locator('fovea-map .frame').boundingBox();
    const go = (view, options) =>
      page.evaluate(([place, wanted]) => globalThis.bench.look(place, wanted), [view, options]);
    made.views = [];
    for (let level = Math.ceil(Math.log2(N / box.width)) - 1; level >= 0; level--) {
      const exact = level <= FINEST;
      const place = placeOf(random, box, level);
      const options = { exact, patience: 60_000 };
      const jump = await go(place, options);
      const next = moved(place, 0.5);
      const pan = await go(next, options);
      const zoom = level > 0 ? await go(closer(next), { ...options, exact: level - 1 <= FINEST }) : undefined;
      made.views.push({ level, jump, pan, zoom });
    }
    made.cell = await readCell(page, text, random);
    made.memoryMB = pageMemory();
    return made;
  } finally {
    await browser.close();
    server.close();
  }
}

function report(name, { load, whole, views, cell, memoryMB }) {
  const ms = (x) => `${Math.round(x)} ms`;
  const told = (one) =>
    one === undefined
      ? ''
      : `${ms(one.ms)} (read ${(100 * one.fraction).toPrecision(2)} %)` +
        (one.exactMs === undefined ? '' : `, exact ${ms(one.exactMs)}`) +
        `, longest frame ${ms(one.gap)}`;
  console.log(`${name}: ${load.backend}, ${load.threads} threads, loaded in ${ms(load.ms)}, ${memoryMB} MB`);
  console.log(`  whole: ${told(whole)}`);
  for (const { level, ...steps } of views) {
    for (const [step, one] of Object.entries(steps))
      if (one) console.log(`  level ${level}, ${step}: ${told(one)}`);
  }
  console.log(`  query ${cell.query}, key ${cell.key}: ${cell.weight}, in float64 ${cell.expected}`);
}

const folder = mkdtempSync(join(tmpdir(), 'fovea-page-'));
try {
  await bundle(folder);
  const text = millionText(N);
  const results = {};
  for (const known of [true, false]) {
    const name = known ? 'withLogSumExp' : 'without';
    results[name] = await look(text, known, folder);
    if (!json) report(name, results[name]);
  }
  if (json) console.log(JSON.stringify({ N, D: text.D, window: WINDOW, results }));
} finally {
  rmSync(folder, { recursive: true });
}
