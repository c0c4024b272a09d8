// The attention kernels against the float64 reference: every option in random combinations, lengths around the edges
// of tiles, what forbidden cells may not leak, empty rows, and the bits for any number of threads, in both builds.
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine } from '../../dist/engine/types.js';
import {
  buildCase,
  type Case,
  drawnCase,
  generator,
  largestError,
  makeCase,
  type Results,
  runKernels,
  truthOf,
} from './attention-cases.js';

const builds = ['strict', 'auto'] as const;
/** Weights: 4 ulp of float32 at 1, plus what a score's own rounding brings. */
const WEIGHT_BOUND = 4e-6;

async function expectTrue(engine: Engine, one: Case, weightBound = WEIGHT_BOUND): Promise<Results> {
  const got = await runKernels(engine, one);
  const { truth, bounds } = truthOf(one);
  for (const name of Object.keys(truth)) {
    const error = largestError(got[name], truth[name]);
    expect(error, name).toBeLessThanOrEqual(bounds[name] ?? weightBound);
  }
  return got;
}

describe.each(builds)('attention kernels, %s build: error ≤ twice plain float32 + 1e-6', async (simd) => {
  const engine = await createEngine({ threads: 1, simd });
  afterAll(() => engine.dispose());

  test('all options in random combinations', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(drawnCase, async (drawn) => {
        await expectTrue(engine, buildCase(drawn), 1e-5);
      }),
      { numRuns: 150, seed: 20 },
    );
  });

  test.each([1, 63, 64, 65, 129, 200])('Lq and Lk around the edges of tiles: %i', async (L) => {
    const random = generator(L);
    for (const [Lq, Lk] of [
      [L, L],
      [L, 67],
      [5, L],
    ]) {
      const shapes = { q: [1, 2, Lq, 32], k: [1, 1, Lk, 32], v: [1, 1, Lk, 40] };
      await expectTrue(engine, makeCase(shapes, { causal: 'lower-right' }, random));
      await expectTrue(engine, makeCase(shapes, {}, random));
    }
  });

  test.each([1, 5, 100, 128, 511, 512])('D and Dv of %i', async (D) => {
    const shapes = { q: [1, 1, 70, D], k: [1, 1, 69, D], v: [1, 1, 69, D] };
    await expectTrue(engine, makeCase(shapes, { causal: 'lower-right' }, generator(D)));
  });

  test('scores of about ±10000', async () => {
    const one = makeCase(
      { q: [1, 1, 20, 64], k: [1, 1, 90, 64], v: [1, 1, 90, 64] },
      { scale: 512 },
      generator(4),
    );
    await expectTrue(engine, one, 1e-2);
  });

  test('gradients of long sequences with few heads, split by chunks and tiles', async () => {
    const options = { causal: 'lower-right', dropout: { rate: 0.1, seed: 7 } } as const;
    const one = makeCase(
      { q: [1, 2, 150, 16], k: [1, 1, 140, 16], v: [1, 1, 140, 8] },
      options,
      generator(5),
    );
    await expectTrue(engine, one);
  });

  test('packed sequences equal separate calls bit for bit', async () => {
    const lengths = [
      [3, 5],
      [0, 4],
      [70, 66],
      [17, 0],
      [20, 20],
    ];
    const random = generator(6);
    const ends = (side: number) =>
      Int32Array.from([
        0,
        ...lengths.map((_, n) => lengths.slice(0, n + 1).reduce((a, x) => a + x[side], 0)),
      ]);
    const cu = { q: ends(0), k: ends(1) };
    const [Tq, Tk] = [cu.q[5], cu.k[5]];
    const options = {
      causal: 'lower-right',
      window: [30, -1],
      alibi: { data: Float32Array.of(0.1, 0.3), shape: [2] },
    } as const;
    const whole = makeCase(
      { q: [Tq, 2, 12], k: [Tk, 1, 12], v: [Tk, 1, 9] },
      { ...options, cuSeqlens: cu },
      random,
    );
    const got = await runKernels(engine, whole);
    const { q, k, v } = whole.problem;
    for (let b = 0; b < 5; b++) {
      const rows = (x: { tensor: { data: ArrayLike<number> } }, at: Int32Array, width: number) =>
        (x.tensor.data as Float32Array).slice(at[b] * width, at[b + 1] * width);
      const [Lq, Lk] = lengths[b];
      const one = makeCase(
        { q: [1, Lq, 2, 12], k: [1, Lk, 1, 12], v: [1, Lk, 1, 9] },
        { ...options, layout: 'blhd' },
        random,
      );
      (one.problem.q.tensor.data as Float32Array).set(rows(q, cu.q, 24));
      (one.problem.k.tensor.data as Float32Array).set(rows(k, cu.k, 12));
      (one.problem.v.tensor.data as Float32Array).set(rows(v, cu.k, 9));
      one.dOutput.set(whole.dOutput.subarray(cu.q[b] * 18, cu.q[b + 1] * 18));
      for (let h = 0; h < 2; h++) {
        for (let i = 0; i < Lq; i++) one.dLogSumExp[h * Lq + i] = whole.dLogSumExp[(cu.q[b] + i) * 2 + h];
      }
      const own = await runKernels(engine, one);
      const slice = (x: Float32Array, at: Int32Array, width: number) =>
        x.slice(at[b] * width, at[b + 1] * width);
      expect(own.output).toEqual(slice(got.output, cu.q, 18));
      expect(own.dq).toEqual(slice(got.dq, cu.q, 24));
      expect(own.dk).toEqual(slice(got.dk, cu.k, 12));
      expect(own.dv).toEqual(slice(got.dv, cu.k, 9));
    }
  });

  test('NaN and ∞ in forbidden k, v and bias, and in empty rows of q and dO, leave no trace', async () => {
    const [Lq, Lk] = [75, 70];
    const build = (poison: boolean) => {
      const random = generator(8);
      const bias = { data: new Float32Array(Lq * Lk).fill(0.5), shape: [Lq, Lk] };
      const options = {
        causal: { offset: -3 },
        keyLengths: Int32Array.of(66, 40),
        sinks: { data: Float32Array.of(0.3), shape: [1] },
        bias,
      };
      const one = makeCase({ q: [2, 1, Lq, 9], k: [2, 1, Lk, 9], v: [2, 1, Lk, 11] }, options, random);
      if (!poison) return one;
      const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      const [q, k, v] = [one.problem.q, one.problem.k, one.problem.v].map(
        (x) => x.tensor.data as Float32Array,
      );
      for (const [b, from] of [
        [0, 66],
        [1, 40],
      ]) {
        for (let j = from; j < Lk; j++) {
          k.fill(bad[j % 3], (b * Lk + j) * 9, (b * Lk + j + 1) * 9);
          v.fill(bad[j % 3], (b * Lk + j) * 11, (b * Lk + j + 1) * 11);
        }
        // Rows 0 to 2 lie before every key.
        q.fill(Number.NaN, b * Lq * 9, (b * Lq + 3) * 9);
        one.dOutput.fill(Number.NaN, b * Lq * 11, (b * Lq + 3) * 11);
      }
      for (let i = 0; i < Lq; i++)
        for (let j = Math.max(0, i - 2); j < Lk; j++) bias.data[i * Lk + j] = bad[j % 2];
      return one;
    };
    const clean = await runKernels(engine, build(false));
    const poisoned = await runKernels(engine, build(true));
    for (const name of Object.keys(clean)) expect(poisoned[name], name).toEqual(clean[name]);
  });

  test('a NaN row of v reaches the rows that may attend to it, and no other', async () => {
    const one = makeCase(
      { q: [1, 1, 75, 8], k: [1, 1, 75, 8], v: [1, 1, 75, 16] },
      { causal: true },
      generator(9),
    );
    (one.problem.v.tensor.data as Float32Array).fill(Number.NaN, 42 * 16, 43 * 16);
    const { output, dq, dv } = await runKernels(engine, one);
    for (let i = 0; i < 75; i++) {
      expect(Number.isNaN(output[i * 16])).toBe(i >= 42);
      expect(Number.isNaN(dq[i * 8])).toBe(i >= 42);
    }
    expect(dv.some(Number.isNaN)).toBe(false);
  });

  test('an infinite key makes a row non-finite exactly where the reference is', async () => {
    const one = makeCase(
      { q: [1, 1, 20, 8], k: [1, 1, 20, 8], v: [1, 1, 20, 8] },
      { causal: true },
      generator(10),
    );
    (one.problem.k.tensor.data as Float32Array)[7 * 8] = Number.POSITIVE_INFINITY;
    const got = await runKernels(engine, one);
    const { truth } = truthOf(one);
    for (const name of ['output', 'logSumExp', 'dq']) {
      expect(Array.from(got[name], Number.isFinite), name).toEqual(Array.from(truth[name], Number.isFinite));
    }
  });

  test('empty rows: output 0, logSumExp −∞ or the sink, and gradients 0 but for the sink', async () => {
    for (const sinks of [undefined, { data: Float32Array.of(-1.5), shape: [1] }]) {
      const options = { keyLengths: Int32Array.of(0), ...(sinks && { sinks }) };
      const one = makeCase({ q: [1, 1, 5, 4], k: [1, 1, 6, 4], v: [1, 1, 6, 4] }, options, generator(11));
      const got = await runKernels(engine, one);
      for (const name of ['output', 'dq', 'dk', 'dv'])
        expect(
          got[name].every((x) => x === 0),
          name,
        ).toBe(true);
      expect(got.logSumExp).toEqual(new Float32Array(5).fill(sinks ? -1.5 : Number.NEGATIVE_INFINITY));
      expect(got.rowSum).toEqual(new Float32Array(5).fill(sinks ? 1 : 0));
      if (sinks)
        expect(got.dSinks[0]).toBeCloseTo(
          one.dLogSumExp.reduce((a, x) => a + x, 0),
          5,
        );
    }
  });

  test('the same bits for 1, 2 and 3 threads', async () => {
    const cases: Case[] = [
      makeCase(
        { q: [3, 4, 70, 16], k: [3, 2, 65, 16], v: [3, 2, 65, 24] },
        {
          causal: 'lower-right',
          dropout: { rate: 0.2, seed: 3 },
          bias: { data: new Float32Array(70 * 65).fill(0.1), shape: [70, 65] },
          sinks: { data: new Float32Array(4), shape: [4] },
        },
        generator(12),
      ),
      makeCase(
        { q: [1, 1, 300, 16], k: [1, 1, 300, 16], v: [1, 1, 300, 16] },
        { causal: true },
        generator(13),
      ),
      makeCase(
        { q: [300, 4, 8], k: [300, 4, 8], v: [300, 4, 8] },
        {
          cuSeqlens: {
            q: Int32Array.from({ length: 21 }, (_, n) => n * 15),
            k: Int32Array.from({ length: 21 }, (_, n) => n * 15),
          },
        },
        generator(14),
      ),
    ];
    const one = [];
    for (const x of cases) one.push(await runKernels(engine, x));
    for (const threads of [2, 3]) {
      const more = await createEngine({ threads, simd });
      for (let n = 0; n < cases.length; n++)
        expect(await runKernels(more, cases[n]), `${threads} threads`).toEqual(one[n]);
      await more.dispose();
    }
  });
});
