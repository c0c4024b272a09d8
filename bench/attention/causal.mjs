// Causal: what skipping the future saves, and ONNX Runtime native's causal attention with as many threads.
import { interleave, ratio, spread } from '../measure.mjs';
import { atLeast } from './bars.mjs';
import { makeProblem } from './problem.mjs';
import { open, rates, ready } from './systems.mjs';

export const title = 'causal, H=8, D=64, GFLOP/s counted in full';
const GAIN = { 512: 1.6, 1024: 1.75, 2048: 1.85 };
const LONG = 4096;

async function skipping(fovea, N) {
  const jobs = [];
  for (const causal of [false, true]) jobs.push(await ready('fovea', fovea, makeProblem({ Lq: N, causal })));
  const [full, causal] = await interleave(jobs, { rounds: 25 });
  return { N, threads: 1, gflops: spread(rates(jobs[1].flop, causal)), gain: ratio(full, causal) };
}

async function againstNative(threads) {
  const problem = makeProblem({ Lq: LONG, causal: true });
  const [fovea, native] = [await open('fovea', { threads }), await open('onnxruntime-node', { threads })];
  const jobs = [await ready('fovea', fovea, problem), await ready('onnxruntime-node', native, problem)];
  const samples = await interleave(jobs);
  const [own, other] = samples.map((ms) => rates(jobs[0].flop, ms));
  await jobs[1].close();
  await fovea.close();
  return { N: LONG, threads, gflops: spread(own), native: spread(other), faster: ratio(own, other) };
}

export async function run() {
  const fovea = await open('fovea', { threads: 1 });
  const results = [];
  for (const N of Object.keys(GAIN)) results.push(await skipping(fovea, Number(N)));
  await fovea.close();
  for (const threads of [1, 2]) results.push(await againstNative(threads));
  const bars = results.map(({ N, threads, gain, faster }) =>
    N === LONG
      ? atLeast(`causal N=${N}, ${threads} thread(s), against onnxruntime-node`, faster, 1)
      : atLeast(`causal N=${N}, speed of not causal`, gain, GAIN[N]),
  );
  return { results, bars, table: table(results) };
}

const table = (results) => ({
  head: ['N', 'threads', 'fovea', 'onnxruntime-node', 'ratio'],
  rows: results.map(({ N, threads, gflops, native, gain, faster }) => [
    N,
    threads,
    gflops.median.toFixed(1),
    native?.median.toFixed(1) ?? '',
    faster ? `${faster.toFixed(2)}× native` : `${gain.toFixed(2)}× not causal`,
  ]),
});
