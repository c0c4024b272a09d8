// How calls on host arrays are cut: for budgets at, just below and just above what parts take, against a plan made by
// counting bytes and trying sizes one after the other.
import assert from 'node:assert/strict';
import type { AttentionOptions } from '../../../dist/attention/options.js';
import type { AttentionProblem, CellTensor } from '../../../dist/attention/problem.js';
import { validateAttention } from '../../../dist/attention/validate.js';
import {
  budget,
  bytesPerCell,
  keyRanges,
  type Part,
  type Pass,
  planParts,
  portion,
  portionsOf,
  type Range,
  split,
} from '../../../dist/map/parts.js';
import { sizeOf } from '../attention-cases.js';
import { once, type Step } from './lab.js';

const BLOCK = 64;
const MOST_KEYS = 16384;
const MOST_ROWS = 4096;

/** Numbers of 4 bytes: q, output and three statistics a row, k and v a key; backward as much again, and one more statistic. */
function bytesOf(p: AttentionProblem, pass: Pass, [nb, nh, nk, rows, keys]: readonly number[]): number {
  const both = p.D + p.Dv;
  const shared = p.k.batch === 0 && p.v.batch === 0;
  const [row, key] = pass === 'forward' ? [both + 3, both] : [2 * both + 4, 2 * both];
  const cells = (x: CellTensor | undefined, bytes: number) =>
    x ? bytes * (x.batch === 0 ? 1 : nb) * (x.head ? nh : 1) * (x.query ? rows : 1) * (x.key ? keys : 1) : 0;
  const keep = p.dropout && 'keep' in p.dropout ? p.dropout.keep : undefined;
  const bias = pass === 'forward' ? 4 : 8;
  const own = 4 * (nb * nh * rows * row + (shared ? 1 : nb) * nk * keys * key);
  return own + cells(p.mask, 1) + cells(keep, 1) + cells(p.bias, bias);
}

/** The largest n up to `most` that fits; 0 if none does. */
function largest(most: number, fits: (n: number) => boolean): number {
  let n = 0;
  while (n < most && fits(n + 1)) n++;
  return n;
}

/** [0, n) in the fewest even ranges of at most `most`, each but the last a multiple of `unit`. */
function even(n: number, most: number, unit: number): Range[] {
  const count = Math.ceil(n / Math.max(most, unit)) || 1;
  let step = unit;
  while (step * count < n) step += unit;
  const ranges: Range[] = [];
  for (let from = 0; from < n; from += step) ranges.push([from, Math.min(n, from + step)]);
  return ranges;
}

function rangesOf(p: AttentionProblem, keys: number, pass: Pass): Range[] {
  if (keys === 0) return [[0, 0]];
  const perKey = 4 * (p.D + p.Dv) * (pass === 'forward' ? 1 : 2);
  const blocks = largest(MOST_KEYS / BLOCK, (n) => n * BLOCK * perKey <= budget.bytes / 2);
  return even(keys, Math.max(1, blocks) * BLOCK, BLOCK);
}

/** The ranges of keys that some row of a part may attend to, else the first. */
function someOf(p: AttentionProblem, b: number, [first, last]: Range, keys: Range[]): Range[] {
  const [left, right] = p.window;
  const attends = ([from, to]: Range) => {
    for (let i = first; i < last; i++) {
      const own = i + p.diagonal[b];
      const low = left < 0 ? from : Math.max(from, own - left);
      let high = Math.min(to, p.keyCounts[b]);
      if (right >= 0) high = Math.min(high, own + right + 1);
      if (p.causal) high = Math.min(high, own + 1);
      if (low < high) return true;
    }
    return false;
  };
  const some = keys.filter(attends);
  return some.length > 0 ? some : [keys[0]];
}

function entriesOf(p: AttentionProblem, pass: Pass, [from, to]: Range, Lq: number, Lk: number): Part[] {
  if (Lq === 0) return [];
  const { H, Hkv } = p;
  const group = H / Hkv;
  const keys = rangesOf(p, Lk, pass);
  const span = keys[0][1];
  const fits = (...counts: number[]) => bytesOf(p, pass, [...counts, span]) <= budget.bytes;
  const parts: Part[] = [];
  const one = keys.length === 1;
  const entries = one ? largest(to - from, (n) => fits(n, H, Hkv, Lq)) : 0;
  const rows = [0, Lq] as const;
  if (entries > 0) {
    for (const [a, b] of even(to - from, entries, 1))
      parts.push({ batches: [from + a, from + b], heads: [0, H], keyHeads: [0, Hkv], rows, keys });
    return parts;
  }
  const groups = one ? largest(Hkv, (n) => fits(1, n * group, n, Lq)) : 0;
  const heads = one
    ? Math.max(
        1,
        largest(group, (n) => fits(1, n, 1, Lq)),
      )
    : 1;
  const whole = fits(1, heads, 1, Lq);
  const blocks =
    Math.max(
      1,
      largest(Math.ceil(Lq / BLOCK), (n) => fits(1, 1, 1, n * BLOCK)),
    ) * BLOCK;
  const most = whole ? Lq : blocks;
  for (let b = from; b < to; b++) {
    const batches = [b, b + 1] as const;
    if (groups > 0) {
      for (const [a, c] of even(Hkv, groups, 1))
        parts.push({ batches, heads: [a * group, c * group], keyHeads: [a, c], rows, keys });
      continue;
    }
    for (let hk = 0; hk < Hkv; hk++) {
      for (const [a, c] of even(group, heads, 1)) {
        for (const own of even(Lq, one ? most : Math.min(MOST_ROWS, most), BLOCK)) {
          const heads: Range = [hk * group + a, hk * group + c];
          parts.push({ batches, heads, keyHeads: [hk, hk + 1], rows: own, keys: someOf(p, b, own, keys) });
        }
      }
    }
  }
  return parts;
}

/** Sequences go together while they fit; one that fits no part goes through by itself. */
function planOf(p: AttentionProblem, pass: Pass): Part[] {
  if (p.B === 0 || p.H === 0) return [];
  if (!p.packed) return entriesOf(p, pass, [0, p.B], p.Lq, p.Lk);
  const all = { heads: [0, p.H], keyHeads: [0, p.Hkv] } as const;
  const own = (b: number) => bytesOf(p, pass, [1, p.H, p.Hkv, p.queryCounts[b], p.keyCounts[b]]);
  const alone = (b: number) => own(b) > budget.bytes || rangesOf(p, p.keyCounts[b], pass).length > 1;
  const parts: Part[] = [];
  for (let b = 0; b < p.B; ) {
    if (alone(b)) {
      parts.push(...entriesOf(p, pass, [b, b + 1], p.queryCounts[b], p.keyCounts[b]));
      b++;
      continue;
    }
    let [end, bytes] = [b, 0];
    while (end < p.B && !alone(end) && bytes + own(end) <= budget.bytes) bytes += own(end++);
    parts.push({ batches: [b, end], ...all });
    b = end;
  }
  return parts;
}

type Shape = readonly [B: number, H: number, Hkv: number, Lq: number, Lk: number, D: number, Dv: number];

function problemOf(
  [B, H, Hkv, Lq, Lk, D, Dv]: Shape,
  options: AttentionOptions,
  shared = false,
): AttentionProblem {
  const zeros = (...shape: number[]) => ({ data: new Float32Array(sizeOf(shape)), shape });
  const nk = shared ? 1 : B;
  return validateAttention(zeros(B, H, Lq, D), zeros(nk, Hkv, Lk, D), zeros(nk, Hkv, Lk, Dv), options);
}

function packedOf(q: number[], k: number[], [H, Hkv, D, Dv]: readonly number[]): AttentionProblem {
  const starts = (lengths: number[]) =>
    Int32Array.from([0, ...lengths], (_, n) => lengths.slice(0, n).reduce((a, x) => a + x, 0));
  const cuSeqlens = { q: starts(q), k: starts(k) };
  const zeros = (...shape: number[]) => ({ data: new Float32Array(sizeOf(shape)), shape });
  const [Tq, Tk] = [cuSeqlens.q.at(-1)!, cuSeqlens.k.at(-1)!];
  return validateAttention(zeros(Tq, H, D), zeros(Tk, Hkv, D), zeros(Tk, Hkv, Dv), { cuSeqlens });
}

const bools = (...shape: number[]) => ({
  data: new Uint8Array(sizeOf(shape)),
  shape,
  dtype: 'bool' as const,
});
const floats = (...shape: number[]) => ({ data: new Float32Array(sizeOf(shape)), shape });

const problems: Record<string, () => AttentionProblem> = {
  'entries, groups, heads, rows': once(() => problemOf([5, 6, 3, 150, 130, 4, 3], {})),
  'groups of four heads': once(() => problemOf([2, 8, 2, 150, 130, 4, 4], {})),
  'many rows, few keys': once(() => problemOf([1, 2, 1, 9000, 64, 1, 1], {})),
  'shared keys': once(() => problemOf([7, 2, 1, 70, 200, 3, 5], {}, true)),
  causal: once(() => problemOf([2, 2, 2, 400, 500, 8, 4], { causal: 'lower-right' })),
  'a window, offsets and lengths': once(() =>
    problemOf([3, 2, 1, 300, 640, 4, 4], {
      window: [90, 20],
      causal: { offset: Int32Array.of(-250, 10, 1000) },
      keyLengths: Int32Array.of(640, 333, 0),
    }),
  ),
  ...Object.fromEntries(
    [0, 63, 64, 65].flatMap((side) => [
      [`${side} keys behind`, once(() => problemOf([1, 1, 1, 256, 640, 4, 4], { window: [side, -1] }))],
      [`${side} keys ahead`, once(() => problemOf([1, 1, 1, 256, 640, 4, 4], { window: [-1, side] }))],
    ]),
  ),
  cells: once(() =>
    problemOf([3, 4, 2, 130, 140, 4, 4], {
      bias: floats(3, 4, 130, 140),
      mask: bools(130, 1),
      dropout: { rate: 0.5, keep: bools(4, 1, 140) },
    }),
  ),
  'cells of entries': once(() =>
    problemOf([3, 4, 2, 130, 140, 4, 4], { bias: floats(140), mask: bools(3, 1, 130, 140) }),
  ),
  'long, one head': once(() => problemOf([1, 1, 1, 9000, 17000, 1, 1], { causal: 'lower-right' })),
  'long, whole ranges of rows': once(() => problemOf([1, 1, 1, 8192, 16448, 1, 1], {})),
  'shared keys, values of their own': once(() => {
    const [q, k, v] = [floats(7, 2, 70, 3), floats(1, 1, 200, 3), floats(7, 1, 200, 5)];
    return validateAttention(q, k, v, {});
  }),
  'no rows': once(() => problemOf([2, 2, 1, 0, 70, 4, 4], {})),
  'no keys': once(() => problemOf([2, 2, 1, 70, 0, 4, 4], {})),
  'no entries': once(() => problemOf([0, 2, 1, 70, 70, 4, 4], {})),
  'no heads': once(() => problemOf([2, 0, 1, 70, 70, 4, 4], {})),
  packed: once(() => packedOf([3, 70, 0, 9, 300, 5, 5, 80], [3, 50, 9, 0, 200, 5, 6, 700], [4, 2, 4, 3])),
};

/** Budgets that just hold some parts, and one byte less or more. */
function budgetsOf(p: AttentionProblem, pass: Pass): number[] {
  const { B, H, Hkv, Lq, Lk } = p;
  const group = H / (Hkv || 1);
  const counts = [
    ...[1, 2, 3, B].map((nb) => [nb, H, Hkv, Lq, Lk]),
    ...[1, 2].map((nk) => [1, nk * group, nk, Lq, Lk]),
    ...[1, 2, 3].map((nh) => [1, nh, 1, Lq, Lk]),
    ...[64, 128, 192].flatMap((rows) => [64, 128, 256].map((keys) => [1, 1, 1, rows, keys])),
  ];
  if (p.packed) {
    for (let b = 0; b < p.B; b++) counts.push([1, H, Hkv, p.queryCounts[b], p.keyCounts[b]]);
  }
  const exact = counts.map((own) => bytesOf(p, pass, own));
  const pairs = p.packed ? exact.slice(-p.B).map((x, b, own) => x + (own[b + 1] ?? 0)) : [];
  const perKey = 4 * (p.D + p.Dv) * (pass === 'forward' ? 1 : 2);
  const halves = [1, 2, 3].map((n) => 2 * n * BLOCK * perKey);
  return [1, 16 << 20, ...[...exact, ...pairs, ...halves].flatMap((x) => [x - 1, x, x + 1])].filter(
    (x) => x > 0,
  );
}

/** As many runs of entries as whole portions fit into the part's bytes, as even as whole entries allow. */
function runsOf(p: AttentionProblem, { batches: [first, last], rows, keys }: Part): Range[] {
  const keep = p.dropout && 'keep' in p.dropout ? [p.dropout.keep] : [];
  const operands = [p.k, p.v, ...(p.mask ? [p.mask] : []), ...(p.bias ? [p.bias] : []), ...keep];
  const shared = operands.filter((x) => x.batch === 0).length > 0;
  if (rows === undefined || keys!.length > 1 || shared) return [[first, last]];
  const bytes = (last - first) * bytesOf(p, 'forward', [1, p.H, p.Hkv, p.Lq, p.Lk]);
  const count = largest(last - first, (n) => n * portion.bytes <= bytes) || 1;
  const most = 1 + largest(last - first, (n) => n * count < last - first);
  return even(last - first, most, 1).map(([from, to]) => [first + from, first + to]);
}

const portions: Step[] = Object.entries(problems).map(([name, make]) => ({
  name: `portions of a call: ${name}`,
  run: async () => {
    const p = make();
    const whole = portion.bytes;
    assert.equal(whole, 2 << 20);
    const entry = bytesOf(p, 'forward', [1, p.H, p.Hkv, p.Lq, p.Lk]);
    try {
      for (const bytes of [entry / 2, entry, 1.5 * entry, 2 * entry, (p.B * entry) / 2, p.B * entry, whole]) {
        for (const off of [-1, 0, 1]) {
          portion.bytes = Math.max(1, bytes + off);
          for (const part of planParts(p, 'forward')) {
            assert.deepEqual(portionsOf(p, part), runsOf(p, part), `${listed(part)}, ${portion.bytes} bytes`);
          }
        }
      }
    } finally {
      portion.bytes = whole;
    }
  },
}));

const listed = ({ batches, heads, keyHeads, rows, keys }: Part) =>
  JSON.stringify([batches, heads, keyHeads, rows, keys]);

const plans: Step[] = Object.entries(problems).map(([name, make]) => ({
  name: `the plan of a call: ${name}`,
  run: async () => {
    const p = make();
    const whole = budget.bytes;
    try {
      for (const pass of ['forward', 'backward'] as const) {
        for (const bytes of new Set(budgetsOf(p, pass))) {
          budget.bytes = bytes;
          const got = Array.from(planParts(p, pass), listed);
          assert.equal(got.join('\n'), planOf(p, pass).map(listed).join('\n'), `${pass}, ${bytes} bytes`);
          assert.deepEqual(keyRanges(p, p.Lk, pass), rangesOf(p, p.Lk, pass));
        }
      }
    } finally {
      budget.bytes = whole;
    }
  },
}));

const splits: Step = {
  name: 'ranges are even, and multiples of their unit',
  run: async () => {
    for (const unit of [1, 64]) {
      for (let n = 0; n < 300; n += n < 10 ? 1 : 7) {
        for (const most of [1, 2, 3, 63, 64, 65, 128, 200, 1000]) {
          assert.deepEqual(
            split(n, most, unit),
            n === 0 ? [] : even(n, most, unit),
            `${n} by ${most}, ${unit}`,
          );
        }
      }
    }
    assert.equal(budget.bytes, 16 << 20);
    const long = (keys: number) => keyRanges(problemOf([1, 1, 1, 1, keys, 1, 1], {}), keys, 'forward').length;
    assert.deepEqual([long(MOST_KEYS), long(MOST_KEYS + 1)], [1, 2]);
    assert.deepEqual(split(7, 3), [
      [0, 3],
      [3, 6],
      [6, 7],
    ]);
    assert.deepEqual(split(200, 128, 64), [
      [0, 128],
      [128, 200],
    ]);
  },
};

const cellsOfMaps: Step = {
  name: 'bytes of a cell: those of a mask and a bias with one for each row and key',
  run: async () => {
    const [mask, bias] = [bools(9, 7), floats(9, 7)];
    const bytes = (options: AttentionOptions) => bytesPerCell(problemOf([1, 1, 1, 9, 7, 4, 4], options));
    assert.deepEqual([bytes({}), bytes({ mask }), bytes({ bias }), bytes({ mask, bias })], [0, 1, 4, 5]);
    assert.equal(bytes({ mask: bools(7), bias: floats(9, 1) }), 0);
  },
};

export const planSteps: Step[] = [splits, cellsOfMaps, ...plans, ...portions];
