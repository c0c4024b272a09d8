// The systems that are compared, opened by name, so that a process loads only those it times.
import { createRequire } from 'node:module';
import { check, flops } from './problem.mjs';

export const PEERS = ['onnxruntime-web', 'onnxruntime-node', 'jax-js', 'tfjs-wasm', 'plain'];
export const SYSTEMS = ['fovea', ...PEERS];

const PACKAGES = {
  'onnxruntime-web': 'onnxruntime-web',
  'onnxruntime-node': 'onnxruntime-node',
  'jax-js': '@jax-js/jax',
  'tfjs-wasm': '@tensorflow/tfjs-backend-wasm',
};

export async function open(name, options) {
  const { open } = await import(`./peers/${name}.mjs`);
  return open(options);
}

/** Versions as pinned in bench/package.json. */
export function versions() {
  const { dependencies } = createRequire(import.meta.url)('../package.json');
  return Object.fromEntries(Object.entries(PACKAGES).map(([name, pack]) => [name, dependencies[pack]]));
}

/** Makes a system ready for a problem and checks its result; the job can be timed, in operations per ms by flop. */
export async function ready(name, system, problem, options) {
  const job = await system.prepare(problem, options);
  check(name, problem, await job.run(), job.inside);
  return { ...job, name, flop: flops(problem) };
}

/** GFLOP/s by round. */
export const rates = (flop, samples) => samples.map((ms) => flop / ms / 1e6);
