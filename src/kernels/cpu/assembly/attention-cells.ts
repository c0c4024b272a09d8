// Passes over the cells [n][8] of one group of rows and one range of keys, between the products:
// scale, softcap, ALiBi, bias, forbidden cells, dropout.
import { fma4 } from './simd';
import { argU } from './runtime';
import { tanh4, tanhSlope4 } from './attention-math';
import { LOWEST4, MINUS_INFINITY } from './constants';
import { philox8 } from './philox';
import { CELLS } from './attention-products';
import { scoreKeys } from './attention-tiles';
import { roundFour, wideKeys, wideTanh } from './attention-wide';
import {
  batch, bias, cells, diagonal, dropMode, dropScale, dropThreshold, hasAlibi, head, k, kRow, keep, keepCells,
  keyOffset, mask, rowHigh, rowLow, scale, seedHigh, seedLow, sharp, slope, slopeCells, softcap, wideCells, words, D,
} from './attention-state';

/**
 * The sign and power of two of a scale up to 1: q is packed times it, so that q·k does not overflow where scale·q·k
 * fits, and nothing is rounded. What remains of the scale multiplies the cells.
 */
export function packScale(): f32 {
  if (abs(scale) > 1) return scale > 0 ? 1 : -1;
  const power = reinterpret<f32>(reinterpret<u32>(scale) & 0xff800000);
  return power == 0 ? scale : power;
}

/** What remains: > 0. */
export function cellScale(): f32 {
  const packed = packScale();
  return packed == 0 ? 1 : scale / packed;
}

/** q·k of keys [from, from + n) to the cells, but for the factor that is returned; where it is `sharp`, after the softcap. */
function multiply(qT: usize, from: i32, n: i32, valid: i32, slopes: bool): f32 {
  const y = k + <usize>from * kRow;
  if (!sharp) {
    scoreKeys(qT, D, y, kRow, n, cells, valid);
    return cellScale();
  }
  wideKeys(qT, D, y, kRow, n, wideCells, valid);
  if (softcap != 0) capWide(n, slopes);
  const factor: f32 = softcap != 0 ? 1 : cellScale();
  roundFour(wideCells, n, factor, cells);
  if (valid > 4) roundFour(wideCells + 32, n, factor, cells + 16);
  return 1;
}

function capWide(n: i32, slopes: bool): void {
  const factor = f64x2.splat(<f64>cellScale() / softcap), cap = f64x2.splat(softcap);
  let to = slopeCells;
  for (const end = to + <usize>n * CELLS; to < end; to += 16) {
    const at = wideCells + 2 * (to - slopeCells);
    const a = f64x2.mul(v128.load(at), factor), b = f64x2.mul(v128.load(at, 16), factor);
    v128.store(at, f64x2.mul(cap, wideTanh(a)));
    v128.store(at, f64x2.mul(cap, wideTanh(b)), 16);
    if (!slopes) continue;
    v128.store(to, tanhSlope4(v128.shuffle<i64>(f32x4.demote_f64x2_zero(a), f32x4.demote_f64x2_zero(b), 0, 2)));
  }
}

/**
 * Scores of keys [from, to) for the group at rows r0 of the chunk that starts at row `chunk`; `valid` of its rows
 * exist. Forbidden cells become −∞, allowed ones stay above it. With `slopes`, d(score)/d(q·k) goes to slopeCells.
 */
export function scoreCells(
  args: usize, qT: usize, chunk: i32, r0: i32, valid: i32, from: i32, to: i32, slopes: bool,
): void {
  const n = to - from;
  const padded = (n + 3) & ~3;
  let factor = multiply(qT, from, n, valid, slopes);
  if (softcap != 0 || hasAlibi || bias) {
    shapeScores(padded, factor, slopes);
    factor = 1;
  }
  if (hasAlibi) addAlibi(chunk + r0 + diagonal - from, padded);
  if (bias) addBias(args, chunk + r0, valid, from, n);
  if (allWithin(r0, from, from + padded)) liftLowest(padded, factor);
  else forbidOutside(r0, from, padded, factor);
  if (bias) forbidBias(args, chunk + r0, valid, from, n);
  if (mask) forbidMask(args, chunk + r0, valid, from, n);
}

/** Whether some row of the group may not attend to some key of [from, to). */
export function anyForbidden(r0: i32, from: i32, to: i32): bool {
  return mask != 0 || bias != 0 || !allWithin(r0, from, to);
}

/**
 * The same scores but for a factor > 0 that is returned, and allowed ones may be −∞ too: for a softmax that need not
 * tell these from forbidden ones.
 */
export function rawScores(args: usize, qT: usize, chunk: i32, r0: i32, valid: i32, from: i32, to: i32): f32 {
  const n = to - from;
  let factor = multiply(qT, from, n, valid, false);
  if (softcap != 0 || hasAlibi || bias) {
    shapeScores(n, factor, false);
    factor = 1;
  }
  if (hasAlibi) addAlibi(chunk + r0 + diagonal - from, n);
  if (bias) addBias(args, chunk + r0, valid, from, n);
  if (!allWithin(r0, from, to)) forbidEdges(r0, from, to);
  if (bias) forbidBias(args, chunk + r0, valid, from, n);
  if (mask) forbidMask(args, chunk + r0, valid, from, n);
  return factor;
}

function shapeScores(n: i32, factor: f32, slopes: bool): void {
  const end = cells + <usize>n * CELLS;
  const f = f32x4.splat(factor);
  for (let c = cells; c < end; c += 16) v128.store(c, f32x4.mul(v128.load(c), f));
  if (softcap == 0 || sharp) return;
  const cap = f32x4.splat(softcap);
  for (let c = cells; c < end; c += 16) {
    const x = f32x4.div(v128.load(c), cap);
    v128.store(c, f32x4.mul(cap, tanh4(x)));
    if (slopes) v128.store(c - cells + slopeCells, tanhSlope4(x));
  }
}

/** −slope·|i + o − j|; `own` is i + o − j for the first row and key. */
function addAlibi(own: i32, n: i32): void {
  const f = f32x4.splat(-slope);
  let d = i32x4.add(i32x4.splat(own), i32x4(0, 1, 2, 3));
  const end = cells + <usize>n * CELLS;
  for (let c = cells; c < end; c += CELLS) {
    const a = f32x4.convert_i32x4_s(i32x4.abs(d));
    const b = f32x4.convert_i32x4_s(i32x4.abs(i32x4.add(d, i32x4.splat(4))));
    v128.store(c, fma4(f, a, v128.load(c)));
    v128.store(c, fma4(f, b, v128.load(c, 16)), 16);
    d = i32x4.sub(d, i32x4.splat(1));
  }
}

function addBias(args: usize, row: i32, valid: i32, from: i32, n: i32): void {
  const stride: usize = argU(args, 36), step: usize = argU(args, 37);
  for (let r = 0; r < valid; r++) {
    let at = bias + <usize>(row + r) * stride + <usize>from * step;
    let c = cells + (<usize>r << 2);
    for (let j = 0; j < n; j++) {
      store<f32>(c, load<f32>(c) + load<f32>(at));
      c += CELLS;
      at += step;
    }
  }
}

function forbidBias(args: usize, row: i32, valid: i32, from: i32, n: i32): void {
  const stride: usize = argU(args, 36), step: usize = argU(args, 37);
  for (let r = 0; r < valid; r++) {
    let at = bias + <usize>(row + r) * stride + <usize>from * step;
    let c = cells + (<usize>r << 2);
    for (let j = 0; j < n; j++) {
      if (load<f32>(at) == -Infinity) store<f32>(c, -Infinity);
      c += CELLS;
      at += step;
    }
  }
}

function forbidMask(args: usize, row: i32, valid: i32, from: i32, n: i32): void {
  const stride: usize = argU(args, 31), step: usize = argU(args, 32);
  for (let r = 0; r < valid; r++) {
    let at = mask + <usize>(row + r) * stride + <usize>from * step;
    let c = cells + (<usize>r << 2);
    for (let j = 0; j < n; j++) {
      if (load<u8>(at) == 0) store<f32>(c, -Infinity);
      c += CELLS;
      at += step;
    }
  }
}

/** Scales; allowed scores stay above −∞, which marks forbidden cells. */
function liftLowest(n: i32, factor: f32): void {
  const f = f32x4.splat(factor), lowest = LOWEST4;
  const end = cells + <usize>n * CELLS;
  for (let c = cells; c < end; c += 16) v128.store(c, f32x4.pmax(f32x4.mul(v128.load(c), f), lowest));
}

function allWithin(r0: i32, from: i32, to: i32): bool {
  const low = rowLow + (<usize>r0 << 2), high = rowHigh + (<usize>r0 << 2);
  const below = v128.or(i32x4.gt_s(v128.load(low), i32x4.splat(from)), i32x4.gt_s(v128.load(low, 16), i32x4.splat(from)));
  const above = v128.or(i32x4.lt_s(v128.load(high), i32x4.splat(to)), i32x4.lt_s(v128.load(high, 16), i32x4.splat(to)));
  return !v128.any_true(v128.or(below, above));
}

/** Forbids cells outside the rows' ranges of keys: those before the last row begins and after the first ends. */
function forbidEdges(r0: i32, from: i32, to: i32): void {
  let all = from, none = to;
  for (let r = r0; r < r0 + 8; r++) {
    all = max(all, load<i32>(rowLow + (<usize>r << 2)));
    none = min(none, load<i32>(rowHigh + (<usize>r << 2)));
  }
  all = min(all, to);
  forbidKeys(r0, from, from, all);
  forbidKeys(r0, from, max(all, none), to);
}

/** Forbids cells outside the rows' ranges among keys [first, last); cells begin with key `from`. */
function forbidKeys(r0: i32, from: i32, first: i32, last: i32): void {
  const low = rowLow + (<usize>r0 << 2), high = rowHigh + (<usize>r0 << 2);
  const lowA = v128.load(low), lowB = v128.load(low, 16), highA = v128.load(high), highB = v128.load(high, 16);
  let j = i32x4.splat(first);
  const end = cells + <usize>(last - from) * CELLS;
  for (let c = cells + <usize>(first - from) * CELLS; c < end; c += CELLS) {
    const a = v128.and(i32x4.ge_s(j, lowA), i32x4.lt_s(j, highA));
    const b = v128.and(i32x4.ge_s(j, lowB), i32x4.lt_s(j, highB));
    v128.store(c, v128.bitselect(v128.load(c), MINUS_INFINITY, a));
    v128.store(c, v128.bitselect(v128.load(c, 16), MINUS_INFINITY, b), 16);
    j = i32x4.add(j, i32x4.splat(1));
  }
}

/** Scales and lifts as liftLowest, and forbids cells outside the rows' ranges of keys. */
function forbidOutside(r0: i32, from: i32, n: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  const low = rowLow + (<usize>r0 << 2), high = rowHigh + (<usize>r0 << 2);
  const lowA = v128.load(low), lowB = v128.load(low, 16), highA = v128.load(high), highB = v128.load(high, 16);
  const forbidden = MINUS_INFINITY, lowest = LOWEST4;
  let j = i32x4.splat(from);
  const end = cells + <usize>n * CELLS;
  for (let c = cells; c < end; c += CELLS) {
    const a = v128.and(i32x4.ge_s(j, lowA), i32x4.lt_s(j, highA));
    const b = v128.and(i32x4.ge_s(j, lowB), i32x4.lt_s(j, highB));
    v128.store(c, v128.bitselect(f32x4.pmax(f32x4.mul(v128.load(c), f), lowest), forbidden, a));
    v128.store(c, v128.bitselect(f32x4.pmax(f32x4.mul(v128.load(c, 16), f), lowest), forbidden, b), 16);
    j = i32x4.add(j, i32x4.splat(1));
  }
}

/** keepCells[j][r] = 1/(1−rate) where dropout keeps the cell, else 0, for keys [from, to) (and up to 7 more). */
export function dropoutCells(args: usize, chunk: i32, r0: i32, valid: i32, from: i32, to: i32): void {
  if (dropMode == 2) return keepMaskCells(args, chunk + r0, valid, from, to);
  // The call may be a part: its first batch entry, head and query within the whole come with it.
  const rows = i32x4.add(i32x4.splat(chunk + r0 + argU(args, 61)), i32x4(0, 1, 2, 3));
  const later = i32x4.add(rows, i32x4.splat(4));
  const b = i32x4.splat(batch + argU(args, 59)), h = i32x4.splat(head + argU(args, 60));
  let block = <u32>(from + keyOffset) >> 2;
  let skip: i32 = (from + keyOffset) & 3;
  let c = keepCells;
  const end = keepCells + <usize>(to - from) * CELLS;
  // Eight blocks are a key quad of all eight rows, or two quads of the lower four.
  while (c < end) {
    const first = i32x4.splat(block);
    if (valid > 4) {
      philox8(first, rows, first, later, h, b, seedLow, seedHigh, words);
      storeKept(words, skip, c);
      c = storeKept(words + 64, skip, c + 16) - 16;
      block += 1;
    } else {
      philox8(first, rows, i32x4.add(first, i32x4.splat(1)), rows, h, b, seedLow, seedHigh, words);
      c = storeKept(words, skip, c);
      c = storeKept(words + 64, 0, c);
      block += 2;
    }
    skip = 0;
  }
}

/** Factors of four rows' words `from` to 3, one key after the other; returns where the next key's go. */
// @ts-ignore: decorator
@inline function storeKept(at: usize, from: i32, c: usize): usize {
  const factor = f32x4.splat(dropScale), threshold = i32x4.splat(dropThreshold);
  for (let w = from; w < 4; w++) {
    v128.store(c, v128.and(factor, i32x4.ge_s(i32x4.shr_u(v128.load(at + (<usize>w << 4)), 8), threshold)));
    c += CELLS;
  }
  return c;
}

function keepMaskCells(args: usize, row: i32, valid: i32, from: i32, to: i32): void {
  const stride: usize = argU(args, 51), step: usize = argU(args, 52);
  for (let r = 0; r < 8; r++) {
    let at = keep + <usize>(row + min(r, valid - 1)) * stride + <usize>from * step;
    let c = keepCells + (<usize>r << 2);
    for (let j = from; j < to; j++) {
      store<f32>(c, load<u8>(at) ? dropScale : 0);
      c += CELLS;
      at += step;
    }
  }
}
