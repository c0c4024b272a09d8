// Calls cut into parts: forced by a tiny working budget, whatever the options, they give what the whole gives.
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { attentionBackwardReference } from '../../dist/attention/reference-backward.js';
import { validateAttention } from '../../dist/attention/validate.js';
import { attention, attentionBackward, createEngine } from '../../dist/index.js';
import { budget, planParts } from '../../dist/map/parts.js';
import type { HostTensor } from '../../dist/tensor/host.js';
import { randomCall, randomTensor, seeded } from '../attention/calls.js';
import { maxError } from '../attention/conformance.js';
import { plainAttention } from '../attention/plain.js';

const engines = await Promise.all([1, 2, 3].map((threads) => createEngine({ threads })));
const engine = engines[1];
const whole = budget.bytes;
afterEach(() => {
  budget.bytes = whole;
});
afterAll(() => Promise.all(engines.map((own) => own.dispose())));

const GRADIENTS = ['dq', 'dk', 'dv', 'dBias', 'dSinks'] as const;

/** Everything a call gives, forward, backward and one tile of its map. */
async function compute(call: ReturnType<typeof randomCall>, own = engine) {
  const { q, k, v } = call;
  const options = { ...call.options, engine: own };
  const problem = validateAttention(q, k, v, call.options);
  const dOutput = randomTensor(seeded(5), [...problem.output.shape]);
  const dLogSumExp = randomTensor(seeded(6), [...problem.statistics.shape]);
  const { output, logSumExp, map } = await attention(q, k, v, options);
  const given = { q, k, v, options, output, logSumExp, dOutput, dLogSumExp };
  const gradients = await attentionBackward(given);
  const weights = await map.tile({ batch: problem.B - 1, head: problem.H - 1 });
  map.dispose();
  const results: Record<string, Float32Array> = { output: output.data as Float32Array };
  Object.assign(results, { logSumExp: logSumExp.data, weights: weights.data });
  for (const name of GRADIENTS) if (gradients[name]) results[name] = gradients[name].data as Float32Array;
  return { problem, results, dOutput, dLogSumExp };
}

const cases = [
  ...Array.from({ length: 24 }, (_, n) => ({ seed: n + 301, most: 40, bytes: 1 << 12 })),
  ...Array.from({ length: 24 }, (_, n) => ({ seed: n + 351, most: 16, bytes: [1 << 12, 1 << 13][n % 2] })),
  ...Array.from({ length: 24 }, (_, n) => ({
    seed: n + 401,
    most: 300,
    bytes: [1, 1 << 13, 1 << 15, 1 << 17][n % 4],
  })),
];

describe('in parts, error ≤ twice plain float32 + 1e-6', () => {
  test.each(cases)('call %o', async ({ seed, most, bytes }) => {
    const call = randomCall(seeded(seed), { most, widest: 12 });
    budget.bytes = bytes;
    const { problem: p, results, dOutput, dLogSumExp } = await compute(call);
    const upstream = {
      dOutput: new Float64Array(dOutput.data as Float32Array),
      dLogSumExp: new Float64Array(dLogSumExp.data as Float32Array),
    };
    const { output, logSumExp } = attentionReference(p);
    const truth: Record<string, Float64Array> = { output, logSumExp };
    Object.assign(truth, attentionBackwardReference(p, upstream));
    const plain = plainAttention(p, upstream.dOutput, upstream.dLogSumExp) as unknown as typeof truth;
    for (const name of ['output', 'logSumExp', ...GRADIENTS]) {
      expect(results[name] === undefined, name).toBe(truth[name] === undefined);
      if (!truth[name]) continue;
      const bound = 2 * maxError(plain[name], truth[name]) + 1e-6;
      expect(maxError(results[name], truth[name]), name).toBeLessThanOrEqual(bound);
    }
    const [b, h] = [p.B - 1, p.H - 1];
    const keys = p.packed ? p.keyCounts[b] : p.Lk;
    const exact = weightsReference(p, b, h, [0, p.queryCounts[b]], [0, keys]);
    expect(maxError(results.weights, exact), 'weights').toBeLessThanOrEqual(4e-6);
    expect(engine.memory.tensors).toBe(0);
  });

  test('the cases above are cut in every way: entries, heads, rows, keys, and sequences', () => {
    const ways = { entries: 0, keyHeads: 0, heads: 0, rows: 0, keys: 0, sequences: 0, skipped: 0 };
    for (const { seed, most, bytes } of cases) {
      const { q, k, v, options } = randomCall(seeded(seed), { most, widest: 12 });
      budget.bytes = bytes;
      const p = validateAttention(q, k, v, options);
      const length = ([from, to]: readonly [number, number] = [0, 0]) => to - from;
      for (const part of planParts(p, 'forward')) {
        if (part.rows === undefined) ways.sequences += +(length(part.batches) < p.B);
        else {
          ways.entries += +(length(part.batches) > 1 && length(part.batches) < p.B);
          ways.keyHeads += +(length(part.keyHeads) < p.Hkv && length(part.heads) === p.H / p.Hkv);
          ways.heads += +(length(part.heads) < p.H / p.Hkv);
          ways.rows += +(length(part.rows) < p.queryCounts[part.batches[0]]);
          ways.keys += +(part.keys!.length > 1);
          ways.skipped += +(part.keys![0][0] > 0);
        }
      }
    }
    for (const [way, count] of Object.entries(ways)) expect(count, way).toBeGreaterThan(0);
  });
});

test('the same bits for 1, 2 and 3 threads', async () => {
  for (const seed of [401, 404, 407, 414, 33]) {
    const call = randomCall(seeded(seed), { most: 300, widest: 12 });
    budget.bytes = 1 << 14;
    const made = [];
    for (const own of engines) made.push((await compute(call, own)).results);
    expect(made[1]).toEqual(made[0]);
    expect(made[2]).toEqual(made[0]);
  }
});

test('where keys stay whole, cuts change no bit of output, logSumExp and weights', async () => {
  for (const seed of [11, 12, 13, 14, 15, 16]) {
    const call = randomCall(seeded(seed), { most: 120, widest: 12 });
    const one = (await compute(call)).results;
    budget.bytes = 2 * 64 * 4 * 24 * 2;
    const cut = (await compute(call)).results;
    budget.bytes = whole;
    for (const name of ['output', 'logSumExp', 'weights']) expect(cut[name], name).toEqual(one[name]);
  }
});

test('rows that no range of keys serves, NaN in forbidden ranges, and sinks once', async () => {
  const random = seeded(9);
  const [N, D] = [512, 8];
  const q = randomTensor(random, [1, 2, N, D]);
  const [k, v] = [0, 1].map(() => randomTensor(random, [1, 2, N, D]));
  for (const x of [k, v]) (x.data as Float32Array).fill(Number.NaN, (2 * N - 100) * D);
  const sinks = randomTensor(random, [2]);
  const keyLengths = Int32Array.of(N - 100);
  const options = { sinks, keyLengths, causal: { offset: -70 }, window: [300, -1] as const };
  budget.bytes = 1 << 14;
  const problem = validateAttention(q, k, v, options);
  const { output, logSumExp } = await attention(q, k, v, { ...options, engine });
  const truth = attentionReference(problem);
  expect(maxError(output.data as Float32Array, truth.output)).toBeLessThan(2e-6);
  expect(maxError(logSumExp.data, truth.logSumExp)).toBeLessThan(2e-6);
  expect(output.data.subarray(0, 70 * D)).toEqual(new Float32Array(70 * D));
});

test('N = 16384, D = 64, causal: 64 sampled rows, error ≤ twice plain float32 + 1e-6', async () => {
  const random = seeded(3);
  const [N, D, sampled] = [16384, 64, 64];
  const [q, k, v] = [0, 1, 2].map(() => randomTensor(random, [1, 1, N, D]));
  const own = Array.from({ length: sampled }, (_, n) => (n === 0 ? N - 1 : Math.floor(random() * N)));
  const rowsOf = (x: HostTensor) => {
    const data = new Float32Array(sampled * D);
    own.forEach((i, n) => {
      data.set((x.data as Float32Array).subarray(i * D, (i + 1) * D), n * D);
    });
    return { dtype: 'float32' as const, shape: [sampled, 1, 1, D], data };
  };
  // Each sampled row is a batch entry that sees the keys up to its own.
  const problem = validateAttention(rowsOf(q), k, v, { keyLengths: Int32Array.from(own, (i) => i + 1) });
  const truth = attentionReference(problem);
  budget.bytes = 6 << 20; // two ranges of keys
  const { output, logSumExp, map } = await attention(q, k, v, { causal: true, engine });
  const bound = 2 * maxError(plainAttention(problem).output, truth.output) + 1e-6;
  expect(maxError(rowsOf(output).data, truth.output)).toBeLessThanOrEqual(bound);
  const logSumExps = own.map((i) => logSumExp.data[i]);
  expect(maxError(logSumExps, truth.logSumExp)).toBeLessThan(4e-6);
  for (const n of [0, 1, 2]) {
    const weights = await map.row({ query: own[n] });
    expect(maxError(weights, weightsReference(problem, n, 0, [0, 1], [0, N]))).toBeLessThan(1e-6);
  }
}, 60_000);
