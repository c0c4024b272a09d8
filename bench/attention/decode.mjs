// Decoding: one query against 4096 keys that stay where they are; ONNX Runtime native with its keys laid out head by head,
// as its own cache has them, so that it moves nothing.
import { createKeyValueCache } from '../../dist/index.js';
import { interleave, ratio, spread } from '../measure.mjs';
import { atLeast, atMost } from './bars.mjs';
import { check, makeProblem } from './problem.mjs';
import { open, ready } from './systems.mjs';

export const title = 'decode, 1 query × 4096 keys, H=8, D=64, ms';
const KEYS = 4096;
const MOST_MS = 1.2;

async function prepareFovea(engine, problem) {
  const { H, D, q, k, v } = problem;
  const cache = createKeyValueCache(engine, {
    ...{ batch: 1, heads: H, keyWidth: D, valueWidth: D, capacity: KEYS },
  });
  const rows = (data, L) => ({ data, shape: [1, H, L, D] });
  cache.append(rows(k, KEYS), rows(v, KEYS));
  const query = rows(q, 1);
  const run = async () => {
    const { output, map } = await cache.attend(query);
    map.dispose();
    return output.data;
  };
  check('fovea', problem, await run());
  return { run, close: () => cache.dispose() };
}

async function onThreads(threads) {
  const problem = makeProblem({ Lq: 1, Lk: KEYS });
  const fovea = await open('fovea', { threads });
  const native = await open('onnxruntime-node', { threads });
  const jobs = [
    await prepareFovea(fovea.engine, problem),
    await ready('onnxruntime-node', native, problem, { headsFirst: true }),
  ];
  const [own, other] = await interleave(jobs, { rounds: 45 });
  for (const job of jobs) await job.close();
  await fovea.close();
  return { threads, ms: spread(own), native: spread(other), faster: ratio(other, own) };
}

export async function run() {
  const results = [];
  for (const threads of [1, 2]) results.push(await onThreads(threads));
  const { ms, faster } = results.at(-1);
  const bars = [
    atMost(`decode 1 × ${KEYS}, 2 threads`, ms.median, MOST_MS, ' ms'),
    atLeast(`decode 1 × ${KEYS}, 2 threads, against onnxruntime-node`, faster, 1),
  ];
  return { results, bars, table: table(results) };
}

const table = (results) => ({
  head: ['threads', 'fovea', 'onnxruntime-node', 'ratio'],
  rows: results.map(({ threads, ms, native, faster }) => [
    threads,
    ms.median.toFixed(3),
    native.median.toFixed(3),
    `${faster.toFixed(2)}×`,
  ]),
});
