// Length against memory: every system at every length in a process of its own, on one thread; Fovea on two threads too.
// Peak resident memory is VmHWM after the process's first call, less that of a process that only allocates inputs and
// outputs; it includes what the map takes for a row and a tile, and no other call's garbage: fifty small calls to warm up
// left 17 MB that the collector had not looked at. They come after it, and then the call that is timed, unless the first took
// too long. Linux only (/proc).
import { readFileSync } from 'node:fs';
import { time } from '../measure.mjs';
import { atMost } from './bars.mjs';
import { check, flops, makeProblem } from './problem.mjs';
import { inChild } from './processes.mjs';
import { open, SYSTEMS } from './systems.mjs';

export const title = 'length and memory, D=64, 1 thread (fovea-2: 2 threads)';
/** By group, so that each ends in about two minutes. */
const SIZES = {
  memory: [512, 1024, 2048, 4096].map((N) => ({ N, H: 8 })),
  long: [8192, 16384].map((N) => ({ N, H: 8 })),
  longest: [{ N: 65536, H: 1 }],
};
/** Those who cannot run them: their integers or memories are too small. */
const MUST_RUN_BEYOND = 2048;
const OVERFLOWING = ['onnxruntime-web', 'jax-js', 'tfjs-wasm'];
/** Linear in memory, but minutes at greater lengths. */
const LONGEST = { plain: 2048 };
/** How a system takes its inputs, so that no copy is counted. */
const INSIDE = ['onnxruntime-web', 'onnxruntime-node', 'jax-js'];
const MOST_MEGABYTES = 64;
/** ms: up to this, a second call is timed: in the first kernels are compiled, and memory is met for the first time. */
const SHORT = 40_000;
/** ms: what a process gets for its calls. */
const LIMIT = 120_000;

const peakMegabytes = () =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;

export async function job({ name, N, H, threads }) {
  const inside = INSIDE.includes(name);
  const problem = makeProblem({ Lq: N, H, inside });
  if (name === 'nothing') {
    const output = new Float32Array(problem.q.length).fill(1);
    return { megabytes: peakMegabytes(), used: output.at(-1) };
  }
  const system = await open(name, { threads });
  const call = await system.prepare(problem);
  let made = await timed(name, call);
  if (made.map) {
    await made.map.row({ head: 0, query: N - 1 });
    await made.map.tile({ head: 0, queries: [0, 64], keys: [N - 64, N] });
  }
  const megabytes = peakMegabytes();
  check(name, problem, made.data, call.inside);
  if (made.ms < SHORT) {
    const small = await system.prepare(makeProblem({ Lq: 256, H: 8, inside }));
    await time(small.run, 300);
    made = await timed(name, call);
  }
  return { ms: made.ms, gflops: flops(problem) / made.ms / 1e6, megabytes };
}

async function timed(name, job) {
  const start = performance.now();
  const made = name === 'fovea' ? await job.attend() : { output: { data: await job.run() } };
  return { ms: performance.now() - start, data: made.output.data, map: made.map };
}

async function one(name, size, threads, base) {
  try {
    const job = { ...size, name, threads };
    const { gflops, ms, megabytes } = await inChild('lengths', job, { limit: LIMIT });
    return { ms, gflops, megabytes: megabytes - base };
  } catch (error) {
    return { error: error.message };
  }
}

export async function run(group) {
  const results = [];
  for (const size of SIZES[group]) {
    const { megabytes: base } = await inChild('lengths', { ...size, name: 'nothing' });
    const systems = {};
    for (const name of SYSTEMS) {
      if (size.N <= (LONGEST[name] ?? Infinity)) systems[name] = await one(name, size, 1, base);
    }
    systems['fovea-2'] = await one('fovea', size, 2, base);
    results.push({ ...size, inputsAndOutputs: base, systems });
  }
  return { results, bars: bars(results), table: table(results) };
}

function bars(results) {
  return results
    .filter(({ N }) => N > MUST_RUN_BEYOND)
    .flatMap(({ N, H, systems }) => {
      const work = `N=${N}, H=${H}`;
      const runs = (name) => systems[name].error === undefined;
      const others = OVERFLOWING.map((name) => `${name} ${runs(name) ? 'runs' : 'fails'}`).join(', ');
      const both = ['fovea', 'fovea-2'];
      const failed = both.map((name) => systems[name].error).find(Boolean);
      const ran = {
        work,
        bar: 'runs',
        measured: failed ?? `runs; ${others}`,
        value: failed ? 0 : 1,
        met: !failed,
      };
      if (failed) return [ran];
      const most = Math.max(...both.map((name) => systems[name].megabytes));
      return [ran, atMost(`${work}, memory beyond inputs and outputs`, most, MOST_MEGABYTES, ' MB')];
    });
}

const shown = (made) =>
  made === undefined
    ? 'not run'
    : made.error
      ? 'fails'
      : `${made.gflops.toFixed(1)} GFLOP/s, ${made.megabytes.toFixed(0)} MB`;

function table(results) {
  const names = [...SYSTEMS, 'fovea-2'];
  return {
    head: ['N', 'H', ...names],
    rows: results.map(({ N, H, systems }) => [N, H, ...names.map((name) => shown(systems[name]))]),
    notes: results.flatMap(({ N, systems }) =>
      Object.entries(systems)
        .filter(([, { error }]) => error)
        .map(([name, { error }]) => `N=${N}, ${name}: ${error}`),
    ),
  };
}
