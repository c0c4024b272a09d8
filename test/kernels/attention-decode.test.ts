// Few queries over many cached keys, which are split into runs of 256 and joined: every option in random combinations, at
// sizes around the runs, the threshold of 128 keys and of 8 queries, against the float64 reference.
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { weightsReference } from '../../dist/attention/reference.js';
import { createEngine } from '../../dist/engine/engine.js';
import { attentionWeights } from '../../dist/engine/ops/attention.js';
import { attentionDecode } from '../../dist/engine/ops/attention-decode.js';
import type { Engine } from '../../dist/engine/types.js';
import {
  buildCase,
  type Case,
  drawnCase,
  generator,
  largestError,
  makeCase,
  operandOf,
  truthOf,
  uploadCall,
} from './attention-cases.js';

const builds = ['strict', 'auto'] as const;
const few = fc.constantFrom(0, 1, 1, 2, 3, 7, 8, 9);
const many = fc.constantFrom(127, 128, 129, 200, 255, 256, 257, 260, 511, 512, 513, 700);
const three = (length: fc.Arbitrary<number>) => fc.array(length, { minLength: 3, maxLength: 3 });
const drawn = fc
  .tuple(drawnCase, fc.record({ Lq: three(few), Lk: three(many) }), fc.constantFrom(undefined, [150, -1]))
  .map(([one, lengths, window]) => ({ ...one, ...lengths, window: window ?? one.window }));

async function forward(engine: Engine, { problem: p }: Case): Promise<Record<string, Float32Array>> {
  const made = engine.scope(() => {
    const out = operandOf(engine.empty(p.output.shape), p.output);
    const call = uploadCall(engine, p);
    const { output, logSumExp, rowMax, rowSum } = attentionDecode(call, out);
    const last = [
      p.B - 1,
      p.H - 1,
      [0, p.queryCounts[p.B - 1]],
      [0, p.packed ? p.keyCounts[p.B - 1] : p.Lk],
    ] as const;
    const weights = attentionWeights(call, { rowMax, rowSum }, ...last);
    return { output, logSumExp, weights };
  });
  const read: Record<string, Float32Array> = {};
  for (const [name, tensor] of Object.entries(made)) {
    read[name] = (await tensor.read()) as Float32Array;
    tensor.dispose();
  }
  return read;
}

const decode = (H: number, Hkv: number, Lq: number, Lk: number, D = 16, options = {}, seed = Lk) =>
  makeCase({ q: [1, H, Lq, D], k: [1, Hkv, Lk, D], v: [1, Hkv, Lk, D] }, options, generator(seed));

describe.each(builds)('decoding, %s build: error ≤ twice plain float32 + 1e-6', async (simd) => {
  const engine = await createEngine({ threads: 1, simd });
  afterAll(() => engine.dispose());

  async function expectTrue(one: Case): Promise<void> {
    const got = await forward(engine, one);
    const { truth, bounds } = truthOf(one);
    const p = one.problem;
    const keys = p.packed ? p.keyCounts[p.B - 1] : p.Lk;
    const weights = weightsReference(p, p.B - 1, p.H - 1, [0, p.queryCounts[p.B - 1]], [0, keys]);
    for (const name of ['output', 'logSumExp']) {
      expect(largestError(got[name], truth[name]), name).toBeLessThanOrEqual(bounds[name]);
    }
    expect(largestError(got.weights, weights), 'weights').toBeLessThanOrEqual(1e-5);
  }

  test('all options in random combinations', { timeout: 240_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(drawn, async (one) => expectTrue(buildCase(one))),
      { numRuns: 60, seed: 5 },
    );
  });

  test('many runs, and more rows than go through a run together', async () => {
    await expectTrue(decode(1, 1, 1, 256 * 40 + 3));
    await expectTrue(decode(12, 2, 8, 600, 33, { causal: 'lower-right' }));
    await expectTrue(decode(2, 1, 3, 300, 512, { softcap: 3 }));
  });

  test('runs without an allowed cell, empty rows, scores of −∞', async () => {
    const mask = (share: (j: number) => boolean) => ({
      data: Uint8Array.from({ length: 700 }, (_, j) => +share(j)),
      shape: [700],
      dtype: 'bool' as const,
    });
    await expectTrue(decode(2, 1, 2, 700, 8, { mask: mask((j) => j >= 256 && j < 512 && j % 3 > 0) }));
    await expectTrue(decode(2, 1, 2, 700, 8, { mask: mask(() => false) }));
    const sinks = { data: Float32Array.of(0.4, -2), shape: [2] };
    await expectTrue(decode(2, 1, 2, 700, 8, { mask: mask(() => false), sinks }));
    await expectTrue(decode(2, 1, 2, 700, 8, { window: [3, 0], causal: { offset: 5 }, sinks }));
    const low = decode(1, 1, 1, 300, 8);
    (low.problem.q.tensor.data as Float32Array).fill(1);
    (low.problem.k.tensor.data as Float32Array).fill(Number.NEGATIVE_INFINITY);
    await expectTrue(low);
  });

  test('NaN and ∞ in forbidden keys, values and bias leave no trace; an allowed one shows where the reference has it', async () => {
    const build = (poison: number | undefined) => {
      const bias = { data: new Float32Array(600).fill(0.5), shape: [600] };
      const mask = { data: new Uint8Array(600).fill(1), shape: [600], dtype: 'bool' as const };
      for (const j of [3, 130, 300]) mask.data[j] = 0;
      for (const j of [4, 257]) bias.data[j] = Number.NEGATIVE_INFINITY;
      const one = decode(2, 1, 2, 600, 9, { bias, mask, keyLengths: Int32Array.of(590) }, 3);
      if (poison === undefined) return one;
      for (const x of [one.problem.k, one.problem.v]) {
        for (const j of [3, 4, 130, 257, 300, 590, 599]) {
          (x.tensor.data as Float32Array).fill(poison, j * 9, j * 9 + 9);
        }
      }
      bias.data[300] = poison;
      bias.data[595] = poison;
      return one;
    };
    const clean = await forward(engine, build(undefined));
    for (const poison of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(await forward(engine, build(poison))).toEqual(clean);
    }
    for (const poison of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const name of ['k', 'v'] as const) {
        const one = build(undefined);
        (one.problem[name].tensor.data as Float32Array)[400 * 9 + 2] = poison;
        const { output } = await forward(engine, one);
        const { truth } = truthOf(one);
        expect(Array.from(output, Number.isFinite)).toEqual(Array.from(truth.output, Number.isFinite));
      }
    }
  });

  test('values near the largest float32 do not overflow', async () => {
    const one = decode(1, 1, 1, 700, 8, { scale: 0 });
    (one.problem.v.tensor.data as Float32Array).fill(3e38);
    const { output } = await forward(engine, one);
    for (const x of output) expect(Math.abs(x / 3e38 - 1)).toBeLessThan(1e-5);
  });
});

test.each(builds)('the same bits for 1, 2 and 3 threads, %s build', async (simd) => {
  const cases = [
    decode(1, 1, 1, 5000, 64),
    decode(8, 2, 3, 1500, 40, { causal: 'lower-right' }),
    decode(3, 3, 8, 777, 65),
  ];
  const results = [];
  for (const threads of [1, 2, 3]) {
    const engine = await createEngine({ threads, simd });
    for (let again = 0; again < (threads === 1 ? 1 : 5); again++) {
      results.push(await Promise.all(cases.map((one) => forward(engine, one))));
    }
    expect(engine.memory.tensors).toBe(0);
    await engine.dispose();
  }
  for (const result of results) expect(result).toEqual(results[0]);
});

test.each([
  [2, 16],
  [1, 32],
  [1, 64],
  [1, 71],
  [1, 150],
])(
  'query heads that share a key head get the bits of heads that have copies of it: Lq=%d, D=%d',
  async (Lq, D) => {
    const engine = await createEngine({ threads: 1 });
    const shared = decode(4, 1, Lq, 400, D);
    const apart = decode(4, 4, Lq, 400, D);
    (apart.problem.q.tensor.data as Float32Array).set(shared.problem.q.tensor.data as Float32Array);
    for (const name of ['k', 'v'] as const) {
      const from = shared.problem[name].tensor.data as Float32Array;
      for (let h = 0; h < 4; h++)
        (apart.problem[name].tensor.data as Float32Array).set(from, h * from.length);
    }
    expect(await forward(engine, shared)).toEqual(await forward(engine, apart));
    await engine.dispose();
  },
);
