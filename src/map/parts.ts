// How a call is cut so that each part fits a working budget in the engine, whatever the caller's arrays take: whole
// batch entries, else key heads, else query heads, else rows; keys are cut only where one head's exceed half the
// budget. Everything follows from shapes alone, and keys, whose cuts alone show in the bits, from a head's own.
import type { AttentionProblem, CellTensor } from '../attention/problem.js';

export type Range = readonly [from: number, to: number];

/** Batch entries (or sequences), heads and rows of a call, and the keys they go through, range by range. */
export interface Part {
  readonly batches: Range;
  readonly heads: Range;
  readonly keyHeads: Range;
  /** Rows and ranges of keys of each entry; absent: packed sequences, whole. */
  readonly rows?: Range;
  readonly keys?: readonly Range[];
}

/** Bytes that the tensors of one part may take in the engine. An object, so that tests can set it. */
export const budget = { bytes: 16 << 20 };
/** Bytes of a portion's tensors, about: what a core's own cache nearly holds. An object, as budget is. */
export const portion = { bytes: 2 << 20 };
/** Keys of one range at most: with a bias, a mask and a keep mask 64 rows of them fit half the budget. */
const MOST_KEYS = 16384;
/** Rows and keys are cut at multiples of the kernels' blocks, where no bit changes. */
const BLOCK = 64;

/** Rows at a time where keys are cut: their results are joined outside the engine. */
const MOST_ROWS = 4096;

/** What a pass holds beside the call's operands. */
export type Pass = 'forward' | 'backward';

/** Bytes of one row and one key of one head; cells count where they are. */
function widths({ D, Dv }: AttentionProblem, pass: Pass): { row: number; key: number } {
  const both = 4 * (D + Dv);
  return pass === 'forward' ? { row: both + 12, key: both } : { row: 2 * both + 16, key: 2 * both };
}

function cellBytes(p: AttentionProblem, pass: Pass, [nb, nh, rows, keys]: readonly number[]): number {
  const keep = p.dropout && 'keep' in p.dropout ? p.dropout.keep : undefined;
  const count = (x: CellTensor) =>
    (x.batch === 0 ? 1 : nb) * (x.head ? nh : 1) * (x.query ? rows : 1) * (x.key ? keys : 1);
  const bias = pass === 'forward' ? 4 : 8;
  return (p.mask ? count(p.mask) : 0) + (keep ? count(keep) : 0) + (p.bias ? bias * count(p.bias) : 0);
}

/** Splits [0, n) evenly into ranges of at most `most`, rounded up to multiples of `unit`. */
export function split(n: number, most: number, unit = 1): Range[] {
  const count = Math.ceil(n / Math.max(unit, most));
  const step = Math.ceil(n / count / unit) * unit;
  const ranges: Range[] = [];
  for (let from = 0; from < n; from += step) ranges.push([from, Math.min(n, from + step)]);
  return ranges;
}

const rounded = (n: number) => Math.max(BLOCK, Math.floor(n / BLOCK) * BLOCK);

/** The ranges in which one head goes through `keys` keys. */
export function keyRanges(p: AttentionProblem, keys: number, pass: Pass): readonly Range[] {
  if (keys === 0) return [[0, 0]];
  return split(keys, Math.min(MOST_KEYS, rounded(budget.bytes / 2 / widths(p, pass).key)), BLOCK);
}

/** The parts of a call in the order they are computed: parts that share keys follow each other. */
export function* planParts(p: AttentionProblem, pass: Pass): Generator<Part> {
  if (p.B === 0 || p.H === 0) return;
  if (p.packed === undefined) {
    yield* planEntries(p, pass, [0, p.B], p.Lq, p.Lk);
    return;
  }
  const all = { heads: [0, p.H], keyHeads: [0, p.Hkv] } as const;
  const { row, key } = widths(p, pass);
  let [from, bytes] = [0, 0];
  for (let b = 0; b < p.B; b++) {
    const cells = cellBytes(p, pass, [1, p.H, p.Lq, p.Lk]);
    const own = p.H * p.queryCounts[b] * row + p.Hkv * p.keyCounts[b] * key + cells;
    const fits = own <= budget.bytes && keyRanges(p, p.keyCounts[b], pass).length === 1;
    if (b > from && (!fits || bytes + own > budget.bytes)) {
      yield { batches: [from, b], ...all };
      [from, bytes] = [b, 0];
    }
    bytes += own;
    if (fits) continue;
    yield* planEntries(p, pass, [b, b + 1], p.queryCounts[b], p.keyCounts[b]);
    [from, bytes] = [b + 1, 0];
  }
  if (from < p.B) yield { batches: [from, p.B], ...all };
}

/** Parts of batch entries of Lq rows and Lk keys each. */
function* planEntries(
  p: AttentionProblem,
  pass: Pass,
  batches: Range,
  Lq: number,
  Lk: number,
): Generator<Part> {
  if (Lq === 0) return;
  const { H, Hkv } = p;
  const group = H / Hkv;
  const keys = keyRanges(p, Lk, pass);
  const span = keys[0][1];
  const { row, key } = widths(p, pass);
  const bytes = (nb: number, nk: number, nh: number, rows: number) =>
    (p.k.batch === 0 && p.v.batch === 0 ? 1 : nb) * nk * span * key +
    nb * nh * rows * row +
    cellBytes(p, pass, [nb, nh, rows, span]);
  /** The largest n that fits, where bytes grow evenly with n; 0 or less where not even one does. */
  const most = (f: (n: number) => number) => 1 + Math.floor((budget.bytes - f(1)) / (f(2) - f(1)));
  const rows: Range = [0, Lq];
  if (keys.length === 1) {
    const entries = most((n) => bytes(n, Hkv, H, Lq));
    if (entries > 0) {
      for (const [a, b] of split(batches[1] - batches[0], entries)) {
        yield { batches: [batches[0] + a, batches[0] + b], heads: [0, H], keyHeads: [0, Hkv], rows, keys };
      }
      return;
    }
    const groups = most((n) => bytes(1, n, n * group, Lq));
    if (groups > 0) {
      for (let b = batches[0]; b < batches[1]; b++) {
        for (const [a, c] of split(Hkv, groups)) {
          yield { batches: [b, b + 1], heads: [a * group, c * group], keyHeads: [a, c], rows, keys };
        }
      }
      return;
    }
  }
  const heads =
    keys.length === 1
      ? Math.max(
          1,
          most((n) => bytes(1, 1, n, Lq)),
        )
      : 1;
  const fits = bytes(1, 1, heads, Lq) > budget.bytes ? rounded(most((n) => bytes(1, 1, 1, n))) : Lq;
  const blocks = keys.length === 1 ? fits : Math.min(MOST_ROWS, fits);
  for (let b = batches[0]; b < batches[1]; b++) {
    for (let hk = 0; hk < Hkv; hk++) {
      for (const [a, c] of split(group, heads)) {
        for (const own of split(Lq, blocks, BLOCK)) {
          const part = {
            batches: [b, b + 1],
            heads: [hk * group + a, hk * group + c],
            keyHeads: [hk, hk + 1],
            rows: own,
          } as const;
          yield { ...part, keys: attended(p, part, keys) };
        }
      }
    }
  }
}

/** Those ranges of keys that any row of the part may attend to; the first where there is none, for its empty rows. */
function attended(
  p: AttentionProblem,
  { batches: [b], rows }: Part,
  keys: readonly Range[],
): readonly Range[] {
  const [left, right] = p.window;
  const [first, last] = [rows![0] + p.diagonal[b], rows![1] - 1 + p.diagonal[b]];
  const low = left < 0 ? 0 : first - left;
  let high = right < 0 ? p.keyCounts[b] : Math.min(p.keyCounts[b], last + right + 1);
  if (p.causal) high = Math.min(high, last + 1);
  const some = keys.filter(([from, to]) => from < high && to > low);
  return some.length > 0 ? some : keys.slice(0, 1);
}

/** Bytes of mask and bias for one cell, where they have one for each. */
export function bytesPerCell({ mask, bias }: AttentionProblem): number {
  const each = (x: CellTensor | undefined, bytes: number) => (x?.query && x.key ? bytes : 0);
  return each(mask, 1) + each(bias, 4);
}

/**
 * The batch entries of a part, in runs of about a portion's bytes or more; all in one where entries share operands, which
 * would be brought again for each run.
 */
export function portionsOf(p: AttentionProblem, { batches: [first, last], rows, keys }: Part): Range[] {
  const keep = p.dropout && 'keep' in p.dropout ? p.dropout.keep : undefined;
  const shared = [p.k, p.v, p.mask, p.bias, keep].some((x) => x?.batch === 0);
  if (rows === undefined || keys?.length !== 1 || shared) return [[first, last]];
  const { row, key } = widths(p, 'forward');
  const bytes = p.H * p.Lq * row + p.Hkv * p.Lk * key + cellBytes(p, 'forward', [1, p.H, p.Lq, p.Lk]);
  const entries = last - first;
  const most = Math.ceil(entries / Math.max(1, Math.floor((entries * bytes) / portion.bytes)));
  return split(entries, most).map(([from, to]) => [first + from, first + to]);
}
