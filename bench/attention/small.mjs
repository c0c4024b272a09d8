// Many short sequences: B=32, H=4, D=32. Each number of threads has a process of its own, since onnxruntime-web has one
// number of threads per process.
import { interleave, ratio, spread } from '../measure.mjs';
import { atLeast } from './bars.mjs';
import { makeProblem } from './problem.mjs';
import { inChild } from './processes.mjs';
import { open, rates, ready } from './systems.mjs';

export const title = 'short sequences, B=32, H=4, D=32, µs per call';
const LENGTHS = [16, 64, 128];

export async function job({ threads }) {
  const names = ['fovea', 'onnxruntime-web'];
  const systems = [];
  for (const name of names) systems.push(await open(name, { threads }));
  const results = [];
  for (const N of LENGTHS) {
    const problem = makeProblem({ B: 32, H: 4, Lq: N, D: 32 });
    const jobs = [];
    for (const [n, name] of names.entries()) jobs.push(await ready(name, systems[n], problem));
    const [own, web] = await interleave(jobs, { rounds: 45 });
    await jobs[1].close();
    results.push({
      ...{ N, threads, gflops: spread(rates(jobs[0].flop, own)) },
      microseconds: spread(own.map((ms) => 1e3 * ms)),
      web: spread(web.map((ms) => 1e3 * ms)),
      faster: ratio(web, own),
    });
  }
  for (const system of systems) await system.close();
  return results;
}

export async function run() {
  const results = [];
  for (const threads of [1, 2]) results.push(...(await inChild('small', { threads })));
  const bars = results.map(({ N, threads, faster }) =>
    atLeast(`small N=${N}, ${threads} thread(s), against onnxruntime-web`, faster, 2),
  );
  return { results, bars, table: table(results) };
}

const table = (results) => ({
  head: ['N', 'threads', 'fovea', 'onnxruntime-web', 'ratio'],
  rows: results.map(({ N, threads, microseconds, web, faster }) => [
    N,
    threads,
    microseconds.median.toFixed(0),
    web.median.toFixed(0),
    `${faster.toFixed(2)}×`,
  ]),
});
