// Forward and backward together on host arrays, counted as 3.5 times the forward's operations.
import { attentionBackwardReference } from '../../dist/attention/reference-backward.js';
import { validateAttention } from '../../dist/attention/validate.js';
import { attentionBackward } from '../../dist/index.js';
import { interleave, spread } from '../measure.mjs';
import { atLeast } from './bars.mjs';
import { makeProblem } from './problem.mjs';
import { open, rates, ready } from './systems.mjs';

export const title = 'forward and backward, N=1024, D=64, GFLOP/s per thread counted as 3.5 × the forward';
const N = 1024;
const LARGEST_ERROR = 1e-4;

/** dq, dk and dv of the first head, against float64. */
function checkGradients({ q, k, v, D }, dOutput, got) {
  const head = (data) => ({ data: data.subarray(0, N * D), shape: [N, D] });
  const upstream = { dOutput: Float64Array.from(dOutput.subarray(0, N * D)) };
  const expected = attentionBackwardReference(validateAttention(head(q), head(k), head(v), {}), upstream);
  for (const name of ['dq', 'dk', 'dv']) {
    expected[name].forEach((x, n) => {
      const y = got[name].data[n];
      if (!(Math.abs(x - y) <= LARGEST_ERROR)) throw new Error(`${name}[${n}] is ${y}, expected ${x}`);
    });
  }
}

async function prepare(fovea, H) {
  const problem = makeProblem({ Lq: N, H });
  const { inputs, attend, flop } = await ready('fovea', fovea, problem);
  const [q, k, v] = inputs;
  const data = makeProblem({ Lq: N, H, seed: 11 }).q;
  const dOutput = { data, shape: q.shape };
  const run = async () => {
    const { output, logSumExp, map } = await attend();
    map.dispose();
    return attentionBackward({ q, k, v, output, logSumExp, dOutput, options: { engine: fovea.engine } });
  };
  checkGradients(problem, data, await run());
  return { run, H, threads: fovea.engine.threads, flop: 3.5 * flop };
}

export async function run() {
  const jobs = [];
  const systems = [];
  for (const threads of [1, 2]) {
    const fovea = await open('fovea', { threads });
    systems.push(fovea);
    for (const H of [8, 1]) jobs.push(await prepare(fovea, H));
  }
  const samples = await interleave(jobs);
  for (const system of systems) await system.close();
  const results = jobs.map(({ H, threads, flop }, n) => ({
    ...{ N, H, threads, ms: spread(samples[n]) },
    perThread: spread(rates(flop / threads, samples[n])),
  }));
  const bars = results
    .filter(({ H }) => H === 8)
    .map(({ threads, perThread }) =>
      atLeast(`forward + backward, ${threads} thread(s), per thread`, perThread.median, 30, ' GFLOP/s'),
    );
  return { results, bars, table: table(results) };
}

const table = (results) => ({
  head: ['H', 'threads', 'ms', 'GFLOP/s per thread'],
  rows: results.map(({ H, threads, ms, perThread }) => [
    H,
    threads,
    ms.median.toFixed(1),
    `${perThread.median.toFixed(1)} [${perThread.lowest.toFixed(1)}, ${perThread.highest.toFixed(1)}]`,
  ]),
});
