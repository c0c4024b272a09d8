// What a second thread gains, beside what the register loop alone gains from it in the same rounds.
import { interleave, median, ratio, spread } from '../measure.mjs';
import { preparePeak } from '../peak.mjs';
import { makeProblem } from './problem.mjs';
import { open, rates, ready } from './systems.mjs';

export const title = 'two threads against one, H=8, D=64';
const LENGTHS = [1024, 2048, 4096];

async function atLength(N, systems, peaks) {
  const jobs = [];
  for (const system of systems) jobs.push(await ready('fovea', system, makeProblem({ Lq: N })));
  const samples = await interleave([...jobs, ...peaks], { rounds: 25 });
  const [one, two, tileOne, tileTwo] = samples;
  // The loop's two threads do twice the work of its one.
  const loop = tileOne.map((ms, round) => (2 * ms) / tileTwo[round]);
  const gain = one.map((ms, round) => ms / two[round]);
  return {
    N,
    gflops: spread(rates(jobs[1].flop, two)),
    gain: median(gain),
    loop: median(loop),
    ofLoop: ratio(gain, loop),
  };
}

export async function run() {
  const systems = [];
  for (const threads of [1, 2]) systems.push(await open('fovea', { threads }));
  const peaks = [];
  for (const { engine } of systems) peaks.push({ ...(await preparePeak(engine)), sync: true });
  const results = [];
  for (const N of LENGTHS) results.push(await atLength(N, systems, peaks));
  for (const system of systems) await system.close();
  const bars = results.map(({ N, gain, loop, ofLoop }) => ({
    work: `two threads, N=${N}`,
    bar: '≥ 1.8×, or ≥ 0.92 of the register loop’s gain',
    measured: `${gain.toFixed(2)}×; loop ${loop.toFixed(2)}×: ${ofLoop.toFixed(2)} of it`,
    value: gain,
    met: gain >= 1.8 || ofLoop >= 0.92,
  }));
  return { results, bars, table: table(results) };
}

const table = (results) => ({
  head: ['N', 'GFLOP/s on 2', 'gain', 'register loop', 'of it'],
  rows: results.map(({ N, gflops, gain, loop, ofLoop }) => [
    N,
    gflops.median.toFixed(1),
    `${gain.toFixed(2)}×`,
    `${loop.toFixed(2)}×`,
    ofLoop.toFixed(2),
  ]),
});
