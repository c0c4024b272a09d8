// Forward on one thread: every system at every length in one run, beside the machine's peak.
import { matmul } from '../../dist/engine/ops/matmul.js';
import { interleave, ratio, seeded, spread } from '../measure.mjs';
import { preparePeak } from '../peak.mjs';
import { atLeast } from './bars.mjs';
import { makeProblem } from './problem.mjs';
import { open, rates, ready, SYSTEMS } from './systems.mjs';

export const title = 'forward, 1 thread, H=8, D=64, GFLOP/s';
const LENGTHS = [256, 512, 1024, 2048];
const AGAINST_WEB = { 512: 1.7, 1024: 1.85, 2048: 1.9 };
/** Plain loops have no fixed cost: one head of eight tells their speed, and saves a minute. */
const HEADS = { plain: 1 };

/** The best multiplication: nothing may be above the peak. */
function prepareMatmul(engine) {
  const size = 512;
  const numbers = Float32Array.from({ length: size * size }, seeded());
  const [a, b] = [engine.tensor(numbers, [size, size]), engine.tensor(numbers, [size, size])];
  const out = engine.zeros([size, size]);
  return { run: () => engine.scope(() => void matmul(a, b, { out })), flop: 2 * size ** 3, sync: true };
}

async function atLength(N, systems, machine) {
  const jobs = [];
  for (const [name, system] of systems) {
    jobs.push(await ready(name, system, makeProblem({ Lq: N, H: HEADS[name] ?? 8 })));
  }
  const samples = await interleave([...machine, ...jobs]);
  const [tile, product, ...speeds] = [...machine, ...jobs].map(({ flop }, n) => rates(flop, samples[n]));
  const peak = tile.map((rate, round) => Math.max(rate, product[round]));
  for (const job of jobs) await job.close();
  const [own, ...others] = speeds;
  return {
    N,
    peak: spread(peak),
    ofPeak: ratio(own, peak),
    systems: Object.fromEntries(jobs.map(({ name }, n) => [name, spread(speeds[n])])),
    faster: Object.fromEntries(others.map((other, n) => [jobs[n + 1].name, ratio(own, other)])),
  };
}

export async function run() {
  const systems = [];
  for (const name of SYSTEMS) systems.push([name, await open(name, { threads: 1 })]);
  const { engine } = systems[0][1];
  const machine = [{ ...(await preparePeak(engine)), sync: true }, prepareMatmul(engine)];
  const results = [];
  for (const N of LENGTHS) results.push(await atLength(N, systems, machine));
  for (const [, system] of systems) await system.close();
  return { build: engine.build, results, bars: bars(results), table: table(results) };
}

function bars(results) {
  const list = results
    .filter(({ N }) => N in AGAINST_WEB)
    .map(({ N, faster }) =>
      atLeast(`forward N=${N}, against onnxruntime-web`, faster['onnxruntime-web'], AGAINST_WEB[N]),
    );
  const { ofPeak, systems, faster, peak } = results.at(-1);
  const note = `peak ${peak.median.toFixed(1)} GFLOP/s`;
  return [
    ...list,
    atLeast('forward N=2048, of the peak', 100 * ofPeak, 70, '%', note),
    atLeast('forward N=2048', systems.fovea.median, 40, ' GFLOP/s', note),
    atLeast('forward N=2048, against jax-js', faster['jax-js'], 4),
    atLeast('forward N=2048, against tfjs-wasm', faster['tfjs-wasm'], 12),
  ];
}

const table = (results) => ({
  head: ['N', 'peak', ...SYSTEMS],
  rows: results.map(({ N, peak, systems }) => [
    N,
    peak.median.toFixed(1),
    ...SYSTEMS.map((name) => {
      const { median, lowest, highest } = systems[name];
      return `${median.toFixed(1)} [${lowest.toFixed(1)}, ${highest.toFixed(1)}]`;
    }),
  ]),
});
