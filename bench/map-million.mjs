// The attention map at N = 1,000,000: a trace's file of one head (D = 64) is opened and looked at, with and without
// logSumExp in it, on two threads. Time to load it, to the first sampled picture of the whole and of regions as a viewport
// of 1024 × 768 shows them, to exact tiles of the four finest levels, of a row and its top keys, and until a picture that
// is not wanted any more has stopped; and what process and engine hold. What is shown is checked against float64.
// node bench/map-million.mjs [N] [--json]
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createEngine, openTrace } from '../dist/index.js';
import { seeded, spread } from './measure.mjs';
import { millionText, writeTrace } from './million-trace.mjs';

const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const N = Number(words[0] ?? 1_000_000);
const SIZE = 256;
const source = millionText(N);
const { text, scoresOf } = source;
const random = seeded(11);
const draw = (n) => Math.floor(((random() + 1) / 2) * n);

function near(name, got, expected) {
  if (!(Math.abs(got - expected) <= 1e-5)) throw new Error(`${name}: got ${got}, expected ${expected}`);
}

const timed = async (run) => {
  const start = performance.now();
  const result = await run();
  return [performance.now() - start, result];
};
const MB = (bytes) => Math.round(bytes / 1e6);
const view = { rows: 768, columns: 1024, reduce: 'mean' };
const region = (size) => {
  const from = draw(N - size + 1);
  return [from, from + size];
};

/** The first picture of a region: milliseconds, and the queries that were read for it. */
async function first(map, { queries = [0, N], ...place }, within) {
  const pictures = map.refine({ ...view, ...place, queries, within });
  const [ms, { value }] = await timed(() => pictures.next());
  await pictures.return();
  return { ms, fraction: value.fraction, queries: Math.round(value.fraction * (queries[1] - queries[0])) };
}

async function checkRow(map, query) {
  const { scores, logSumExp } = scoresOf(text[query]);
  const row = await map.row({ query });
  for (let j = 0; j < N; j++) near(`row ${query}, key ${j}`, row[j], Math.exp(scores[text[j]] - logSumExp));
}

async function checkTile(map, queries, keys) {
  const { data } = await map.pool({ queries, keys, rows: 2, columns: 2, reduce: 'sum' });
  const expected = [0, 0, 0, 0];
  for (let i = 0; i < queries[1] - queries[0]; i++) {
    const { scores, logSumExp } = scoresOf(text[queries[0] + i]);
    for (let j = 0; j < keys[1] - keys[0]; j++) {
      const bin = 2 * +(i >= (queries[1] - queries[0]) / 2) + +(j >= (keys[1] - keys[0]) / 2);
      expected[bin] += Math.exp(scores[text[keys[0] + j]] - logSumExp);
    }
  }
  for (const [n, sum] of expected.entries()) near(`tile, bin ${n}`, data[n], sum);
}

/** Milliseconds of nine calls of each of some jobs. */
async function spreads(jobs, times = 9) {
  const samples = {};
  for (let n = 0; n < times; n++) {
    for (const [name, run] of Object.entries(jobs)) {
      samples[name] ??= [];
      samples[name].push((await timed(run))[0]);
    }
  }
  return Object.fromEntries(Object.entries(samples).map(([name, ms]) => [name, spread(ms)]));
}

/** Milliseconds from a signal until a long picture has rejected and the engine is free. */
async function stops(engine, map) {
  const samples = [];
  for (let n = 0; n < 9; n++) {
    const control = new AbortController();
    const long = map.pool({ ...view, estimate: 1, signal: control.signal }).catch(({ message }) => message);
    await new Promise((done) => setTimeout(done, 50 + draw(50)));
    const [ms] = await timed(async () => {
      control.abort(new Error('enough'));
      if ((await long) !== 'enough') throw new Error('stop: it went on');
      await engine.finish();
    });
    samples.push(ms);
  }
  return samples;
}

/** Everything timed, of one file. */
async function look(path, known) {
  const engine = await createEngine({ threads: 2 });
  const before = MB(process.memoryUsage().rss);
  const [load, [trace, map]] = await timed(async () => {
    const trace = await openTrace(path, { engine });
    return [trace, await trace.entries[0].map()];
  });
  const held = engine.memory.reserved;
  const result = { load, memory: { before, loaded: MB(process.memoryUsage().rss) } };
  const within = known ? 200 : 450;
  result.first = await first(map, {}, within);
  result.views = [];
  for (let level = 0; 768 * 2 ** level <= N; level++) {
    const [height, width] = [768, 1024].map((n) => Math.min(N, n * 2 ** level));
    const place = { queries: region(height), keys: region(width) };
    result.views.push({ level, ...(await first(map, place, within)) });
  }
  const tile = (level) => () => {
    const [queries, keys] = [region(SIZE << level), region(SIZE << level)];
    return map.pool({ queries, keys, rows: SIZE, columns: SIZE, reduce: 'mean' });
  };
  const levels = [0, 1, 2, 3].filter((level) => SIZE << level <= N);
  result.tiles = await spreads(Object.fromEntries(levels.map((n) => [n, tile(n)])), known ? 9 : 1);
  let query = 0;
  Object.assign(
    result,
    await spreads({
      row: () => {
        query = draw(N);
        return map.row({ query });
      },
      topKeys: () => map.topKeys({ query, count: 10 }),
    }),
  );
  result.stop = spread(await stops(engine, map));
  result.memory.peak = MB(process.resourceUsage().maxRSS * 1024);
  result.memory.engine = MB(engine.memory.reserved);
  result.memory.working = MB(engine.memory.reserved - held);
  await checkRow(map, Math.floor(N / 3));
  await checkTile(map, [N - 300, N - 100], [N - 290, N - 10]);
  trace.dispose();
  await engine.dispose();
  return { ...result, backend: engine.backend };
}

const self = fileURLToPath(import.meta.url);
const folder = process.env.FOVEA_BENCH_TRACE;
if (folder) {
  console.log(JSON.stringify(await look(folder, words[1] === 'known')));
} else {
  const made = mkdtempSync(join(tmpdir(), 'fovea-map-'));
  try {
    const path = join(made, 'trace.safetensors');
    const results = {};
    for (const known of [true, false]) {
      await writeTrace(path, source, known);
      const env = { ...process.env, FOVEA_BENCH_TRACE: path };
      const args = [...process.execArgv, self, String(N), known ? 'known' : 'unknown'];
      const text = execFileSync(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
      results[known ? 'withLogSumExp' : 'without'] = JSON.parse(text);
    }
    report({ N, D: source.D, threads: 2, results });
  } finally {
    rmSync(made, { recursive: true });
  }
}

function report(made) {
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify(made));
    return;
  }
  const ms = ({ median, lowest, highest }) =>
    `${median.toFixed(1)} ms (${lowest.toFixed(1)} to ${highest.toFixed(1)})`;
  for (const [name, found] of Object.entries(made.results)) {
    const { load, memory, first, views, tiles, row, topKeys, stop, backend } = found;
    console.log(
      `${backend}, N = ${made.N}, D = ${made.D}, ${name}: loaded in ${load.toFixed(0)} ms; MB ${JSON.stringify(memory)}`,
    );
    console.log(`first picture of the whole: ${first.ms.toFixed(0)} ms, ${first.queries} queries`);
    for (const view of views) {
      console.log(
        `first picture at level ${view.level}: ${view.ms.toFixed(0)} ms, ${view.queries} queries, ${view.fraction}`,
      );
    }
    for (const [level, took] of Object.entries(tiles))
      console.log(`exact tile at level ${level}: ${ms(took)}`);
    console.log(`row: ${ms(row)}; topKeys: ${ms(topKeys)}; a picture stops in ${ms(stop)}`);
  }
}
