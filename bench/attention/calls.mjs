// What one call costs: at N=1 on engine tensors, and the first one after import in a fresh process.
import { attentionForward } from '../../dist/engine/ops/attention.js';
import { interleave, median, spread } from '../measure.mjs';
import { atMost } from './bars.mjs';
import { check, makeProblem } from './problem.mjs';
import { inChild } from './processes.mjs';
import { open } from './systems.mjs';

export const title = 'one call';
const FRESH = 9;
const H = 8;
const D = 64;

/** The first call in this process: time of the import, then of the call, start of threads included. */
export async function job() {
  const problem = makeProblem({ Lq: 64 });
  const { q, k, v } = problem;
  const inputs = [q, k, v].map((data) => ({ data, shape: [H, 64, D] }));
  const start = performance.now();
  const { attention } = await import('../../dist/index.js');
  const imported = performance.now();
  const { output } = await attention(...inputs);
  const ms = performance.now() - imported;
  check('first call', problem, output.data);
  return { importMs: imported - start, ms };
}

/** A call of one query and one key, H=8, D=64, as a layer issues it. */
async function smallest(threads) {
  const { engine, close } = await open('fovea', { threads });
  const problem = makeProblem({ Lq: 1 });
  const operand = (data) => ({
    tensor: engine.tensor(data, [1, H, 1, D]),
    ...{ offset: 0, batch: H * D, head: D, row: D },
  });
  const [q, k, v] = [problem.q, problem.k, problem.v].map(operand);
  const sizes = { B: 1, H, Hkv: H, Lq: 1, Lk: 1, D, Dv: D };
  const rest = { scale: 1 / Math.sqrt(D), softcap: 0, causal: false, window: [-1, -1], offset: 0 };
  const call = { ...sizes, ...rest, q, k, v };
  const kept = engine.scope(() => attentionForward(call).output);
  check('N=1', problem, await kept.read());
  const run = () => engine.scope(() => void attentionForward(call));
  const [samples] = await interleave([{ run, sync: true }], { rounds: 15 });
  await close();
  return { threads, microseconds: spread(samples.map((ms) => 1e3 * ms)) };
}

export async function run() {
  const calls = [await smallest(1), await smallest(2)];
  const fresh = [];
  for (let n = 0; n < FRESH; n++) fresh.push(await inChild('calls'));
  const first = spread(fresh.map(({ ms }) => ms));
  const importMs = median(fresh.map(({ importMs }) => importMs));
  const bars = [
    ...calls.map(({ threads, microseconds }) =>
      atMost(`a call at N=1, ${threads} thread(s)`, microseconds.median, 30, ' µs'),
    ),
    atMost('first call after import', first.median, 150, ' ms', `slowest ${first.highest.toFixed(1)}`),
  ];
  return { results: { calls, first, importMs }, bars, table: table(calls, first, importMs) };
}

const table = (calls, first, importMs) => ({
  head: ['call', 'median', 'lowest', 'highest'],
  rows: [
    ...calls.map(({ threads, microseconds: { median, lowest, highest } }) => [
      `N=1, ${threads} thread(s)`,
      ...[median, lowest, highest].map((x) => `${x.toFixed(1)} µs`),
    ]),
    ['first', ...[first.median, first.lowest, first.highest].map((x) => `${x.toFixed(1)} ms`)],
    ['import before it', `${importMs.toFixed(1)} ms`, '', ''],
  ],
});
