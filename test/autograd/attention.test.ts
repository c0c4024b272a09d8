// Attention on the tape: gradients of strided operands that share a tensor, against float64 loops.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AttentionCall, attention, type Operand } from '../../dist/autograd/ops.js';
import { createEngine } from '../../dist/engine/engine.js';
import { copy2d } from '../../dist/engine/ops/elementwise.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import { Random } from '../../dist/nn/random.js';
import { checkGradients, type Host, randomHost } from './gradients.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
});
afterAll(() => engine.dispose());

const WITHIN = 'value and gradients within 2e-5 of the largest magnitude';
const B = 2;
const L = 5;
const H = 2;
const D = 3;

type At = (b: number, h: number, l: number, d: number) => number;

/** Plain attention over accessors → [B,L,H·D]. */
function reference(q: At, k: At, v: At, Hkv: number, bias: (i: number, j: number) => number): Float64Array {
  const out = new Float64Array(B * L * H * D);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const g = Math.floor((h * Hkv) / H);
      for (let i = 0; i < L; i++) {
        const scores = Array.from({ length: L }, (_, j) => {
          let score = 0;
          for (let d = 0; d < D; d++) score += q(b, h, i, d) * k(b, g, j, d);
          return score / Math.sqrt(D) + bias(i, j);
        });
        const sum = scores.reduce((s, x) => s + Math.exp(x), 0);
        for (let d = 0; d < D; d++) {
          let y = 0;
          for (let j = 0; j < L; j++) y += (Math.exp(scores[j]) / sum) * v(b, g, j, d);
          out[((b * L + i) * H + h) * D + d] = y;
        }
      }
    }
  }
  return out;
}

const at =
  ({ data, shape }: Host, column: number): At =>
  (b, h, l, d) =>
    data[(b * L + l) * shape[2] + column + h * D + d];

function slice(tensor: Tensor, column: number): Operand {
  const width = tensor.shape[2];
  return { tensor, offset: column, batch: L * width, head: D, row: width };
}

function call(q: Operand, k: Operand, v: Operand, more: Partial<AttentionCall> = {}): AttentionCall {
  const sizes = { B, H, Hkv: H, Lq: L, Lk: L, D, Dv: D };
  const off = { softcap: 0, causal: false, window: [-1, -1] as const, offset: 0 };
  return { q, k, v, ...sizes, scale: 1 / Math.sqrt(D), ...off, ...more };
}

function run(tape: Parameters<typeof attention>[0], c: AttentionCall): Tensor {
  const output = engine.empty([B, L, H * D]);
  attention(tape, c, slice(output, 0));
  return output;
}

const random = new Random(21);
const check = (widths: number[], op: (x: Tensor[]) => AttentionCall, plain: (x: Host[]) => Float64Array) =>
  checkGradients({
    engine,
    inputs: widths.map((width) => randomHost(random, [B, L, width])),
    op: (tape, x) => run(tape, op(x)),
    reference: plain,
    tolerance: 2e-5,
  });

const W = H * D;
const none = () => 0;

test(`columns that leave others of their tensor out: ${WITHIN}`, () =>
  check(
    [3 * W + 5],
    ([x]) => call(slice(x, 2 * W + 3), slice(x, 1), slice(x, W + 2)),
    ([x]) => reference(at(x, 2 * W + 3), at(x, 1), at(x, W + 2), H, none),
  ));

test(`keys and values in the same columns, and then all three: ${WITHIN}`, async () => {
  await check(
    [W, W],
    ([x, y]) => call(slice(x, 0), slice(y, 0), slice(y, 0)),
    ([x, y]) => reference(at(x, 0), at(y, 0), at(y, 0), H, none),
  );
  await check(
    [2 * W],
    ([x]) => call(slice(x, 0), slice(x, 3), slice(x, W)),
    ([x]) => reference(at(x, 0), at(x, 3), at(x, W), H, none),
  );
});

test(`two query heads to one key head: ${WITHIN}`, () =>
  check(
    [W + 2 * D],
    ([x]) => call(slice(x, 0), slice(x, W), slice(x, W + D), { Hkv: 1 }),
    ([x]) => reference(at(x, 0), at(x, W), at(x, W + D), 1, none),
  ));

test(`a watched bias, broadcast over batch and heads: ${WITHIN}`, () =>
  checkGradients({
    engine,
    inputs: [randomHost(random, [B, L, 3 * W]), randomHost(random, [L, L])],
    op: (tape, [x, bias]) =>
      run(
        tape,
        call(slice(x, 0), slice(x, W), slice(x, 2 * W), { bias: { tensor: bias, strides: [0, 0, L, 1] } }),
      ),
    reference: ([x, bias]) => reference(at(x, 0), at(x, W), at(x, 2 * W), H, (i, j) => bias.data[i * L + j]),
    tolerance: 2e-5,
  }));

/** All of x into `to` from element `at` on. */
function copyInto(to: Tensor, at: number, x: Tensor): void {
  copy2d({ tensor: x, stride: x.size }, { tensor: to, offset: at, stride: x.size }, 1, x.size);
}

function part(from: Tensor, at: number, shape: readonly number[]): Tensor {
  const out = engine.empty(shape);
  copy2d({ tensor: from, offset: at, stride: out.size }, { tensor: out, stride: out.size }, 1, out.size);
  return out;
}

/** logSumExp [B,H,L] of plain attention with a bias and sinks. */
function plainLogSumExp(
  q: At,
  k: At,
  bias: (i: number, j: number) => number,
  sinks: ArrayLike<number>,
): Float64Array {
  const out = new Float64Array(B * H * L);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < L; i++) {
        let sum = Math.exp(sinks[h]);
        for (let j = 0; j < L; j++) {
          let score = 0;
          for (let d = 0; d < D; d++) score += q(b, h, i, d) * k(b, h, j, d);
          sum += Math.exp(score / Math.sqrt(D) + bias(i, j));
        }
        out[(b * H + h) * L + i] = Math.log(sum);
      }
    }
  }
  return out;
}

test(`logSumExp alone, with a watched bias and watched sinks: ${WITHIN}`, () =>
  checkGradients({
    engine,
    inputs: [
      randomHost(random, [B, L, W]),
      randomHost(random, [B, L, W]),
      randomHost(random, [L, L]),
      randomHost(random, [H]),
    ],
    op: (tape, [q, k, bias, sinks]) => {
      const more = { bias: { tensor: bias, strides: [0, 0, L, 1] as const }, sinks };
      return attention(
        tape,
        call(slice(q, 0), slice(k, 0), slice(k, 0), more),
        slice(engine.empty([B, L, W]), 0),
      ).logSumExp;
    },
    reference: ([q, k, bias, sinks]) =>
      plainLogSumExp(at(q, 0), at(k, 0), (i, j) => bias.data[i * L + j], sinks.data),
    tolerance: 2e-5,
  }));

test(`output and logSumExp both feed the loss: ${WITHIN}`, () =>
  checkGradients({
    engine,
    inputs: [randomHost(random, [B, L, 3 * W])],
    op: (tape, [x]) => {
      const output = engine.empty([B, L, W]);
      const { logSumExp } = attention(
        tape,
        call(slice(x, 0), slice(x, W), slice(x, 2 * W)),
        slice(output, 0),
      );
      const rows = B * L * H;
      const both = engine.empty([rows * (D + 1)]);
      copyInto(both, 0, output);
      copyInto(both, rows * D, logSumExp);
      tape?.record(both, (dy) => {
        tape.accumulate(output, part(dy, 0, output.shape));
        tape.accumulate(logSumExp, part(dy, rows * D, logSumExp.shape));
      });
      return both;
    },
    reference: ([x]) => {
      const none = () => 0;
      const output = reference(at(x, 0), at(x, W), at(x, 2 * W), H, none);
      const lse = plainLogSumExp(at(x, 0), at(x, W), none, [-1e9, -1e9]);
      return Float64Array.from([...output, ...lse]);
    },
    tolerance: 2e-5,
  }));

test('only watched operands get gradients; without any nothing is recorded', async () => {
  const x = randomHost(random, [B, L, W]);
  await checkGradients({
    engine,
    inputs: [x],
    op: (tape, [k]) => {
      const fixed = engine.tensor(Float32Array.from(x.data), x.shape);
      expect(run(tape, call(slice(fixed, 0), slice(fixed, 0), slice(fixed, 0))).size).toBe(B * L * W);
      expect(tape!.length).toBe(0);
      return run(tape, call(slice(fixed, 0), slice(k, 0), slice(fixed, 0)));
    },
    reference: (() => {
      const fixed = { data: x.data.slice(), shape: x.shape };
      return ([k]: Host[]) => reference(at(fixed, 0), at(k, 0), at(fixed, 0), H, none);
    })(),
    tolerance: 2e-5,
  });
});
