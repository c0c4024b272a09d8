// The gradient of a bias that rows or keys share: dBias = Σ ds over the cells of each of its numbers,
//   ds = p·(keep·dO·v − delta),  delta = Σ_j p·keep·dO·v − dLogSumExp,  keep = 0 or 1/(1−rate)
// in float64 throughout, q·k included. Thousands of cells cancel in such a sum, and with them would go what float32 knows:
// the sum over all keys is dLogSumExp's alone. A bias with a number for every row and key is attentionBackward's.
//
// Part: one (batch, head) of the bias; it runs through those it is broadcast to, and through rows, in ascending order. Rows of
// up to 64 keys go through their cells once; longer ones once for their sum and delta and once more for ds. Rows whose
// statistics are merged with other calls' take these and attentionDelta's.
import { argU } from './runtime';
import { CELLS, GROUP, packRows } from './attention-products';
import { startRows } from './attention-backward';
import { cellScale, dropoutCells, packScale, scoreCells } from './attention-cells';
import { DELTA, DLSE, DOUT, rowsOf } from './attention-gradients';
import { WIDE_CELLS, wideExp, wideKeys, wideTanh } from './attention-wide';
import {
  address, B, CHUNK, D, Dv, H, Lk, Lq, SHARED_SLOTS, TILE, bias, cells, decode, diagonal, dropMode, firstKey, hasAlibi, head,
  k, kRow, keepCells, lastKey, q, qRow, queryStart, rowMax, rowSum, scratchRest, selectPair, sink, slope, softcap,
  statAt, v, vRow, wideCells,
} from './attention-state';

const DBIAS: usize = SHARED_SLOTS + 10;
const SUMS: usize = SHARED_SLOTS + 11; // float64, zeros at first, laid out as dBias
const BATCHES: usize = SHARED_SLOTS + 12; // batch entries one owner runs through: 1 or B
const HEADS: usize = SHARED_SLOTS + 13;
const OWN_DELTA: usize = SHARED_SLOTS + 14; // the row statistics are of the call's keys alone, not merged ones

// Scratch: of one group of rows.
let wideGrads: usize = 0; // [TILE][8] float64: keep·dO·v
let totals: usize = 0; // [8] float64: Σ exp(score − rowMax)
let products: usize = 0; // [8] float64: Σ exp(score − rowMax)·keep·dO·v
let inverses: usize = 0; // [8] float64: 1/sum
let deltas: usize = 0; // [8] float64
let queryT: usize = 0; // [D][8]
let gradT: usize = 0; // [Dv][8]

let dOut: usize = 0;
let dOutRow: usize = 0;
/** Sums of the pair's (batch, head). */
let sums: usize = 0;

function layOut(): void {
  wideGrads = scratchRest;
  totals = wideGrads + <usize>TILE * WIDE_CELLS;
  products = totals + 64;
  inverses = totals + 128;
  deltas = totals + 192;
  queryT = deltas + 64;
  gradT = queryT + <usize>D * CELLS;
}

export function attentionBias(args: usize, part: u32): void {
  decode(args);
  layOut();
  const batches: i32 = argU(args, BATCHES), heads: i32 = argU(args, HEADS);
  const b0 = <i32>part / (H / heads) * batches, h0 = <i32>part % (H / heads) * heads;
  dOutRow = address(args, DOUT + 3);
  for (let b = b0; b < b0 + batches; b++) {
    for (let h = h0; h < h0 + heads; h++) {
      selectPair(args, b, h);
      dOut = rowsOf(args, DOUT, queryStart, head);
      sums = address(args, SUMS) + 2 * (bias - address(args, 33));
      for (let row = 0; row < Lq; row += CHUNK) biasChunk(args, row, min(CHUNK, Lq - row));
    }
  }
  roundSums(args);
}

function biasChunk(args: usize, row: i32, rows: i32): void {
  startRows(args, row, rows);
  for (let r0 = 0; r0 < rows; r0 += GROUP) {
    const valid = min(GROUP, rows - r0);
    const from = firstKey(r0, valid), to = lastKey(r0, valid);
    if (from < to) biasGroup(args, row, r0, valid, from, to);
  }
}

/** Eight rows and their keys [from, to). */
function biasGroup(args: usize, row: i32, r0: i32, valid: i32, from: i32, to: i32): void {
  packRows(q + <usize>(row + r0) * qRow, qRow, valid, D, packScale(), queryT);
  packRows(dOut + <usize>(row + r0) * dOutRow, dOutRow, valid, Dv, 1, gradT);
  memory.fill(totals, 0, 128);
  const own = argU(args, OWN_DELTA) != 0;
  if (own) for (let a = from; a < to; a += TILE) weighCells(args, row, r0, valid, a, min(to, a + TILE));
  finishRows(args, row, r0, valid, own);
  for (let a = from; a < to; a += TILE) {
    const b = min(to, a + TILE);
    // What a first pass over a single tile made is still there.
    if (!own || to - from > TILE) weighCells(args, row, r0, valid, a, b);
    for (let r = 0; r < valid; r += 2) addPair(args, row + r0 + r, r, r + 1 < valid, a, b - a);
  }
}

/** exp(score − rowMax) to wideCells and keep·dO·v to wideGrads, 0 where forbidden; `cells` mark these by −∞. */
function weighCells(args: usize, row: i32, r0: i32, valid: i32, a: i32, b: i32): void {
  const n = b - a;
  scoreCells(args, queryT, row, r0, valid, a, b, false);
  wideKeys(queryT, D, k + <usize>a * kRow, kRow, n, wideCells, valid);
  wideKeys(gradT, Dv, v + <usize>a * vRow, vRow, n, wideGrads, valid);
  if (dropMode) dropoutCells(args, row, r0, valid, a, b);
  for (let r = 0; r < valid; r += 2) weighPair(args, row + r0 + r, r0, r, r + 1 < valid, a, n);
}

// @ts-ignore: decorator
@inline function forbiddenAt(c: usize): v128 {
  return f64x2.eq(f64x2.promote_low_f32x4(v128.load64_zero(c)), f64x2.splat(-Infinity));
}

/** Rows i and, if there are `two`, i + 1: lanes r and r + 1 of the group. Adds to their totals and products. */
function weighPair(args: usize, i: i32, r0: i32, r: i32, two: bool, a: i32, n: i32): void {
  const stride: usize = two ? argU(args, 36) : 0, step: usize = argU(args, 37);
  const most = f64x2.promote_low_f32x4(v128.load64_zero(rowMax + (<usize>(r0 + r) << 2)));
  const factor = f64x2.splat(cellScale()), cap = f64x2.splat(softcap), slopes = f64x2.splat(slope);
  let at = bias + <usize>i * argU(args, 36) + <usize>a * step;
  let distance = f64x2.add(f64x2.splat(<f64>i + diagonal - a), f64x2(0, 1));
  const lane = <usize>r << 3;
  let total = v128.load(totals + lane), product = v128.load(products + lane);
  let c = <usize>r << 2, w = lane;
  for (let j = 0; j < n; j++) {
    let s = f64x2.mul(v128.load(wideCells + w), factor);
    if (softcap != 0) s = f64x2.mul(cap, wideTanh(f64x2.div(s, cap)));
    if (hasAlibi) s = f64x2.sub(s, f64x2.mul(slopes, f64x2.abs(distance)));
    s = f64x2.add(s, f64x2(load<f32>(at), load<f32>(at + stride)));
    const forbidden = forbiddenAt(cells + c);
    const e = v128.andnot(wideExp(f64x2.sub(s, most)), forbidden);
    let dp = v128.andnot(v128.load(wideGrads + w), forbidden);
    if (dropMode) dp = f64x2.mul(dp, f64x2.promote_low_f32x4(v128.load64_zero(keepCells + c)));
    total = f64x2.add(total, e);
    product = f64x2.add(product, f64x2.mul(e, dp));
    v128.store(wideCells + w, e);
    v128.store(wideGrads + w, dp);
    distance = f64x2.sub(distance, f64x2.splat(1));
    at += step;
    c += CELLS;
    w += WIDE_CELLS;
  }
  v128.store(totals + lane, total);
  v128.store(products + lane, product);
}

/** The rows' 1/sum and delta. */
function finishRows(args: usize, row: i32, r0: i32, valid: i32, own: bool): void {
  const known = address(args, own ? DLSE : DELTA);
  for (let r = 0; r < valid; r++) {
    const x: f64 = known ? load<f32>(statAt(known, row + r0 + r)) : 0;
    const at = <usize>(r0 + r) << 2, lane = <usize>r << 3;
    let inverse: f64 = load<f32>(rowSum + at);
    if (own && inverse != 0) {
      const rest = f64x2.extract_lane(wideExp(f64x2.splat(<f64>sink - load<f32>(rowMax + at))), 0);
      inverse = 1 / (load<f64>(totals + lane) + rest);
    }
    store<f64>(deltas + lane, own ? load<f64>(products + lane) * inverse - x : x);
    store<f64>(inverses + lane, inverse);
  }
}

/** Adds the cells of the lanes r and, if there are `two`, r + 1 to their numbers' sums. */
function addPair(args: usize, i: i32, r: i32, two: bool, a: i32, n: i32): void {
  const stride = 2 * address(args, 36), step = 2 * address(args, 37);
  const lane = <usize>r << 3;
  const inverse = v128.load(inverses + lane), delta = v128.load(deltas + lane);
  let to = sums + <usize>i * stride + <usize>a * step;
  let c = <usize>r << 2, w = lane;
  for (let j = 0; j < n; j++) {
    const p = f64x2.mul(v128.load(wideCells + w), inverse);
    const ds = v128.andnot(f64x2.mul(p, f64x2.sub(v128.load(wideGrads + w), delta)), forbiddenAt(cells + c));
    store<f64>(to, load<f64>(to) + f64x2.extract_lane(ds, 0));
    if (two) store<f64>(to + stride, load<f64>(to + stride) + f64x2.extract_lane(ds, 1));
    to += step;
    c += CELLS;
    w += WIDE_CELLS;
  }
}

/** The owner's sums to dBias. */
function roundSums(args: usize): void {
  const stride = address(args, 36), step = address(args, 37);
  const dBias = address(args, DBIAS) + (bias - address(args, 33));
  const rows = stride == 0 ? min(1, Lq) : Lq, keys = step == 0 ? min(1, Lk) : Lk;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < keys; j++) {
      const at = <usize>i * stride + <usize>j * step;
      store<f32>(dBias + at, <f32>load<f64>(sums + 2 * at));
    }
  }
}
