// Every differentiable op but attention: values and gradients against float64.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DropoutStream } from '../../dist/autograd/dropout-stream.js';
import * as ops from '../../dist/autograd/ops.js';
import { Parameter } from '../../dist/autograd/parameter.js';
import { Tape } from '../../dist/autograd/tape.js';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine } from '../../dist/engine/types.js';
import { Random } from '../../dist/nn/random.js';
import { checkGradients, type Host, randomHost } from './gradients.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
});
afterAll(() => engine.dispose());

const TOLERANCE = 2e-5;
const WITHIN = 'value and gradients within 2e-5 of the largest magnitude';
const sizes = [
  [1, 1],
  [3, 5],
  [17, 33],
];

/** Abramowitz & Stegun 7.1.5 series and continued fraction: erf in float64. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  let term = z;
  let sum = z;
  for (let n = 1; n < 200; n++) {
    term *= (-z * z) / n;
    sum += term / (2 * n + 1);
  }
  return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
}

const rowsOf = ({ data, shape }: Host) => {
  const C = shape[shape.length - 1];
  return Array.from({ length: data.length / C }, (_, r) => data.subarray(r * C, (r + 1) * C));
};

const flatten = (rows: ArrayLike<number>[]) => Float64Array.from(rows.flatMap((row) => Array.from(row)));

function linearReference([x, w, b]: Host[]): Float64Array {
  return flatten(
    rowsOf(x).map((row) =>
      rowsOf(w).map((col, n) => row.reduce((s, v, k) => s + v * col[k], b ? b.data[n] : 0)),
    ),
  );
}

const logSoftmaxRow = (row: Float64Array) => {
  const max = row.reduce((a, b) => Math.max(a, b));
  const lse = max + Math.log(row.reduce((s, v) => s + Math.exp(v - max), 0));
  return row.map((v) => v - lse);
};

describe.each(sizes)('%i rows of %i', (R, C) => {
  const random = new Random(R * 1000 + C);

  test(`linear with bias on rank 3: ${WITHIN}`, () =>
    checkGradients({
      engine,
      inputs: [randomHost(random, [2, R, C]), randomHost(random, [7, C]), randomHost(random, [7])],
      parameters: [1, 2],
      op: (tape, [x, w, b]) => ops.linear(tape, x, w, b),
      reference: linearReference,
      tolerance: TOLERANCE,
    }));

  test(`linear into a gradient that is there already: ${WITHIN}`, () =>
    checkGradients({
      engine,
      inputs: [randomHost(random, [R, C]), randomHost(random, [3, C]), randomHost(random, [3, C])],
      parameters: [1, 2],
      op: (tape, [x, v, w]) => ops.add(tape, ops.linear(tape, x, v), ops.linear(tape, x, w)),
      reference: ([x, v, w]) => {
        const other = linearReference([x, w]);
        return linearReference([x, v]).map((y, i) => y + other[i]);
      },
      tolerance: TOLERANCE,
    }));

  test(`layer norm: ${WITHIN}`, () =>
    checkGradients({
      engine,
      inputs: [randomHost(random, [R, C]), randomHost(random, [C]), randomHost(random, [C])],
      parameters: [1, 2],
      // A wide eps: with one column the exact derivative is 0 and differences would drown in rounding.
      op: (tape, [x, w, b]) => ops.layerNorm(tape, x, w, b, 0.1),
      reference: ([x, w, b]) =>
        flatten(
          rowsOf(x).map((row) => {
            const mean = row.reduce((a, v) => a + v, 0) / C;
            const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / C;
            return row.map((v, c) => ((v - mean) / Math.sqrt(variance + 0.1)) * w.data[c] + b.data[c]);
          }),
        ),
      tolerance: TOLERANCE,
    }));

  test.each(['relu', 'gelu', 'gelu-tanh'] as const)(`%s: ${WITHIN}`, (kind) => {
    const f = {
      relu: (v: number) => Math.max(v, 0),
      gelu: (v: number) => 0.5 * v * (1 + erf(v / Math.SQRT2)),
      'gelu-tanh': (v: number) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
    }[kind];
    return checkGradients({
      engine,
      inputs: [randomHost(random, [R, C])],
      op: (tape, [x]) => ops.activation(tape, x, kind),
      reference: ([x]) => x.data.map(f),
      tolerance: TOLERANCE,
    });
  });

  test(`add, also of a tensor to itself, and scale: ${WITHIN}`, () =>
    checkGradients({
      engine,
      inputs: [randomHost(random, [R, C]), randomHost(random, [R, C])],
      op: (tape, [a, b]) => ops.add(tape, ops.add(tape, ops.scale(tape, a, -3), b), ops.add(tape, a, a)),
      reference: ([a, b]) => a.data.map((v, i) => -v + b.data[i]),
      tolerance: TOLERANCE,
    }));

  test(`log-softmax on rank 3: ${WITHIN}`, () =>
    checkGradients({
      engine,
      inputs: [randomHost(random, [2, R, C], 3)],
      op: (tape, [x]) => ops.logSoftmax(tape, x),
      reference: ([x]) => flatten(rowsOf(x).map(logSoftmaxRow)),
      tolerance: TOLERANCE,
    }));

  test(`reshape used twice beside its source: ${WITHIN}`, () =>
    checkGradients({
      engine,
      inputs: [randomHost(random, [R, C])],
      op: (tape, [x]) => {
        const flat = ops.reshape(tape, x, [R * C]);
        const sum = ops.add(tape, flat, ops.scale(tape, flat, 2));
        return ops.add(tape, ops.reshape(tape, sum, [R, C]), x);
      },
      reference: ([x]) => x.data.map((v) => 4 * v),
      tolerance: TOLERANCE,
    }));

  test(`gather of repeated rows and concatenation: ${WITHIN}`, () =>
    checkGradients({
      engine,
      inputs: [randomHost(random, [R, C]), randomHost(random, [1, 1, C])],
      parameters: [1],
      op: (tape, [x, p]) => {
        const all = ops.concatRows(tape, [x, p, x]);
        return ops.gatherRows(tape, all, engine.tensor(Int32Array.of(R, 0, 2 * R, R, R + 1), [5]));
      },
      reference: ([x, p]) => {
        const rows = [...rowsOf(x), p.data, ...rowsOf(x)];
        return flatten([R, 0, 2 * R, R, R + 1].map((r) => rows[r]));
      },
      tolerance: TOLERANCE,
    }));

  test(`embedding with scale and learned positions: ${WITHIN}`, () => {
    const ids = Int32Array.from({ length: R + 3 }, () => random.below(R));
    const index = Int32Array.from(ids, () => random.below(4));
    return checkGradients({
      engine,
      inputs: [randomHost(random, [R, C]), randomHost(random, [4, C])],
      parameters: [0, 1],
      op: (tape, [table, positions]) =>
        ops.embedding(tape, engine.tensor(ids, [ids.length]), table, {
          scale: 1.5,
          positions: { table: positions, index: engine.tensor(index, [index.length]) },
        }),
      reference: ([table, positions]) =>
        flatten(
          Array.from(ids, (id, t) =>
            rowsOf(table)[id].map((v, c) => 1.5 * v + positions.data[index[t] * C + c]),
          ),
        ),
      tolerance: TOLERANCE,
    });
  });

  test.each([
    [0, false, 1],
    [0.1, false, 1],
    [0.1, true, -2.5],
  ])(`cross-entropy, smoothing %f, in place %s, factor %f: ${WITHIN}`, (smoothing, inPlace, factor) => {
    const targets = Int32Array.from({ length: R }, (_, t) => (t === 1 ? -1 : random.below(C)));
    return checkGradients({
      engine,
      inputs: [randomHost(random, [R, C], 2), randomHost(random, [C, C])],
      parameters: [1],
      op: (tape, [x, table]) => {
        const logits = ops.linear(tape, x, table);
        const loss = ops.crossEntropy(tape, logits, engine.tensor(targets, [R]), { smoothing, inPlace });
        return factor === 1 ? loss.total : ops.scale(tape, loss.total, factor);
      },
      reference: ([x, table]) => {
        let total = 0;
        rowsOf({ data: linearReference([x, table]), shape: [R, C] }).forEach((row, t) => {
          if (targets[t] < 0) return;
          const logs = logSoftmaxRow(row);
          total -= (1 - smoothing) * logs[targets[t]] + (smoothing / C) * logs.reduce((a, b) => a + b, 0);
        });
        return Float64Array.of(factor * total);
      },
      tolerance: TOLERANCE,
    });
  });
});

describe('dropout', () => {
  const R = 13;
  const C = 37;
  const rate = 0.3;

  /** Which elements the key (7, 5) keeps, read from dropout of ones. */
  async function keptBy(counter: number): Promise<boolean[]> {
    const y = engine.scope(() => {
      const tape = new Tape(engine, { dropout: new DropoutStream(7, counter) });
      return ops.dropout(tape, engine.tensor(new Float32Array(R * C).fill(1), [R, C]), rate);
    });
    const kept = Array.from((await y.read()) as Float32Array, (v) => v !== 0);
    y.dispose();
    return kept;
  }

  test(`with residual, and after ReLU with its input consumed: ${WITHIN}`, async () => {
    const kept = await keptBy(5);
    const random = new Random(3);
    await checkGradients({
      engine,
      inputs: [randomHost(random, [R, C]), randomHost(random, [R, C])],
      tape: { dropout: new DropoutStream(7, 5) },
      op: (tape, [x, r]) => ops.dropout(tape, x, rate, r),
      reference: ([x, r]) => x.data.map((v, i) => r.data[i] + (kept[i] ? v / (1 - rate) : 0)),
      tolerance: TOLERANCE,
    });
    for (const kind of ['relu', 'gelu'] as const) {
      const f = {
        relu: (v: number) => Math.max(v, 0),
        gelu: (v: number) => 0.5 * v * (1 + erf(v / Math.SQRT2)),
      };
      await checkGradients({
        engine,
        inputs: [randomHost(random, [R, C])],
        tape: { dropout: new DropoutStream(7, 5) },
        op: (tape, [x]) => {
          const inner = ops.scale(tape, x, 1);
          return ops.activation(tape, inner, kind, { dropout: rate, consume: true });
        },
        reference: ([x]) => x.data.map((v, i) => (kept[i] ? f[kind](v) / (1 - rate) : 0)),
        tolerance: TOLERANCE,
      });
    }
  });

  test('successive calls take successive counters; a set state draws the same again', async () => {
    const stream = new DropoutStream(7, 5);
    expect(stream.next()).toEqual({ seed: 7, counter: 5 });
    expect(stream.state).toEqual({ seed: 7, counter: 6 });
    const [five, six] = [await keptBy(5), await keptBy(6)];
    expect(five).not.toEqual(six);
    expect(await keptBy(5)).toEqual(five);
    const share = five.filter(Boolean).length / five.length;
    expect(Math.abs(share - (1 - rate))).toBeLessThan(0.1);
    expect(() => new DropoutStream(-1)).toThrow('unsigned 32-bit');
    expect(() => {
      stream.state = { seed: 0, counter: 2 ** 32 };
    }).toThrow('unsigned 32-bit');
  });

  test('off without a stream, without a tape and at rate 0; a bad rate is refused', () => {
    engine.scope(() => {
      const x = engine.zeros([2, 2]);
      expect(ops.dropout(null, x, 0.5)).toBe(x);
      expect(ops.dropout(new Tape(engine), x, 0.5)).toBe(x);
      expect(ops.dropout(new Tape(engine, { dropout: new DropoutStream(1) }), x, 0)).toBe(x);
      for (const rate of [1, -0.1, Number.NaN]) expect(() => ops.dropout(null, x, rate)).toThrow('[0, 1)');
    });
  });
});

test('linear names the width it expects', () => {
  engine.scope(() => {
    const weight = new Parameter('weight', engine.zeros([2, 3]));
    expect(() => ops.linear(null, engine.zeros([4, 5]), weight)).toThrow(
      'linear: x has shape [4,5], expected a last dimension of 3',
    );
    weight.dispose();
  });
});
