// The attention map at N = 1,000,000: a trace's file of one head (D = 64) is opened and looked at, with and without
// logSumExp in it, on two threads. Time to load it, to the first sampled picture of the whole and of regions as a viewport
// of 1024 × 768 shows them, to exact tiles of the four finest levels, of a row and its top keys, and until a picture that
// is not wanted any more has stopped; and what process and engine hold. What is shown is checked against float64.
// node bench/map-million.mjs [N] [--json]
import { execFileSync } from 'node:child_process';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createEngine, openTrace } from '../dist/index.js';
import { seeded, spread } from './measure.mjs';

const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const N = Number(words[0] ?? 1_000_000);
const [D, SIZE, PIECE] = [64, 256, 16384];
/** A text of topics, whose words are alike, and of a passage that comes again. */
const [TOPICS, WORDS, TOPIC, PASSAGE] = [64, 64, 3000, 400];

const random = seeded(7);
const draw = (n) => Math.floor(((random() + 1) / 2) * n);
const centres = Float32Array.from({ length: TOPICS * D }, random);
const lexicon = Float32Array.from({ length: TOPICS * WORDS * D }, (_, n) => {
  const topic = Math.floor(n / (WORDS * D));
  return 1.2 * centres[topic * D + (n % D)] + 1.2 * random();
});
const passage = Int32Array.from({ length: PASSAGE }, () => draw(TOPICS * WORDS));
/** The word of each token. */
const text = new Int32Array(N);
for (let from = 0; from < N; from += TOPIC) {
  const topic = draw(TOPICS);
  const repeats = draw(4) === 0;
  for (let i = from; i < Math.min(N, from + TOPIC); i++) {
    text[i] = repeats && i - from < PASSAGE ? passage[i - from] : topic * WORDS + draw(WORDS);
  }
}
const counts = new Float64Array(TOPICS * WORDS);
for (const word of text) counts[word]++;

/** Of a word's query, in float64: its score with each word, and the logSumExp of its row. */
function scoresOf(word) {
  const scores = new Float64Array(TOPICS * WORDS);
  for (let other = 0; other < scores.length; other++) {
    for (let d = 0; d < D; d++) scores[other] += lexicon[word * D + d] * lexicon[other * D + d];
    scores[other] /= Math.sqrt(D);
  }
  const top = Math.max(...scores);
  const sum = scores.reduce((total, s, other) => total + counts[other] * Math.exp(s - top), 0);
  return { scores, logSumExp: top + Math.log(sum) };
}

/** Writes the trace's file, some rows at a time. */
async function writeTrace(path, known) {
  const size = N * D * 4;
  const tensors = { 'a.q': ['F32', [1, N, D], size], 'a.k': ['F32', [1, N, D], size] };
  if (known) tensors['a.logSumExp'] = ['F64', [1, N], N * 8];
  const trace = JSON.stringify({ format: 'fovea-trace', version: 1, entries: [{ name: 'a' }] });
  const header = { __metadata__: { fovea: trace } };
  let at = 0;
  for (const [name, [dtype, shape, bytes]] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = createWriteStream(path);
  const write = (bytes) =>
    new Promise((done) => {
      if (file.write(bytes)) done();
      else file.once('drain', done);
    });
  await write(Buffer.concat([length, json]));
  for (let part = 0; part < 2; part++) {
    for (let from = 0; from < N; from += PIECE) {
      const rows = new Float32Array(Math.min(PIECE, N - from) * D);
      for (let r = 0; r < rows.length / D; r++) {
        rows.set(lexicon.subarray(text[from + r] * D, (text[from + r] + 1) * D), r * D);
      }
      await write(new Uint8Array(rows.buffer));
    }
  }
  if (known) {
    const each = Float64Array.from({ length: TOPICS * WORDS }, (_, word) => scoresOf(word).logSumExp);
    await write(new Uint8Array(Float64Array.from(text, (word) => each[word]).buffer));
  }
  await new Promise((done) => file.end(done));
}

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
      await writeTrace(path, known);
      const env = { ...process.env, FOVEA_BENCH_TRACE: path };
      const args = [...process.execArgv, self, String(N), known ? 'known' : 'unknown'];
      const text = execFileSync(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
      results[known ? 'withLogSumExp' : 'without'] = JSON.parse(text);
    }
    report({ N, D, threads: 2, results });
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
      `${backend}, N = ${made.N}, D = ${D}, ${name}: loaded in ${load.toFixed(0)} ms; MB ${JSON.stringify(memory)}`,
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
