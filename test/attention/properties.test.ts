// What attention promises beyond its numbers: invariances, forbidden cells without a trace, empty rows, merging.
import { describe, expect, test } from 'vitest';
import { mergeResults } from '../../dist/attention/merge.js';
import type { AttentionOptions } from '../../dist/attention/options.js';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { attentionBackwardReference } from '../../dist/attention/reference-backward.js';
import { validateAttention } from '../../dist/attention/validate.js';
import type { HostTensor } from '../../dist/tensor/host.js';
import { randomBool, randomCall, randomTensor, seeded } from './calls.js';
import { broadcastIndex, maxError } from './conformance.js';

const seeds = Array.from({ length: 20 }, (_, seed) => [seed]);
const f64 = (shape: number[], data: number[]): HostTensor => ({
  dtype: 'float64',
  shape,
  data: new Float64Array(data),
});

function run(q: HostTensor, k: HostTensor, v: HostTensor, options: AttentionOptions = {}) {
  const problem = validateAttention(q, k, v, options);
  return { problem, ...attentionReference(problem) };
}

/** Four-dimensional operands of float64. */
function operands(seed: number, [B, H, Hkv, Lq, Lk, D, Dv] = [2, 4, 2, 5, 7, 4, 3]) {
  const random = seeded(seed);
  const q = randomTensor(random, [B, H, Lq, D], 'float64');
  const k = randomTensor(random, [B, Hkv, Lk, D], 'float64');
  const v = randomTensor(random, [B, Hkv, Lk, Dv], 'float64');
  return { random, q, k, v };
}

/** Keys [from, to) of [B,H,L,D]. */
function cut(x: HostTensor, from: number, to: number): HostTensor {
  const [B, H, L, D] = x.shape;
  const data: number[] = [];
  for (let p = 0; p < B * H; p++)
    data.push(...(x.data as Float64Array).subarray((p * L + from) * D, (p * L + to) * D));
  return f64([B, H, to - from, D], data);
}

describe('invariances, error ≤ 1e-12', () => {
  test.each(seeds)('adding a number to a row of scores changes nothing but logSumExp (%i)', (seed) => {
    const { random, q, k, v } = operands(seed);
    const shifts = randomTensor(random, [2, 4, 5, 1], 'float64', 50);
    const plain = run(q, k, v);
    const shifted = run(q, k, v, { bias: shifts });
    expect(maxError(shifted.output, plain.output)).toBeLessThan(1e-12);
    const expected = plain.logSumExp.map((x, r) => x + (shifts.data as Float64Array)[r]);
    expect(maxError(shifted.logSumExp, expected)).toBeLessThan(1e-12);
  });

  test.each(seeds)('permuting keys and values together changes nothing (%i)', (seed) => {
    const { random, q, k, v } = operands(seed);
    const order = [0, 1, 2, 3, 4, 5, 6].sort(() => random() - 0.5);
    const permute = (x: HostTensor) => {
      const [, , L, D] = x.shape;
      return f64(
        x.shape.slice(),
        Array.from(x.data as Float64Array, (_, n) => {
          const [d, j, p] = [n % D, Math.floor(n / D) % L, Math.floor(n / D / L)];
          return (x.data as Float64Array)[(p * L + order[j]) * D + d];
        }),
      );
    };
    const plain = run(q, k, v);
    const permuted = run(q, permute(k), permute(v));
    expect(maxError(permuted.output, plain.output)).toBeLessThan(1e-12);
    expect(maxError(permuted.logSumExp, plain.logSumExp)).toBeLessThan(1e-12);
  });

  test('weights are at least 0 and sum to 1 − sinkWeight', () => {
    const { random, q, k, v } = operands(3);
    const sinks = randomTensor(random, [4], 'float64');
    const { problem, logSumExp } = run(q, k, v, { sinks, causal: 'lower-right' });
    for (let h = 0; h < 4; h++) {
      const tile = weightsReference(problem, 1, h, [0, 5], [0, 7]);
      for (let i = 0; i < 5; i++) {
        const row = tile.subarray(i * 7, i * 7 + 7);
        const sink = Math.exp((sinks.data as Float64Array)[h] - logSumExp[(4 + h) * 5 + i]);
        expect(Math.min(...row)).toBeGreaterThanOrEqual(0);
        expect(Math.abs(row.reduce((a, b) => a + b, 0) + sink - 1)).toBeLessThan(1e-12);
      }
    }
  });
});

describe('packed sequences and layouts', () => {
  test.each([[{}], [{ causal: 'lower-right' }], [{ causal: { offset: 1 } }], [{ window: [1, 0] }]] as const)(
    'packed equals separate calls bit for bit: %j',
    (options) => {
      const random = seeded(8);
      const [q, k, v] = [
        [9, 4, 5],
        [11, 2, 5],
        [11, 2, 3],
      ].map((s) => randomTensor(random, s, 'float64'));
      const starts = { q: Int32Array.of(0, 3, 3, 8, 9), k: Int32Array.of(0, 4, 7, 11, 11) };
      const packed = run(q, k, v, { ...options, cuSeqlens: starts });
      for (let b = 0; b < 4; b++) {
        const part = (x: HostTensor, from: number, to: number) => {
          const width = x.shape[1] * x.shape[2];
          return f64(
            [to - from, x.shape[1], x.shape[2]],
            Array.from(x.data.subarray(from * width, to * width) as Float64Array),
          );
        };
        const [q0, q1, k0, k1] = [starts.q[b], starts.q[b + 1], starts.k[b], starts.k[b + 1]];
        const own = run(part(q, q0, q1), part(k, k0, k1), part(v, k0, k1), { ...options, layout: 'blhd' });
        expect(packed.output.subarray(q0 * 12, q1 * 12)).toEqual(own.output);
        for (let i = 0; i < q1 - q0; i++) {
          for (let h = 0; h < 4; h++)
            expect(packed.logSumExp[(q0 + i) * 4 + h]).toBe(own.logSumExp[h * (q1 - q0) + i]);
        }
      }
    },
  );

  test('all ranks and both layouts agree', () => {
    const { q, k, v } = operands(5, [6, 1, 1, 5, 7, 4, 3]);
    const flat = run(q, k, v);
    const view = (x: HostTensor, ...shape: number[]) => ({ ...x, shape });
    const five = run(view(q, 2, 3, 1, 5, 4), view(k, 2, 3, 1, 7, 4), view(v, 2, 3, 1, 7, 3));
    expect(five.problem.output.shape).toEqual([2, 3, 1, 5, 3]);
    expect(five.problem.statistics.shape).toEqual([6, 1, 5]);
    expect(five.output).toEqual(flat.output);
    const rows = run(view(q, 6, 5, 1, 4), view(k, 6, 7, 1, 4), view(v, 6, 7, 1, 3), { layout: 'blhd' });
    expect(rows.output).toEqual(flat.output);
    const heads = run(view(q, 6, 5, 4), view(k, 6, 7, 4), view(v, 6, 7, 3));
    expect(heads.problem.statistics.shape).toEqual([6, 5]);
    expect(heads.output).toEqual(flat.output);
    const one = run(
      f64([5, 4], [...q.data.subarray(0, 20)] as number[]),
      f64([7, 4], [...k.data.subarray(0, 28)] as number[]),
      f64([7, 3], [...v.data.subarray(0, 21)] as number[]),
    );
    expect(one.problem.statistics.shape).toEqual([5]);
    expect(one.output).toEqual(flat.output.subarray(0, 15));
  });

  test('one of two leading dimensions of k and v broadcasts', () => {
    const { q } = operands(6, [6, 2, 2, 5, 7, 4, 3]);
    const { k, v } = operands(7, [3, 2, 2, 5, 7, 4, 3]);
    const part = run(
      { ...q, shape: [2, 3, 2, 5, 4] },
      { ...k, shape: [1, 3, 2, 7, 4] },
      { ...v, shape: [1, 3, 2, 7, 3] },
    );
    const twice = (x: HostTensor) =>
      f64([6, ...x.shape.slice(1)], [...(x.data as Float64Array), ...(x.data as Float64Array)]);
    expect(part.output).toEqual(run(q, twice(k), twice(v)).output);
  });
});

describe('forbidden cells leave no trace', () => {
  const poison = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

  test.each(seeds)(
    'NaN and ∞ in k, v and bias of forbidden keys change no bit, forward or backward (%i)',
    (seed) => {
      const { random, q, k, v } = operands(seed, [2, 2, 2, 5, 7, 4, 3]);
      const mask = randomBool(random, [2, 1, 1, 7], 0.6);
      const bias = randomTensor(random, [2, 2, 5, 7], 'float64');
      const clean = run(q, k, v, { mask, bias });
      for (const x of [k, v]) {
        const data = x.data as Float64Array;
        data.forEach((_, n) => {
          const [j, b] = [Math.floor(n / x.shape[3]) % 7, Math.floor(n / (x.shape[3] * 14))];
          if (!mask.data[b * 7 + j]) data[n] = poison[n % 3];
        });
      }
      const data = bias.data as Float64Array;
      data.forEach((_, n) => {
        if (!mask.data[Math.floor(n / 70) * 7 + (n % 7)]) data[n] = poison[n % 3];
      });
      const dirty = run(q, k, v, { mask, bias });
      expect(dirty.output).toEqual(clean.output);
      expect(dirty.logSumExp).toEqual(clean.logSumExp);
      const dOutput = new Float64Array(dirty.output.length).fill(1);
      const gradients = attentionBackwardReference(dirty.problem, { dOutput });
      for (const x of Object.values(gradients) as (Float64Array | undefined)[]) {
        expect(x === undefined || x.every(Number.isFinite)).toBe(true);
      }
      gradients.dBias!.forEach((x, n) => {
        if (!mask.data[Math.floor(n / 70) * 7 + (n % 7)]) expect(x).toBe(0);
      });
    },
  );

  test('an allowed NaN or ∞ shows', () => {
    const { q, k, v } = operands(1, [1, 1, 1, 2, 3, 2, 2]);
    (v.data as Float64Array)[0] = Number.NaN;
    expect(run(q, k, v).output[0]).toBeNaN();
    expect(run(q, k, v, { causal: { offset: 1 } }).output[0]).toBeNaN();
    (v.data as Float64Array)[0] = 1;
    (k.data as Float64Array)[5] = Number.NaN;
    const { output, logSumExp } = run(q, k, v, { causal: { offset: 1 } });
    expect([output[0], logSumExp[0]].every(Number.isFinite)).toBe(true);
    expect([output[2], logSumExp[1]]).toEqual([Number.NaN, Number.NaN]);
  });
});

describe('empty rows', () => {
  const lowest = Number.NEGATIVE_INFINITY;

  test('output 0, logSumExp −∞ or the sink, whose gradient takes dLogSumExp', () => {
    const { q, k, v } = operands(2, [1, 2, 2, 3, 4, 2, 2]);
    const mask: HostTensor = { dtype: 'bool', shape: [3, 1], data: Uint8Array.of(1, 0, 1) };
    const bare = run(q, k, v, { mask });
    expect([...bare.output.subarray(2, 4), ...bare.output.subarray(8, 10)]).toEqual([0, 0, 0, 0]);
    expect([bare.logSumExp[1], bare.logSumExp[4], bare.rowSum[1]]).toEqual([lowest, lowest, 0]);
    const sinks = f64([2], [0.25, -3]);
    const { problem, logSumExp, output } = run(q, k, v, { mask, sinks });
    expect([logSumExp[1], logSumExp[4], output[2]]).toEqual([0.25, -3, 0]);
    const dLogSumExp = Float64Array.of(0, 5, 0, 0, 7, 0);
    const dOutput = new Float64Array(12);
    dOutput[2] = Number.NaN;
    const gradients = attentionBackwardReference(problem, { dOutput, dLogSumExp });
    expect([...gradients.dSinks!]).toEqual([5, 7]);
    expect([...gradients.dq, ...gradients.dk, ...gradients.dv].every((x) => x === 0)).toBe(true);
  });

  test('a row whose allowed scores are all −∞ is empty too', () => {
    const q = f64([1, 1], [1]);
    const k = f64([2, 1], [lowest, lowest]);
    const v = f64([2, 1], [Number.NaN, 1]);
    const { output, logSumExp } = run(q, k, v, { scale: 1 });
    expect([output[0], logSumExp[0]]).toEqual([0, lowest]);
    expect(run(q, k, v, { scale: 1, sinks: f64([1], [2]) }).logSumExp[0]).toBe(2);
  });

  test('zero sizes of B, H, Lq and Lk are legal', () => {
    const zeros = (...shape: number[]) => f64(shape, new Array(shape.reduce((a, n) => a * n, 1)).fill(1));
    for (const [B, H, Lq, Lk] of [
      [0, 2, 3, 4],
      [2, 0, 3, 4],
      [2, 2, 0, 4],
      [2, 2, 3, 0],
      [0, 0, 0, 0],
    ]) {
      const { output, logSumExp } = run(zeros(B, H, Lq, 2), zeros(B, H, Lk, 2), zeros(B, H, Lk, 3), {
        causal: 'lower-right',
      });
      expect(output).toEqual(new Float64Array(B * H * Lq * 3));
      expect(logSumExp).toEqual(new Float64Array(B * H * Lq).fill(lowest));
    }
  });
});

describe('merging parts over disjoint keys equals the whole, error ≤ 1e-6 (float32 logSumExp)', () => {
  test.each(seeds)('three parts, with dropout and sinks, one part empty (%i)', (seed) => {
    const { random, q, k, v } = operands(seed, [2, 4, 2, 5, 9, 4, 3]);
    const sinks = randomTensor(random, [4], 'float64');
    const rate = 0.3;
    const whole = run(q, k, v, { sinks, dropout: { rate, seed } });
    const parts = [
      [0, 3],
      [3, 3],
      [3, 9],
    ].map(([from, to]) => {
      const dropout = { rate, seed, keyOffset: from };
      const { output, logSumExp } = run(q, cut(k, from, to), cut(v, from, to), { dropout });
      return {
        output: { data: output, shape: [2, 4, 5, 3] },
        logSumExp: { data: new Float32Array(logSumExp), shape: [2, 4, 5] },
      };
    });
    const merged = mergeResults(parts, { sinks });
    expect(maxError(merged.output.data as Float64Array, whole.output)).toBeLessThan(1e-6);
    expect(maxError(merged.logSumExp.data, whole.logSumExp)).toBeLessThan(1e-6);
  });

  test.each(seeds)('gradients of the parts against the merged result are those of the whole (%i)', (seed) => {
    const { random, q, k, v } = operands(seed, [1, 2, 2, 4, 9, 4, 3]);
    const whole = run(q, k, v);
    const dOutput = randomTensor(random, [1, 2, 4, 3], 'float64').data as Float64Array;
    const dLogSumExp = randomTensor(random, [1, 2, 4], 'float64').data as Float64Array;
    const expected = attentionBackwardReference(whole.problem, { dOutput, dLogSumExp });
    const dq = new Float64Array(expected.dq.length);
    for (const [from, to] of [
      [0, 4],
      [4, 9],
    ]) {
      const { problem } = run(q, cut(k, from, to), cut(v, from, to));
      const part = attentionBackwardReference(problem, { dOutput, dLogSumExp, whole });
      part.dq.forEach((x, n) => {
        dq[n] += x;
      });
      expect(maxError(part.dk, cut({ ...k, data: expected.dk }, from, to).data as Float64Array)).toBeLessThan(
        1e-12,
      );
      expect(maxError(part.dv, cut({ ...v, data: expected.dv }, from, to).data as Float64Array)).toBeLessThan(
        1e-12,
      );
    }
    expect(maxError(dq, expected.dq)).toBeLessThan(1e-12);
  });

  test('layouts: [B,L,H,D] outputs, packed outputs with sinks, all parts empty', () => {
    const lse = { data: Float32Array.of(0, 1, 2, 3, 4, 5), shape: [1, 2, 3] };
    const rows = { data: Float64Array.from({ length: 6 }, (_, n) => n), shape: [1, 3, 2, 1] };
    const merged = mergeResults([
      { output: rows, logSumExp: lse },
      { output: rows, logSumExp: lse },
    ]);
    expect(maxError(merged.output.data as Float64Array, rows.data)).toBeLessThan(1e-15);
    // Head 1 has lse 3, 4, 5; in [B,L,H,D] its rows are 1, 3, 5.
    const sunk = mergeResults([{ output: rows, logSumExp: lse }], {
      sinks: { data: Float64Array.of(-99, 4), shape: [2] },
    });
    const share = (x: number) => Math.exp(x) / (Math.exp(x) + Math.exp(4));
    expect(
      maxError(sunk.output.data as Float64Array, [0, share(3), 2, 3 * share(4), 4, 5 * share(5)]),
    ).toBeLessThan(1e-12);
    const packed = {
      output: { data: Float64Array.of(1, 1, 1), shape: [3, 1, 1] },
      logSumExp: { data: Float32Array.of(0, 0, 0), shape: [3, 1] },
    };
    const half = mergeResults([packed], { sinks: { data: Float64Array.of(0), shape: [1] } });
    expect([...(half.output.data as Float64Array)]).toEqual([0.5, 0.5, 0.5]);
    const none = {
      output: { data: Float32Array.of(Number.NaN), shape: [1, 1] },
      logSumExp: { data: Float32Array.of(lowestNumber), shape: [1] },
    };
    expect(mergeResults([none, none])).toMatchObject({
      output: { data: Float32Array.of(0) },
      logSumExp: { data: Float32Array.of(lowestNumber) },
    });
  });
});

const lowestNumber = Number.NEGATIVE_INFINITY;

describe('broadcasts', () => {
  test.each(Array.from({ length: 40 }, (_, seed) => [seed + 500]))(
    'mask, bias and keep equal their expansion (%i)',
    (seed) => {
      const random = seeded(seed);
      const { q, k, v, options } = randomCall(random, { dtype: 'float64', most: 5, widest: 3 });
      const problem = validateAttention(q, k, v, options);
      const { B, H, Lq, Lk } = problem;
      const lead = q.shape.slice(0, -3);
      const expand = (x: HostTensor | undefined): HostTensor | undefined => {
        if (x === undefined) return undefined;
        const full = x.shape.length > 4 ? [...lead, H, Lq, Lk] : [B, H, Lq, Lk];
        const data = x.data.slice(0, 0).constructor as unknown as Float64ArrayConstructor;
        const out = new data(full.reduce((a, n) => a * n, 1));
        for (let n = 0; n < out.length; n++) {
          const cell: number[] = [];
          for (let a = full.length - 1, rest = n; a >= 0; rest = Math.floor(rest / full[a]), a--)
            cell.unshift(rest % full[a]);
          out[n] = x.data[broadcastIndex(x.shape, cell)] as number;
        }
        return { dtype: x.dtype, shape: full, data: out };
      };
      const dropout =
        options.dropout && 'keep' in options.dropout
          ? { ...options.dropout, keep: expand(options.dropout.keep as HostTensor)! }
          : options.dropout;
      const expanded = {
        ...options,
        mask: expand(options.mask as HostTensor),
        bias: expand(options.bias as HostTensor),
        dropout,
      };
      expect(run(q, k, v, expanded).output).toEqual(attentionReference(problem).output);
    },
  );
});
