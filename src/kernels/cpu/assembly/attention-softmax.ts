// The online softmax on the cells [n][8] of one group of rows: each tile's scores become exp(score − maximum so far),
// and what earlier tiles summed is rescaled when the maximum moves. Groups of at most 4 rows leave the upper half alone.
import {
  EXP_SHIFT, LN2_HIGH, LN2_LOW, LOG2E, LOWEST_WEIGHT, MINUS_INFINITY, MINUS_LN2, SIGN, TWO, WEIGHT_2, WEIGHT_3, WEIGHT_4, WEIGHT_5,
} from './constants';
import { exp4 } from './math';
import { fma4 } from './simd';
import { CELLS } from './attention-products';
import { cells, keepCells, rowAux, rowMax, rowSum, slopeCells } from './attention-state';

/**
 * Scores times `factor` (> 0) become weights; −∞ becomes 0. Brings rowMax and rowSum at `offset` bytes up to date and
 * leaves in rowAux what earlier sums must be multiplied by; returns whether any of that is not 1. `fresh`: the rows have
 * met no key before, so there are none.
 */
export function weighCells(n: i32, offset: usize, valid: i32, factor: f32, fresh: bool): bool {
  if (valid <= 4) {
    raiseFour(n, rowMax + offset, rowAux + offset, factor);
    return weighFour(n, offset, fresh);
  }
  raiseEight(n, rowMax + offset, rowAux + offset, factor);
  return weighEight(n, offset, fresh);
}

/**
 * Writes the larger of `before` and the scores' maximum to `after`; multiplies the scores. Two keys at a time, each with
 * maxima of its own, for one chain of them would wait for itself.
 */
function raiseEight(n: i32, before: usize, after: usize, factor: f32): void {
  let a = v128.load(before), b = v128.load(before, 16), a1 = a, b1 = b;
  if (n & 1) {
    // One more, that nobody reads again; n < 128 here, so its cells are there.
    const last = cells + <usize>n * CELLS;
    v128.store(last, MINUS_INFINITY);
    v128.store(last, MINUS_INFINITY, 16);
  }
  const end = cells + <usize>n * CELLS;
  if (factor == 1) {
    for (let c = cells; c < end; c += 2 * CELLS) {
      a = f32x4.pmax(a, v128.load(c));
      b = f32x4.pmax(b, v128.load(c, 16));
      a1 = f32x4.pmax(a1, v128.load(c, 32));
      b1 = f32x4.pmax(b1, v128.load(c, 48));
    }
  } else {
    const f = f32x4.splat(factor);
    for (let c = cells; c < end; c += 2 * CELLS) {
      const s = f32x4.mul(v128.load(c), f), t = f32x4.mul(v128.load(c, 16), f);
      const s1 = f32x4.mul(v128.load(c, 32), f), t1 = f32x4.mul(v128.load(c, 48), f);
      v128.store(c, s);
      v128.store(c, t, 16);
      v128.store(c, s1, 32);
      v128.store(c, t1, 48);
      a = f32x4.pmax(a, s);
      b = f32x4.pmax(b, t);
      a1 = f32x4.pmax(a1, s1);
      b1 = f32x4.pmax(b1, t1);
    }
  }
  v128.store(after, f32x4.pmax(a, a1));
  v128.store(after, f32x4.pmax(b, b1), 16);
}

function raiseFour(n: i32, before: usize, after: usize, factor: f32): void {
  let a = v128.load(before);
  const f = f32x4.splat(factor);
  const end = cells + <usize>n * CELLS;
  for (let c = cells; c < end; c += CELLS) {
    const s = f32x4.mul(v128.load(c), f);
    v128.store(c, s);
    a = f32x4.pmax(a, s);
  }
  v128.store(after, a);
}

// What −∞ is subtracted from a row without any score yet: 0, so that exp(−∞ − 0) is 0.
// @ts-ignore: decorator
@inline function baseOf(most: v128): v128 {
  return v128.andnot(most, f32x4.eq(most, MINUS_INFINITY));
}

/**
 * Four rows' scores, a cell every CELLS bytes, become e^(score − base), and 0 below 2^-125.5; returns their sum. Relative
 * error at most 4e-7, above e^-20 2.5e-7. No score lies above its base, so this is exp4 (in math.ts) without its upper
 * bound, with a polynomial of one degree less, and in the relaxed build with ln2 in one part: n times it is not rounded
 * there. Constants in locals, of which V8 keeps in registers what fits: one half of the rows at a time needs all fifteen.
 */
function weighHalf(from: usize, end: usize, base: v128): v128 {
  const lowest = LOWEST_WEIGHT, log2e = LOG2E, shift = EXP_SHIFT, ln2 = ASC_FEATURE_RELAXED_SIMD ? MINUS_LN2 : LN2_HIGH;
  const p5 = WEIGHT_5, p4 = WEIGHT_4, p3 = WEIGHT_3, p2 = WEIGHT_2, two = TWO;
  let sum = f32x4.splat(0);
  for (let c = from; c < end; c += CELLS) {
    // From here down the exponent field of 2^(n-1) is 0, and with it the product.
    const x = f32x4.pmax(f32x4.sub(v128.load(c), base), lowest);
    const t = fma4(x, log2e, shift);
    const n = f32x4.sub(t, shift);
    let r = fma4(n, ln2, x);
    if (!ASC_FEATURE_RELAXED_SIMD) r = fma4(n, LN2_LOW, r);
    let p = fma4(r, p5, p4);
    p = fma4(p, r, p3);
    p = fma4(p, r, p2);
    p = fma4(p, r, two);
    p = fma4(p, r, two);
    const weight = f32x4.mul(p, i32x4.shl(t, 23));
    v128.store(c, weight);
    sum = f32x4.add(sum, weight);
  }
  return sum;
}

function weighEight(n: i32, offset: usize, fresh: bool): bool {
  const baseA = baseOf(v128.load(rowAux + offset)), baseB = baseOf(v128.load(rowAux + offset, 16));
  const end = cells + <usize>n * CELLS;
  const sumA = weighHalf(cells, end, baseA), sumB = weighHalf(cells + 16, end, baseB);
  if (fresh) {
    begin(offset, sumA);
    begin(offset + 16, sumB);
    return false;
  }
  const moved = update(offset, sumA), movedUpper = update(offset + 16, sumB);
  return moved || movedUpper;
}

function weighFour(n: i32, offset: usize, fresh: bool): bool {
  const base = baseOf(v128.load(rowAux + offset));
  const sum = weighHalf(cells, cells + <usize>n * CELLS, base);
  if (!fresh) return update(offset, sum);
  begin(offset, sum);
  return false;
}

/** Four rows' first statistics. */
// @ts-ignore: decorator
@inline function begin(offset: usize, sum: v128): void {
  v128.store(rowMax + offset, v128.load(rowAux + offset));
  v128.store(rowSum + offset, sum);
}

/** Four rows' statistics from their new maximum, in rowAux, and the tile's sum; leaves the rescale factor in rowAux. */
function update(offset: usize, sum: v128): bool {
  const most = v128.load(rowAux + offset);
  const factor = exp4(f32x4.sub(v128.load(rowMax + offset), baseOf(most)));
  v128.store(rowMax + offset, most);
  v128.store(rowSum + offset, f32x4.add(f32x4.mul(v128.load(rowSum + offset), factor), sum));
  v128.store(rowAux + offset, factor);
  return v128.any_true(f32x4.ne(factor, f32x4.splat(1)));
}

/** c [width][8] times the rescale factors. */
export function rescale(c: usize, width: i32, offset: usize): void {
  const a = v128.load(rowAux + offset), b = v128.load(rowAux + offset, 16);
  const end = c + <usize>width * CELLS;
  for (; c < end; c += CELLS) {
    v128.store(c, f32x4.mul(v128.load(c), a));
    v128.store(c, f32x4.mul(v128.load(c, 16), b), 16);
  }
}

/** Sign marks of the forbidden cells (score −∞; allowed ones lie above it) into slopeCells. */
export function markForbidden(n: i32): void {
  const end = cells + <usize>n * CELLS;
  for (let c = cells; c < end; c += 16) {
    v128.store(c - cells + slopeCells, v128.and(f32x4.eq(v128.load(c), MINUS_INFINITY), SIGN));
  }
}

/** Brings the marks into the weights: a forbidden one becomes −0. */
export function signForbidden(n: i32): void {
  const end = cells + <usize>n * CELLS;
  for (let c = cells; c < end; c += 16) v128.store(c, v128.or(v128.load(c), v128.load(c - cells + slopeCells)));
}

/** Four rows' weights times what finishing left in rowAux: 1/sum, or −0 for empty rows. */
export function divideCells(n: i32, offset: usize): void {
  const f = v128.load(rowAux + offset), from = cells + (offset & 16);
  const end = from + <usize>n * CELLS;
  for (let c = from; c < end; c += CELLS) v128.store(c, f32x4.mul(v128.load(c), f));
}

/** Weights times dropout's factors. */
export function dropCells(n: i32): void {
  const end = cells + <usize>n * CELLS;
  for (let c = cells; c < end; c += 16) v128.store(c, f32x4.mul(v128.load(c), v128.load(c - cells + keepCells)));
}
