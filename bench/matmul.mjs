// GFLOP/s of matrix multiplication: squares, the shapes of training, few rows. Usage: node bench/matmul.mjs
//   --rounds N (default 9, at least 9)  --threads N (default 2)  --simd strict|relaxed  --only TEXT  --json
// Every result is checked against float64 before it is timed, with operands warm and threads awake. Jobs take turns
// within a round; each is set against the register tile on data in the first-level cache (the machine's peak) timed just
// before and after it, since a shared machine's clock moves. The peak reported is never below the best multiplication seen.
import { parseArgs } from 'node:util';
import { createEngine } from '../dist/engine/engine.js';
import { matmul } from '../dist/engine/ops/matmul.js';
import { median, seeded } from './measure.mjs';
import { preparePeak } from './peak.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    threads: { type: 'string', default: '2' },
    simd: { type: 'string', default: 'auto' },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Math.max(9, Number(options.rounds));
const TOKENS = 3500;
const EPS = 2 ** -24;
/** A timing repeats its job until it holds so many operations, so that the clock's steps vanish in it. */
const TIMED_FLOP = 2e8;

const random = seeded();
const numbers = (count) => Float32Array.from({ length: count }, random);

/** name, M, N, K and options of matmul. */
function jobs() {
  const list = [256, 1024].map((s) => [`${s} x ${s} x ${s}`, s, s, s, {}]);
  for (const [k, n] of [
    [128, 128],
    [128, 384],
    [128, 512],
    [512, 128],
    [128, 6000],
  ]) {
    list.push([`forward  ${k} -> ${n}`, TOKENS, n, k, { transposeB: true, bias: true }]);
    list.push([`d input  ${k} -> ${n}`, TOKENS, k, n, {}]);
    list.push([`d weight ${k} -> ${n}`, n, k, TOKENS, { transposeA: true, accumulate: true }]);
  }
  for (const m of [1, 4, 8]) {
    for (const [k, n] of [
      [128, 512],
      [128, 6000],
    ]) {
      list.push([`${m} row${m > 1 ? 's' : ''} ${k} -> ${n}`, m, n, k, { transposeB: true, bias: true }]);
    }
  }
  return list.filter(([name]) => name.includes(options.only));
}

/** The job on one engine: tensors made once, the result checked, run() to be timed. */
async function prepare(engine, [name, m, n, k, flags], data) {
  const { transposeA, transposeB, accumulate } = flags;
  const a = engine.tensor(data.a, transposeA ? [k, m] : [m, k]);
  const b = engine.tensor(data.b, transposeB ? [n, k] : [k, n]);
  const bias = flags.bias ? engine.tensor(data.bias, [n]) : undefined;
  const out = engine.zeros([m, n]);
  const run = () => engine.scope(() => void matmul(a, b, { transposeA, transposeB, bias, accumulate, out }));
  run();
  check(name, await out.read(), m, n, k, flags, data);
  return { run, flop: 2 * m * n * k };
}

/** Up to 2000 elements, spread over the result, against float64. */
function check(name, got, m, n, k, { transposeA, transposeB, bias }, data) {
  const step = Math.max(1, Math.floor((m * n) / 2000)) | 1;
  for (let at = 0; at < m * n; at += step) {
    const i = Math.floor(at / n);
    const j = at % n;
    let sum = bias ? data.bias[j] : 0;
    let size = Math.abs(sum);
    for (let p = 0; p < k; p++) {
      const term = data.a[transposeA ? p * m + i : i * k + p] * data.b[transposeB ? j * k + p : p * n + j];
      sum += term;
      size += Math.abs(term);
    }
    if (!(Math.abs(got[at] - sum) <= 2 * (k + 2) * EPS * size)) {
      throw new Error(`${name}: element ${i},${j} is ${got[at]}, expected ${sum}`);
    }
  }
}

/** GFLOP/s of one timing, after one call that wakes the threads and brings the operands near. */
function time({ run, flop }) {
  const repeats = Math.max(1, Math.ceil(TIMED_FLOP / flop));
  run();
  const start = performance.now();
  for (let r = 0; r < repeats; r++) run();
  return (flop * repeats) / (performance.now() - start) / 1e6;
}

const threadCounts = [...new Set([1, Number(options.threads)])];
const engines = [];
for (const threads of threadCounts) engines.push(await createEngine({ threads, simd: options.simd }));
const peaks = await Promise.all(engines.map(preparePeak));
const list = jobs();
const prepared = [];
for (const job of list) {
  const [, m, n, k] = job;
  const data = { a: numbers(m * k), b: numbers(k * n), bias: numbers(n) };
  const sides = [];
  for (const engine of engines) sides.push(await prepare(engine, job, data));
  prepared.push(sides);
}

// Warm-up: every function that the timings call reaches the optimising compiler.
for (let r = 0; r < 20; r++) for (const peak of peaks) time(peak);
for (const sides of prepared) for (const side of sides) for (let r = 0; r < 3; r++) time(side);

const samples = prepared.map((sides) => sides.map(() => ({ rate: [], ofPeak: [] })));
const peakRates = peaks.map(() => []);
for (let round = 0; round < rounds; round++) {
  prepared.forEach((sides, i) => {
    sides.forEach((side, s) => {
      const before = time(peaks[s]);
      const rate = time(side);
      const peak = (before + time(peaks[s])) / 2;
      samples[i][s].rate.push(rate);
      samples[i][s].ofPeak.push(rate / peak);
      peakRates[s].push(peak);
    });
  });
}
for (const engine of engines) await engine.dispose();

const best = (s) => Math.max(...peakRates[s], ...samples.flatMap((sides) => sides[s].rate));
const results = list.map(([name, m, n, k], i) => ({
  name,
  m,
  n,
  k,
  byThreads: samples[i].map(({ rate, ofPeak }, s) => ({
    threads: threadCounts[s],
    gflops: median(rate),
    lowest: Math.min(...rate),
    highest: Math.max(...rate),
    ofPeak: median(ofPeak),
    speedup: median(rate.map((r, round) => r / samples[i][0].rate[round])),
  })),
}));
const peak = threadCounts.map((threads, s) => ({ threads, gflops: median(peakRates[s]), highest: best(s) }));

if (options.json) {
  const { build } = engines[0];
  console.log(
    JSON.stringify({
      format: 'fovea-bench-matmul',
      version: 1,
      node: process.version,
      build,
      rounds,
      peak,
      results,
    }),
  );
} else {
  console.log(
    `Node ${process.version}, ${engines[0].build} build, median of ${rounds} rounds [lowest, highest], GFLOP/s`,
  );
  for (const p of peak) {
    console.log(`peak, ${p.threads} thread(s): ${p.gflops.toFixed(1)}, best seen ${p.highest.toFixed(1)}`);
  }
  for (const { name, byThreads } of results) {
    const cells = byThreads.map(
      (t) =>
        `${t.gflops.toFixed(1).padStart(6)} [${t.lowest.toFixed(1)}, ${t.highest.toFixed(1)}] ${(100 * t.ofPeak).toFixed(0)}% of peak` +
        (t.threads > 1 ? `, ${t.speedup.toFixed(2)}x` : ''),
    );
    console.log(`${name.padEnd(22)} ${cells.join('   ')}`);
  }
}
