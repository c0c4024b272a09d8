// What lies exactly on an edge: a draw that equals the rate, runs of as many keys as are summed in float64, weights of 0 over
// values of ∞, rows that a mask alone empties, spans that end with the keys.
import assert from 'node:assert/strict';
import type { AttentionOptions } from '../../../dist/attention/options.js';
import { philox, seedWords } from '../../../dist/attention/philox.js';
import { attentionReference } from '../../../dist/attention/reference.js';
import {
  attentionCells,
  attentionPool,
  attentionStatistics,
} from '../../../dist/engine/ops/attention-readings.js';
import type { Engine, Tensor } from '../../../dist/engine/types.js';
import { type Case, generator, makeCase, uploadCall } from '../attention-cases.js';
import { runDecode } from './decode.js';
import { caseStep, type Step } from './lab.js';
import { spoilStep } from './numbers.js';

/** A score whose weight is 0 beside one of 0. */
const NOTHING = -200;

const near = (got: number, want: number, what: string) =>
  assert.ok(Math.abs(got - want) <= 1e-6 * Math.abs(want), `${what}: ${got}, expected ${want}`);

const numbersOf = (x: { tensor: { data: ArrayLike<number> } }) => x.tensor.data as Float32Array;

/** What `issue` makes of a call's tensors with these row statistics, read. */
async function readingOf(
  engine: Engine,
  one: Case,
  [max, sum]: readonly [number, number],
  issue: (call: ReturnType<typeof uploadCall>, stats: { rowMax: Tensor; rowSum: Tensor }) => Tensor,
): Promise<Float32Array> {
  const made = engine.scope(() => {
    const call = uploadCall(engine, one.problem);
    const all = (x: number) => engine.tensor(new Float32Array(call.Lq).fill(x), [call.Lq]);
    return issue(call, { rowMax: all(max), rowSum: all(sum) });
  });
  const read = (await made.read()) as Float32Array;
  made.dispose();
  return read;
}

/** Dropout whose rate is the draw of one cell: it is kept, as every draw at least the rate. */
const drawnSteps: Step[] = [
  // Rows of either half of a group of eight, and of a group of four the first four keys of eight, and the others.
  [1, 9],
  [6, 18],
  [9, 2],
  [10, 13],
].map(([i, j]) => {
  const seed = 17;
  const words = new Uint32Array(4);
  philox(j >>> 2, i, 0, 0, ...seedWords(seed), words);
  const rate = (words[j & 3] >>> 8) / 2 ** 24;
  const shapes = { q: [1, 1, 12, 8], k: [1, 1, 21, 8], v: [1, 1, 21, 8] };
  return caseStep(`a draw that equals the rate is kept: row ${i}, key ${j}`, () =>
    makeCase(shapes, { dropout: { rate, seed } }, generator(62)),
  );
});

/** Sums of products that float32 loses, 2^30 + 1 − 2^30 in one lane. */
const summedExactly: Step = {
  name: 'decode: rows of 32 keys sum their scores in float64',
  run: async ({ engine }) => {
    const Lk = 200;
    for (const [low, high] of [
      [0, 32],
      [250, 282],
      [3, 20],
    ]) {
      const window = { causal: { offset: high - 1 }, window: [high - low - 1, 0] as const };
      const shapes = { q: [1, 1, 1, 16], k: [1, 1, Lk + 100, 16], v: [1, 1, Lk + 100, 8] };
      const one = makeCase(shapes, { ...window, scale: 1 }, generator(63));
      const [q, k] = [numbersOf(one.problem.q), numbersOf(one.problem.k)];
      q.fill(0).fill(1, 0, 1).fill(1, 4, 5).fill(-1, 8, 9);
      for (let j = 0; j < Lk + 100; j++)
        k.fill(0, j * 16, j * 16 + 16)
          .fill(2 ** 30, j * 16, j * 16 + 1)
          .fill(j % 3, j * 16 + 4, j * 16 + 5)
          .fill(2 ** 30, j * 16 + 8, j * 16 + 9);
      const { output } = await runDecode(engine, one);
      const exact = attentionReference(one.problem).output;
      // A run that begins within the range has fewer of its keys still.
      for (let d = 0; d < 8; d++) assert.ok(Math.abs(output[d] - exact[d]) < 1e-5, `keys [${low}, ${high})`);
    }
  },
};

/** One key far above the others, at each place of four: exp of what lies above the maximum would be ∞. */
const farAbove: Step = {
  name: 'decode: the highest of far scores is found wherever it lies',
  run: async ({ engine }) => {
    for (let at = 0; at < 4; at++) {
      const data = new Float32Array(130).fill(-1000);
      data[8 + at] = 1000;
      const shapes = { q: [1, 1, 1, 8], k: [1, 1, 130, 8], v: [1, 1, 130, 8] };
      const one = makeCase(shapes, { bias: { data, shape: [130] }, scale: 0 }, generator(64));
      const { output } = await runDecode(engine, one);
      assert.deepEqual(output, numbersOf(one.problem.v).slice((8 + at) * 8, (9 + at) * 8), `key ${8 + at}`);
    }
  },
};

/** An allowed key whose weight is 0 in float32: its values of ∞ are seen, in each width of columns; a masked one's are not. */
const seenThrough: Step = {
  name: 'decode: a weight of 0 does not hide ∞ in what is allowed',
  run: async ({ engine }) => {
    const data = new Float32Array(130).fill(NOTHING);
    data[7] = 0;
    data[9] = Number.NEGATIVE_INFINITY;
    const shapes = { q: [1, 1, 1, 8], k: [1, 1, 130, 8], v: [1, 1, 130, 38] };
    for (const d of [3, 33, 37]) {
      const one = makeCase(shapes, { bias: { data, shape: [130] } }, generator(65));
      numbersOf(one.problem.v)[9 * 38 + d] = Number.POSITIVE_INFINITY;
      assert.ok((await runDecode(engine, one)).output.every(Number.isFinite), `masked, column ${d}`);
      numbersOf(one.problem.v)[80 * 38 + d] = Number.POSITIVE_INFINITY;
      const { output } = await runDecode(engine, one);
      for (let n = 0; n < 38; n++) assert.equal(Number.isFinite(output[n]), n !== d, `column ${n} of ${d}`);
    }
  },
};

/** A group's first rows that a mask empties, while its window has moved on from key 0: the keys of the others count. */
const emptied: Step[] = [10, 12, 16].map((Lq) =>
  caseStep(`rows that a mask alone empties, before rows of a window: ${Lq}`, () => {
    const mask = { data: new Uint8Array(Lq).map((_, i) => +(i < 8 || i === Lq - 1)), shape: [Lq, 1] };
    const shapes = { q: [1, 2, Lq, 8], k: [1, 2, 90, 8], v: [1, 2, 90, 8] };
    const options = { mask: { ...mask, dtype: 'bool' as const }, window: [2, 0], causal: { offset: 60 } };
    return makeCase(shapes, options as AttentionOptions, generator(66));
  }),
);

/** Rows that are picked, one of three, with slopes and a window: the statistics of the same rows among all. */
const picked: Step = {
  name: 'picked rows have the bits they have among all',
  run: async (lab) => {
    const { engine } = lab;
    await spoilStep.run(lab);
    const shapes = { q: [1, 1, 96, 8], k: [1, 1, 140, 8], v: [1, 1, 140, 8] };
    const one = makeCase(shapes, { window: [9, 3], causal: { offset: 20 } }, generator(67));
    const all = await readingOf(engine, one, [0, 1], (call) => attentionStatistics(call));
    const rows = Int32Array.from({ length: 32 }, (_, t) => 3 * t + 1);
    const some = await readingOf(engine, one, [0, 1], (call) => {
      const own = { ...call.q, row: 24, offset: 8 };
      return attentionStatistics({ ...call, q: own, Lq: 32 }, engine.tensor(rows, [32]));
    });
    const row = (x: Float32Array, i: number) => [0, 8].map((n) => x[(i >> 3) * 16 + n + (i & 7)]);
    rows.forEach((i, t) => {
      assert.deepEqual(row(some, t), row(all, i), `row ${i}`);
    });
  },
};

/** Rows with slopes, each at its own distance from the keys; the last of them is aligned with the last key. */
const pickedSlopes: Step = {
  name: 'picked rows with slopes have the numbers they have among all, lower-right',
  run: async (lab) => {
    const { engine } = lab;
    await spoilStep.run(lab);
    const [count, Lk] = [29, 140];
    const shapes = { q: [1, 1, 96, 8], k: [1, 1, Lk, 8], v: [1, 1, Lk, 8] };
    const alibi = { data: Float32Array.of(0.05), shape: [1] };
    const rows = Int32Array.from({ length: count }, (_, t) => 3 * t + 1);
    for (const window of [
      [-1, -1],
      [70, 0],
    ] as const) {
      const one = makeCase(shapes, { alibi, window }, generator(70));
      const all = await readingOf(engine, one, [0, 1], (call) =>
        attentionStatistics({ ...call, offset: Lk - count }),
      );
      const some = await readingOf(engine, one, [0, 1], (call) => {
        const q = { ...call.q, row: 24, offset: 8 };
        return attentionStatistics(
          { ...call, q, Lq: count, offset: 'lower-right' },
          engine.tensor(rows, [count]),
        );
      });
      const numbers = (x: Float32Array, i: number) => [0, 8].map((n) => x[(i >> 3) * 16 + n + (i & 7)]);
      rows.forEach((i, t) => {
        const [got, want] = [numbers(some, t), numbers(all, i)];
        for (const n of [0, 1]) near(got[n], want[n], `row ${i}, window ${window}`);
      });
    }
  },
};

/** A row of NaN has a sum of NaN, one whose scores are all −∞ is empty. */
const unordinary: Step = {
  name: 'statistics of rows of NaN and of −∞',
  run: async ({ engine }) => {
    const shapes = { q: [1, 1, 9, 8], k: [1, 1, 70, 8], v: [1, 1, 70, 8] };
    const one = makeCase(shapes, {}, generator(69));
    const [q, k] = [numbersOf(one.problem.q), numbersOf(one.problem.k)];
    q.fill(1);
    for (const row of [3, 8]) q[row * 8 + 2] = Number.NaN;
    for (let j = 0; j < 70; j++) k[j * 8] = Number.NEGATIVE_INFINITY;
    const got = await readingOf(engine, one, [0, 1], (call) => attentionStatistics(call));
    for (let i = 0; i < 9; i++) {
      const at = (i >> 3) * 16 + (i & 7);
      const bad = i === 3 || i === 8;
      assert.equal(got[at + 8], bad ? Number.NaN : 0, `sum of row ${i}`);
      if (!bad) assert.equal(got[at], Number.NEGATIVE_INFINITY, `maximum of row ${i}`);
    }
  },
};

/** Pictures whose keys are whole spans of sums; two slices to a block, so that each clears its own alone. */
const pooled: Step = {
  name: 'pooled weights are the sums of cells, over whole spans, in their own slices',
  run: async ({ engine }) => {
    const shapes = { q: [1, 1, 80, 8], k: [1, 1, 128, 8], v: [1, 1, 128, 8] };
    const one = makeCase(shapes, {}, generator(68));
    const cells = await readingOf(engine, one, [0, 1], attentionCells);
    const list = (...data: number[]) => engine.tensor(Int32Array.from(data), [data.length]);
    const sums = await readingOf(engine, one, [0, 1], (call, stats) => {
      const [slices, blocks] = [list(0, 8, 16, 80), list(0, 2, 3)];
      const bins = { origin: 0, span: 128, columns: 8, reach: 64, width: 4, most: false };
      const out = attentionPool(call, stats, { slices, blocks, ...bins });
      assert.deepEqual(out.shape, [3, 2, 4, 8]);
      return out;
    });
    const exact = new Float32Array(sums.length);
    for (let i = 0; i < 80; i++)
      for (let j = 0; j < 128; j++)
        exact[(Math.min(i >> 3, 2) * 8 + (j >> 4)) * 8 + (i & 7)] += cells[i * 128 + j];
    sums.forEach((x, n) => {
      near(x, exact[n], `sum ${n}`);
    });
  },
};

export const edgeNumberSteps: Step[] = [
  ...drawnSteps,
  summedExactly,
  farAbove,
  seenThrough,
  ...emptied,
  picked,
  pickedSlopes,
  unordinary,
  pooled,
];
/** Those of them that run behind fences too. */
export const fencedEdges: Step[] = [pooled, unordinary];
