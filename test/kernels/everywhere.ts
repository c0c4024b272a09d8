// Runs a computation on every build this machine has, with one, two and three threads, and demands equal bits.
import { expect } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';

const THREADS = [1, 2, 3];
let engines: Promise<Engine[][]> | undefined;

/** Per build, one engine for each number of threads. */
async function allEngines(): Promise<Engine[][]> {
  const auto = await createEngine({ threads: 1 });
  const builds = auto.build === 'relaxed' ? (['relaxed', 'strict'] as const) : (['strict'] as const);
  await auto.dispose();
  return Promise.all(
    builds.map((simd) => Promise.all(THREADS.map((threads) => createEngine({ threads, simd })))),
  );
}

export async function disposeEngines(): Promise<void> {
  const all = (await engines) ?? [];
  engines = undefined;
  await Promise.all(all.flat().map((engine) => engine.dispose()));
}

/** One engine, for what does not depend on build or threads. */
export async function anyEngine(): Promise<Engine> {
  engines ??= allEngines();
  return (await engines)[0]![0]!;
}

/** The tensors that `compute` returns, read; one set per build. Every thread count must give the same bits. */
export async function everywhere(compute: (engine: Engine) => Tensor[]): Promise<Float32Array[][]> {
  engines ??= allEngines();
  const results: Float32Array[][] = [];
  for (const row of await engines) {
    const runs: Float32Array[][] = [];
    for (const engine of row) {
      const before = engine.memory.tensors;
      const tensors = engine.scope(() => compute(engine));
      runs.push((await Promise.all(tensors.map((t) => t.read()))) as Float32Array[]);
      for (const tensor of tensors) tensor.dispose();
      expect(engine.memory.tensors).toBe(before);
    }
    for (const run of runs) {
      for (const [i, data] of run.entries()) expectSameBits(data, runs[0]![i]!);
    }
    results.push(runs[0]!);
  }
  return results;
}

/** Compares memory at once: a matcher that walks the elements takes minutes over many sizes. */
export function expectSameBits(got: Float32Array | Int32Array, want: Float32Array | Int32Array): void {
  expect(got.constructor).toBe(want.constructor);
  const [a, b] = [got, want].map((data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  if (a!.equals(b!)) return;
  const at = got.findIndex((v, i) => !Object.is(v, want[i]));
  expect.fail(
    `${got.length} and ${want.length} elements; element ${at}: got ${got[at]}, expected ${want[at]}`,
  );
}

/** Numbers of about normal distribution, the same for the same seed. */
export function normal(count: number, seed: number, scale = 1): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => (next() + next() + next() + next() - 2) * 1.73 * scale);
}

/** Whole numbers in [0, below). */
export function integers(count: number, below: number, seed: number): Int32Array {
  return Int32Array.from(normal(count, seed), (x) => Math.floor(Math.abs(x) * 1e6) % below);
}

/** Fails at the first element whose error exceeds bound(i); NaN is wanted where NaN is expected. */
export function expectClose(
  got: Float32Array,
  want: ArrayLike<number>,
  bound: (i: number) => number,
  what = '',
): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < got.length; i++) {
    const fine = Number.isNaN(want[i]) ? Number.isNaN(got[i]) : Math.abs(got[i]! - want[i]!) <= bound(i);
    if (!fine && !Object.is(got[i], want[i])) {
      expect.fail(`${what} element ${i}: got ${got[i]}, expected ${want[i]} within ${bound(i)}`);
    }
  }
}

/** 2⁻²⁴: half a unit in the last place of float32, relative. */
export const EPS = 2 ** -24;
