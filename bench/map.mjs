// The attention map at length: a row, its top keys, a tile, the exact picture of the whole against a forward pass, and its
// estimate. One head, N = 65536, D = 64, two threads, q and k in use before. Every result is checked first.
// node bench/map.mjs [N] [--json]
import { attention, createEngine } from '../dist/index.js';
import { check, flops, makeProblem } from './attention/problem.mjs';
import { interleave, median, ratio, spread } from './measure.mjs';
import { preparePeak } from './peak.mjs';

const json = process.argv.includes('--json');
const N = Number(process.argv.slice(2).find((word) => !word.startsWith('--')) ?? 65536);
const D = 64;
const SIZE = 256;
const engine = await createEngine({ threads: 2 });
const problem = makeProblem({ H: 1, Lq: N, D });
const tensor = (data) => ({ data, shape: [N, D] });
const [q, k, v] = [problem.q, problem.k, problem.v].map(tensor);
const forward = () => attention(q, k, v, { engine });

/** Weights of a query in float64. */
function row(i) {
  const scores = new Float64Array(N);
  let top = -Infinity;
  for (let j = 0; j < N; j++) {
    for (let d = 0; d < D; d++) scores[j] += q.data[i * D + d] * k.data[j * D + d];
    scores[j] /= Math.sqrt(D);
    top = Math.max(top, scores[j]);
  }
  const sum = scores.reduce((total, s) => total + Math.exp(s - top), 0);
  return scores.map((s) => Math.exp(s - top) / sum);
}

function near(name, got, expected, bound = 1e-5) {
  for (let n = 0; n < expected.length; n++) {
    if (!(Math.abs(got[n] - expected[n]) <= bound)) {
      throw new Error(`${name}: number ${n} is ${got[n]}, expected ${expected[n]}`);
    }
  }
}

const timed = async (run) => {
  const start = performance.now();
  const result = await run();
  return [performance.now() - start, result];
};

const { map, output } = await forward();
check('forward', problem, output.data);
let query = Math.floor(N / 3);
const truth = row(query);
near('row', await map.row({ query }), truth);
const order = Array.from(truth.keys()).sort((a, b) => truth[b] - truth[a]);
near('topKeys', (await map.topKeys({ query, count: 10 })).keys, order.slice(0, 10), 0);
const keys = [N >> 1, (N >> 1) + SIZE];
const tile = await map.tile({ queries: [query - 5, query - 5 + SIZE], keys });
near('tile', tile.data.subarray(5 * SIZE, 6 * SIZE), truth.slice(...keys));
const picture = { rows: SIZE, columns: SIZE, reduce: 'sum' };
const bins = (weights) =>
  Array.from({ length: SIZE }, (_, c) =>
    weights.slice((c * N) / SIZE, ((c + 1) * N) / SIZE).reduce((a, w) => a + w, 0),
  );
const rough = await map.pool({ ...picture, estimate: 1 });
near(
  'estimate',
  rough.data.subarray(0, SIZE),
  bins(row(N / SIZE / 2)).map((x) => (x * N) / SIZE),
  1e-4,
);

query = 0;
const step = () => {
  query = (query + 7919) % (N - SIZE);
  return query;
};
const peak = await preparePeak(engine);
const jobs = {
  row: () => map.row({ query: step() }),
  'topKeys, 10': () => map.topKeys({ query: step(), count: 10 }),
  'tile 256 × 256': () => map.tile({ queries: [step(), query + SIZE], keys: [query, query + SIZE] }),
  'estimate 256 × 256, 1 query each': () => map.pool({ ...picture, estimate: 1 }),
  'estimate 256 × 256, 4 queries each': () => map.pool({ ...picture, estimate: 4 }),
};
const samples = await interleave(
  [{ run: peak.run, sync: true }, ...Object.values(jobs).map((run) => ({ run }))],
  { warmUp: 200 },
);
const ghz = median(samples[0].map((ms) => peak.flop / ms / 1e6));
const readings = Object.fromEntries(Object.keys(jobs).map((name, n) => [name, spread(samples[n + 1])]));

// Seconds each: three rounds of both, in turn.
const [pools, forwards] = [[], []];
for (let round = 0; round < 3; round++) {
  const [ms, made] = await timed(() => map.pool(picture));
  pools.push(ms);
  if (round === 0) {
    for (let r = 0; r < SIZE; r++) {
      near(
        'pool',
        [made.data.subarray(r * SIZE, (r + 1) * SIZE).reduce((a, x) => a + x, 0)],
        [N / SIZE],
        1e-2,
      );
    }
    const some = await map.pool({ ...picture, queries: [0, 8], rows: 1 });
    const expected = Array.from({ length: 8 }, (_, i) => bins(row(i)));
    near(
      'region',
      some.data,
      expected[0].map((_, c) => expected.reduce((sum, own) => sum + own[c], 0)),
    );
  }
  forwards.push((await timed(forward))[0]);
}
const share = (ms, products) => (flops(problem) * products) / 2 / ms / 1e6 / ghz;
const whole = { pool: spread(pools), forward: spread(forwards), ratio: ratio(pools, forwards) };
const memoryMB = Math.round(engine.memory.reserved / 1e6);
if (json) {
  const machine = { threads: engine.threads, backend: engine.backend, peakGflops: ghz };
  console.log(JSON.stringify({ N, D, ...machine, readings, whole, memoryMB }));
} else {
  console.log(
    `${engine.backend}, ${engine.threads} threads, peak ${ghz.toFixed(0)} GFLOP/s, N = ${N}, D = ${D}`,
  );
  for (const [name, { median: ms, lowest, highest }] of Object.entries(readings)) {
    console.log(`${name}: ${ms.toFixed(2)} ms (${lowest.toFixed(2)} to ${highest.toFixed(2)})`);
  }
  const percent = (ms, products) => `${(100 * share(ms, products)).toFixed(0)}%`;
  console.log(
    `exact pool 256 × 256: ${whole.pool.median.toFixed(0)} ms, ${percent(whole.pool.median, 1)} of the peak; forward ` +
      `${whole.forward.median.toFixed(0)} ms, ${percent(whole.forward.median, 2)}; ratio ${whole.ratio.toFixed(2)}`,
  );
  console.log(`engine memory: ${memoryMB} MB reserved`);
}
map.dispose();
await engine.dispose();
