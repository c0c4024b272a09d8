// jax-js on WebAssembly: its own dotProductAttention, compiled by jit. In Node it computes on one thread: its workers are
// made from blob URLs, which Node's do not read; where another system has defined a global Worker, it must not see it.
import { defaultDevice, init, jit, nn, numpy } from '@jax-js/jax';
import { headsInside } from '../problem.mjs';

export const name = 'jax-js';

async function withoutWorkers(fn) {
  const { Worker } = globalThis;
  globalThis.Worker = undefined;
  try {
    return await fn();
  } finally {
    globalThis.Worker = Worker;
  }
}

export async function open() {
  await withoutWorkers(() => init('wasm'));
  defaultDevice('wasm');
  return {
    prepare(problem) {
      const { B, H, Lq, Lk, D, causal, q, k, v } = problem;
      const attend = jit((...inputs) => nn.dotProductAttention(...inputs, { isCausal: causal }));
      const operands = [
        [q, Lq],
        [k, Lk],
        [v, Lk],
      ].map(([data, L]) => [headsInside(data, problem, L), [B, L, H, D]]);
      const call = () => attend(...operands.map(([data, shape]) => numpy.array(data, { shape }))).data();
      return { run: () => withoutWorkers(call), inside: true, close: () => attend.dispose() };
    },
    close() {},
  };
}
