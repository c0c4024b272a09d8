// What the attention map reads beside weights: pictures, sums, entropies, distances and diagonals of random calls, with
// row statistics computed on the way, whole and in parts, against float64's weights.
import assert from 'node:assert/strict';
import type { AttentionProblem } from '../../../dist/attention/problem.js';
import { validateAttention } from '../../../dist/attention/validate.js';
import { type AttentionMap, attentionMap } from '../../../dist/index.js';
import { type RandomCall, randomBool, randomCall, randomTensor, seeded } from '../../attention/calls.js';
import { exactReadings, exactWeights } from '../../attention/readings.js';
import { largestError } from '../attention-cases.js';
import { once, type Step, truths, withBudget } from './lab.js';

type Range = readonly [number, number];
type Pair = { readonly batch: number; readonly head: number };

interface Picture {
  queries: Range;
  keys: Range;
  rows: number;
  columns: number;
  reduce: 'sum' | 'mean' | 'max';
  estimate?: number;
}

const BOUND = 1e-5;
/** Readings that rounding may leave above 0; others are 0 where nothing is allowed. */
const ROUNDED = /entropy|distance|sinkWeight/;

/** Where bin r of `count` begins in [from, to). */
const edge = ([from, to]: Range, count: number, r: number) => from + Math.floor((r * (to - from)) / count);

/** The queries a row of a picture reads: all of its own, or the middles of equal parts of them. */
function queriesOf({ queries, rows, estimate }: Picture, r: number): { read: number[]; own: number } {
  const first = edge(queries, rows, r);
  const own = Math.max(1, edge(queries, rows, r + 1) - first);
  const count = Math.min(own, estimate ?? own);
  const middle = (t: number) => first + Math.floor(((2 * t + 1) * own) / (2 * count));
  return { read: Array.from({ length: count }, (_, t) => (count === own ? first + t : middle(t))), own };
}

function pictureOf(w: Float64Array, width: number, picture: Picture): number[] {
  const { keys, rows, columns, reduce } = picture;
  const out: number[] = [];
  for (let r = 0; r < rows; r++) {
    const { read, own } = queriesOf(picture, r);
    for (let c = 0; c < columns; c++) {
      const from = edge(keys, columns, c);
      const to = Math.max(from + 1, edge(keys, columns, c + 1));
      const cells = read.flatMap((i) => Array.from(w.subarray(i * width + from, i * width + to)));
      const sum = cells.reduce((x, y) => x + y, 0);
      if (reduce === 'max') out.push(Math.max(...cells));
      else out.push(reduce === 'sum' ? (sum * own) / read.length : sum / cells.length);
    }
  }
  return out;
}

/** Pictures of every kind, of the whole and of regions, coarse and fine. */
function drawnPictures(n: number, m: number, random: () => number): Picture[] {
  const upTo = (most: number) => Math.floor(random() * (most + 1));
  const region = (most: number): Range => {
    const from = upTo(most - 1);
    return [from, from + 1 + upTo(most - from - 1)];
  };
  return (['sum', 'mean', 'max'] as const).flatMap((reduce, kind) =>
    [undefined, 1 + upTo(2)].map((estimate) => {
      const whole = kind === 0 && estimate === undefined;
      const [queries, keys] = whole ? [[0, n] as const, [0, m] as const] : [region(n), region(m)];
      const rows = 1 + upTo(Math.min(7, queries[1] - queries[0] - 1));
      return { queries, keys, rows, columns: 1 + upTo(keys[1] - keys[0] - 1), reduce, estimate };
    }),
  );
}

/** What the readings of a pair must be. */
function exactOf(p: AttentionProblem, { batch: b, head: h }: Pair, offset: number, pictures: Picture[]) {
  const pair = exactWeights(p, b, h);
  const { received, entropy, distance, sinkWeight, diagonal } = exactReadings(p, b, h, pair, offset);
  const drawn = pictures.map((picture, at) => [
    `picture ${at}`,
    Float64Array.from(pictureOf(pair.w, pair.m, picture)),
  ]);
  const exact = {
    weights: pair.w,
    received,
    entropy,
    distance,
    sinkWeight,
    diagonal,
    ...Object.fromEntries(drawn),
  };
  return exact as Record<string, Float64Array>;
}

/** The same from the map; nothing is known of its rows before, so the first reading computes their statistics. */
async function readings(map: AttentionMap, pair: Pair, offset: number, pictures: Picture[]) {
  const read: Record<string, ArrayLike<number>> = {};
  for (const [at, picture] of pictures.entries()) {
    read[`picture ${at}`] = (await map.pool({ ...pair, ...picture })).data;
  }
  read.received = (await map.received(pair)).data;
  read.entropy = (await map.entropy(pair)).data;
  read.distance = (await map.distance(pair)).data;
  read.sinkWeight = (await map.sinkWeight(pair)).data;
  read.diagonal = (await map.diagonal(offset, pair)).data;
  read.weights = (await map.tile(pair)).data;
  return read;
}

function readingStep(name: string, make: () => RandomCall, seed: number, bytes?: number): Step {
  const given = once(() => {
    const call = make();
    const p = validateAttention(call.q, call.k, call.v, call.options);
    const pair = { batch: p.B - 1, head: p.H - 1 };
    const [n, m] = [p.queryCounts[pair.batch], p.packed ? p.keyCounts[pair.batch] : p.Lk];
    const random = seeded(seed);
    const offset = Math.floor(random() * 7) - 3;
    return { ...call, p, pair, offset, pictures: n > 0 && m > 0 ? drawnPictures(n, m, random) : [] };
  });
  return {
    name,
    run: async ({ engine }) => {
      const { q, k, options, p, pair, offset, pictures } = given();
      if (!truths.has(name)) {
        truths.set(name, { truth: exactOf(p, pair, offset, pictures), bounds: {} });
      }
      const { dropout: _, ...own } = options;
      const map = await attentionMap(q, k, { ...own, engine });
      const got = await withBudget(bytes, () => readings(map, pair, offset, pictures));
      map.dispose();
      for (const [reading, exact] of Object.entries(truths.get(name)!.truth)) {
        assert.equal(got[reading].length, exact.length, reading);
        const most = exact.reduce((a, x) => Math.max(a, x), 1);
        const bound = BOUND * (reading === 'weights' ? 1 : most);
        const error = largestError(got[reading], exact);
        assert.ok(error <= bound, `${reading}: error ${error} is over ${bound}`);
        if (ROUNDED.test(reading)) continue;
        const at = exact.findIndex((x, n) => x === 0 && got[reading][n] !== 0);
        assert.ok(at < 0, `${reading}: element ${at} is ${got[reading][at]}, not 0`);
      }
      assert.equal(engine.memory.tensors, 0, 'tensors are left in the engine');
    },
  };
}

const calls = (count: number, first: number, most: number, bytes?: number): Step[] =>
  Array.from({ length: count }, (_, n) => first + n).map((seed) =>
    readingStep(
      `readings of call ${seed}`,
      () => randomCall(seeded(seed), { most, drop: false }),
      seed,
      bytes,
    ),
  );

/** Rows in more than one chunk, and keys in more than one span of sums, 4096. */
const long = (name: string, [n, m]: Range, options: (random: () => number) => object): Step => {
  const make = () => {
    const random = seeded(93);
    const [q, k, v] = [n, m, m].map((L) => randomTensor(random, [L, 4]));
    return { q, k, v, options: options(random) };
  };
  return readingStep(`readings, ${name}`, make, 94);
};

const longSteps: Step[] = [
  long('keys of two spans', [5, 4170], () => ({})),
  long('keys of two spans, a row beyond a group', [9, 4170], () => ({})),
  long('the diagonal of lower-right', [66, 4110], () => ({ causal: 'lower-right' })),
  long('windows of rows that are picked', [150, 140], () => ({ window: [12, 5], causal: { offset: 9 } })),
  long('slopes, a mask and a window', [150, 140], (random) => ({
    alibi: randomTensor(random, [1], 'float32', 0.05),
    mask: randomBool(random, [150, 140]),
    window: [90, 50],
  })),
];

export const readingSteps: Step[] = [
  ...calls(30, 501, 12),
  ...calls(10, 551, 70),
  ...calls(8, 571, 150),
  ...calls(8, 591, 90, 1 << 12),
  ...longSteps,
];
