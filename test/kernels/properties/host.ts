// attention() and its kin on host arrays: random calls of every rank and layout against the truth, merging of random
// splits, what the kernels cannot be told, and what is refused.
import assert from 'node:assert/strict';
import { attentionReference, weightsReference } from '../../../dist/attention/reference.js';
import { attentionBackwardReference } from '../../../dist/attention/reference-backward.js';
import { validateAttention } from '../../../dist/attention/validate.js';
import type { Engine } from '../../../dist/engine/types.js';
import { attention, attentionBackward, mergeAttention } from '../../../dist/index.js';
import { portion } from '../../../dist/map/parts.js';
import { type HostTensor, toFloat64 } from '../../../dist/tensor/host.js';
import { type RandomCall, randomBool, randomCall, randomTensor, seeded } from '../../attention/calls.js';
import { plainAttention } from '../../attention/plain.js';
import { largestError } from '../attention-cases.js';
import { once, type Step, truths, WEIGHT_BOUND, withBudget } from './lab.js';

const GRADIENTS = ['dq', 'dk', 'dv', 'dBias', 'dSinks'] as const;

/** `bytes` is the working budget: a small one cuts the call into parts. */
function hostStep(name: string, make: () => RandomCall, seed: number, bytes?: number): Step {
  const given = once(() => {
    const call = make();
    const random = seeded(seed);
    const problem = validateAttention(call.q, call.k, call.v, call.options);
    const dOutput = randomTensor(random, [...problem.output.shape]);
    const dLogSumExp = randomTensor(random, [...problem.statistics.shape]);
    return { ...call, problem, dOutput, dLogSumExp };
  });
  const truth = () => {
    const { problem: p, dOutput, dLogSumExp } = given();
    const upstream = { dOutput: toFloat64(dOutput), dLogSumExp: toFloat64(dLogSumExp) };
    const [b, h] = [p.B - 1, p.H - 1];
    const keys = p.packed ? p.keyCounts[b] : p.Lk;
    const { output, logSumExp } = attentionReference(p);
    const exact = {
      ...{ output, logSumExp },
      ...attentionBackwardReference(p, upstream as never),
      weights: weightsReference(p, b, h, [0, p.queryCounts[b]], [0, keys]),
    } as unknown as Record<string, Float64Array>;
    const plain = plainAttention(p, upstream.dOutput, upstream.dLogSumExp) as unknown as typeof exact;
    const bounds: Record<string, number> = { weights: WEIGHT_BOUND };
    for (const result of Object.keys(exact)) {
      if (exact[result] === undefined) delete exact[result];
      else bounds[result] ??= 2 * largestError(plain[result], exact[result]) + 1e-6;
    }
    return { truth: exact, bounds };
  };
  return {
    name,
    run: async ({ engine }) => {
      const { q, k, v, options, problem, dOutput, dLogSumExp } = given();
      if (!truths.has(name)) truths.set(name, truth());
      const own = { ...options, engine };
      const compute = async () => {
        const { output, logSumExp, map } = await attention(q, k, v, own);
        const inputs = { q, k, v, options: own, output, logSumExp, dOutput, dLogSumExp };
        const gradients = await attentionBackward(inputs);
        const tile = await map.tile({ batch: problem.B - 1, head: problem.H - 1 });
        map.dispose();
        return { output, logSumExp, gradients, tile };
      };
      const { output, logSumExp, gradients, tile } = await withBudget(bytes, compute);
      const got: Record<string, ArrayLike<number>> = {
        ...{ output: output.data as Float32Array, logSumExp: logSumExp.data, weights: tile.data },
      };
      for (const name of GRADIENTS) if (gradients[name]) got[name] = gradients[name].data as Float32Array;
      const { truth: exact, bounds } = truths.get(name)!;
      assert.deepEqual(Object.keys(got).sort(), Object.keys(exact).sort());
      for (const result of Object.keys(exact)) {
        const error = largestError(got[result], exact[result]);
        assert.ok(error <= bounds[result], `${result}: error ${error} is over ${bounds[result]}`);
        assert.equal(got[result].length, exact[result].length);
      }
      assert.equal(engine.memory.tensors, 0, 'tensors are left in the engine');
    },
  };
}

/** Keys [from, to) of [B,H,L,D]. */
function cut(x: HostTensor, from: number, to: number): HostTensor {
  const [B, H, L, D] = x.shape;
  const data = new Float32Array(B * H * (to - from) * D);
  for (let p = 0; p < B * H; p++) {
    data.set((x.data as Float32Array).subarray((p * L + from) * D, (p * L + to) * D), p * (to - from) * D);
  }
  return { dtype: 'float32', shape: [B, H, to - from, D], data };
}

const errorOf = (a: HostTensor, b: HostTensor) => largestError(toFloat64(a), toFloat64(b));

const merging: Step = {
  name: 'random splits of the keys merge to the whole, with sinks and dropout',
  run: async ({ engine }) => {
    const random = seeded(31);
    for (let round = 0; round < 4; round++) {
      const Lk = 20 + Math.floor(random() * 90);
      const q = randomTensor(random, [2, 2, 9, 8]);
      const [k, v] = [8, 5].map((D) => randomTensor(random, [2, 1, Lk, D]));
      const sinks = randomTensor(random, [2]);
      const dropout = { rate: 0.3, seed: 5 + round };
      const ends = [0, ...[0, 0, 0].map(() => Math.floor(random() * (Lk + 1))), Lk].sort((a, b) => a - b);
      const whole = await attention(q, k, v, { sinks, dropout, engine });
      const parts = [];
      for (let n = 1; n < ends.length; n++) {
        const [from, to] = [ends[n - 1], ends[n]];
        const own = { dropout: { ...dropout, keyOffset: from }, engine };
        parts.push(await attention(q, cut(k, from, to), cut(v, from, to), own));
      }
      const merged = await mergeAttention(parts, { sinks });
      assert.ok(errorOf(merged.output, whole.output) < 2e-6, `output, cut at ${ends}`);
      assert.ok(errorOf(merged.logSumExp, whole.logSumExp) < 2e-6, `logSumExp, cut at ${ends}`);
    }
  },
};

/** Keys cut into ranges: dropout, slopes of float64, bias and masks go on where the range before ended. */
const inParts: Step[] = [false, true].map((each) => {
  const make = () => {
    const random = seeded(36);
    const [q, k, v] = [130, 260, 260].map((L, n) => randomTensor(random, [2, [4, 2, 2][n], L, [8, 8, 5][n]]));
    const options = {
      causal: 'lower-right' as const,
      alibi: randomTensor(random, each ? [2, 4] : [4], 'float64', 0.1),
      bias: randomTensor(random, each ? [2, 4, 130, 260] : [260]),
      mask: randomBool(random, each ? [130, 1] : [2, 1, 130, 260], 0.9),
      sinks: randomTensor(random, [4]),
      keyLengths: Int32Array.of(250, 190),
      dropout: each
        ? { rate: 0.3, seed: 12, keyOffset: 7 }
        : { rate: 0.3, keep: randomBool(random, [2, 4, 130, 260], 0.7) },
    };
    return { q, k, v, options };
  };
  return hostStep(`keys in ranges, ${each ? 'cells of every head' : 'shared cells'}`, make, 37, 1);
});

/** Rows that may attend to nothing in the first range of keys, or in the last, or only in the middle, or nowhere. */
const lateSteps: Step[] = [undefined, 1].map((bytes) => {
  const make = () => {
    const random = seeded(38);
    const [q, k, v] = [70, 200, 200].map((L) => randomTensor(random, [1, 2, L, 8]));
    const data = Float32Array.from({ length: 70 * 200 }, (_, n) => {
      const [row, range] = [Math.floor(n / 200) % 8, Math.floor((n % 200) / 64)];
      return (row >> Math.min(range, 2)) & 1 ? 0 : Number.NEGATIVE_INFINITY;
    });
    const bias = { dtype: 'float32' as const, shape: [70, 200], data };
    return { q, k, v, options: { bias } };
  };
  return hostStep(`rows that see some ranges of keys, ${bytes ? 'in parts' : 'whole'}`, make, 39, bytes);
});

const calls = (count: number, first: number, most: number, widest: number, bytes?: number): Step[] =>
  Array.from({ length: count }, (_, n) => first + n).map((seed) =>
    hostStep(`host call ${seed}`, () => randomCall(seeded(seed), { most, widest }), seed, bytes),
  );

/** Small sizes in plenty, and a few that straddle the kernels' tiles; whole and in parts. */
export const hostSteps: Step[] = [
  ...calls(60, 1, 12, 12),
  ...calls(12, 101, 150, 40),
  ...calls(12, 301, 40, 12, 1 << 12),
  ...calls(12, 351, 16, 12, 1 << 12),
  ...calls(4, 401, 200, 12, 1 << 13),
  ...calls(4, 411, 200, 12, 1 << 15),
  ...inParts,
  ...lateSteps,
];

const rowSums: Step = {
  name: 'rows of weights sum to 1 within 1e-5, to 1 − sinkWeight with a sink',
  run: async ({ engine }) => {
    const random = seeded(32);
    const q = randomTensor(random, [1, 2, 70, 16], 'float32', 6);
    const k = randomTensor(random, [1, 2, 150, 16], 'float32', 6);
    for (const sinks of [undefined, randomTensor(random, [2])]) {
      const { map, logSumExp } = await attention(q, k, k, { ...(sinks && { sinks }), engine });
      const { data } = await map.toTensor();
      for (let r = 0; r < 140; r++) {
        const sink = sinks ? (sinks.data as Float32Array)[Math.floor(r / 70)] : Number.NEGATIVE_INFINITY;
        const sum = data.subarray(r * 150, (r + 1) * 150).reduce((a, x) => a + x, 0);
        assert.ok(Math.abs(sum + Math.exp(sink - logSumExp.data[r]) - 1) < 1e-5, `row ${r}: ${sum}`);
      }
      map.dispose();
    }
  },
};

const far: Step = {
  name: 'diagonals, windows and biases at the ends of their range',
  run: async ({ engine }) => {
    const random = seeded(33);
    const [q, k] = [randomTensor(random, [1, 1, 6, 4]), randomTensor(random, [1, 1, 9, 4])];
    const run = async (options: object) => (await attention(q, k, k, { ...options, engine })).output;
    const plain = await run({});
    const most = 2 ** 31 - 1;
    const open = [
      { window: [most, most] },
      { window: [most, -1], causal: { offset: 2 ** 29 - 10 } },
      { causal: { offset: most } },
      { causal: { offset: 2 ** 29 } },
      { bias: { data: new Float64Array(9).fill(-Number.MAX_VALUE), shape: [9] }, scale: 0 },
    ];
    for (const options of open) {
      const expected = 'scale' in options ? await run({ scale: 0 }) : plain;
      assert.ok(errorOf(await run(options), expected) < 1e-6, JSON.stringify(options));
    }
    for (const offset of [1 - 2 ** 31, -(2 ** 29), 1 - 2 ** 29, -9]) {
      const none = await run({ causal: { offset } });
      assert.ok(
        none.data.every((x) => x === 0),
        `offset ${offset}`,
      );
    }
    const mixed = { data: new Float64Array(9).fill(-Number.MAX_VALUE), shape: [9] };
    mixed.data[3] = Number.NEGATIVE_INFINITY;
    mixed.data[4] = Number.MAX_VALUE;
    const { map } = await attention(q, k, k, { bias: mixed, engine });
    assert.deepEqual([...(await map.row({ query: 2 }))], [0, 0, 0, 0, 1, 0, 0, 0, 0]);
    map.dispose();
    const shared = new Float32Array(9).fill(3.35e38);
    const kept = shared.slice();
    await run({ bias: { data: shared, shape: [9] } });
    assert.deepEqual(shared, kept, 'the caller’s bias was changed');
  },
};

const unserved: Step = {
  name: 'what no kernel serves is refused, and nothing else',
  run: async ({ engine }) => {
    const random = seeded(34);
    const [q, k] = [randomTensor(random, [2, 3, 4]), randomTensor(random, [2, 3, 4])];
    const slopes = randomTensor(random, [2]);
    const refused = (options: object) =>
      attention(q, k, k, { ...options, engine }).then(
        () => undefined,
        (error: Error) => error,
      );
    const edge = 2 ** 29;
    // A part's diagonal may lie further away by as many rows or keys as the call has: 3.
    for (const offset of [edge - 3, 3 - edge, 2 ** 31 - 1]) {
      for (const options of [{ window: [3, -1] }, { window: [-1, 0] }, { alibi: slopes }]) {
        const error = await refused({ ...options, causal: { offset } });
        assert.equal(error?.name, 'UnsupportedError');
        assert.match(error.message, 'alibi' in options ? /with alibi/ : /with window/);
      }
      assert.equal(await refused({ causal: { offset } }), undefined);
      assert.equal(await refused({ window: [-1, -1], causal: { offset } }), undefined);
    }
    assert.equal(await refused({ window: [3, -1], causal: { offset: edge - 4 } }), undefined);
  },
};

const seedsOf64Bits: Step = {
  name: 'seeds of 64 bits, keys beyond a word’s first block, rate 0',
  run: async ({ engine }) => {
    const random = seeded(35);
    const [q, k] = [randomTensor(random, [1, 2, 9, 4]), randomTensor(random, [1, 2, 70, 4])];
    for (const dropout of [
      { rate: 0.5, seed: 3, keyOffset: 3 },
      { rate: 0.5, seed: 2 ** 45 + 1, keyOffset: 2 ** 20 + 2 },
      { rate: 0.125, seed: 0xffffffffffffffffn },
      { rate: 0, seed: 3 },
      { rate: 0.9, seed: 4 },
    ]) {
      const { output } = await attention(q, k, k, { dropout, engine });
      const exact = attentionReference(validateAttention(q, k, k, { dropout })).output;
      assert.ok(largestError(toFloat64(output), exact) < 1e-5, `seed ${dropout.seed}`);
    }
  },
};

/** What is asked of an engine during `work`: each run with the tensors that live at its start, and reads. */
async function listened(engine: Engine, work: () => Promise<unknown>): Promise<string[]> {
  const heard: string[] = [];
  const listen = (name: string, word: () => string) => {
    const own = (engine as unknown as Record<string, (...given: unknown[]) => unknown>)[name];
    const value = (...given: unknown[]) => {
      heard.push(word());
      return own.apply(engine, given);
    };
    Object.defineProperty(engine, name, { value, configurable: true });
  };
  listen('run', () => `run ${engine.memory.tensors}`);
  listen('readTensorInto', () => 'read');
  try {
    await work();
  } finally {
    for (const name of ['run', 'readTensorInto']) delete (engine as unknown as Record<string, unknown>)[name];
  }
  return heard;
}

const portions: Step = {
  name: 'batch entries in portions: the bits of the whole; threads compute while others come and go',
  run: async ({ make }) => {
    const random = seeded(40);
    const [q, k, v] = [20, 30, 30].map((L) => randomTensor(random, [4, 2, L, 8]));
    const bias = randomTensor(random, [4, 1, 20, 30]);
    for (const threads of [1, 2]) {
      const engine = await make(threads);
      const compute = async () => {
        const { output, logSumExp, map } = await attention(q, k, v, { bias, engine });
        map.dispose();
        return [output.data, logSumExp.data];
      };
      const size = portion.bytes;
      try {
        const whole = await compute();
        portion.bytes = 1;
        let cut: typeof whole = [];
        const heard = await listened(engine, async () => {
          cut = await compute();
        });
        assert.deepEqual(cut, whole);
        // Eight tensors each: operands, output, three statistics. Two portions at a time where threads compute.
        const reads = ['read', 'read', 'read', 'read'];
        const then = ['run 16', ...reads];
        const alone = ['run 8', ...reads];
        const expected =
          threads === 1
            ? [...alone, ...alone, ...alone, ...alone]
            : ['run 8', ...then, ...then, ...then, ...reads];
        assert.deepEqual(heard, expected);
        assert.equal(engine.memory.tensors, 0, 'tensors are left in the engine');
      } finally {
        portion.bytes = size;
        await engine.dispose();
      }
    }
  },
};

export const hostDoorSteps: Step[] = [portions, merging, rowSums, far, unserved, seedsOf64Bits];
