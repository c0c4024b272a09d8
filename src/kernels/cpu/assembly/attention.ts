// Attention forward in O(N) memory, after Milakov & Gimelshein (online softmax) and Dao et al. (FlashAttention):
// output [Lq,Dv], rowMax, rowSum and logSumExp [Lq] of each (batch, head), with every option of the contract; and
// attentionWeights, which recomputes any tile of weights from rowMax and rowSum.
//
// Part: `perPart` consecutive units; unit = (batch, head, chunk of 64 query rows), chunks fastest. Within a unit, key
// tiles of 64 ascend; within a tile, groups of 8 rows. Sums run over d, over j within a tile, then over tiles:
// the order follows from lengths alone. rowMax and rowSum include the sink:
//   rowMax = max(sink, max_j score)    rowSum = exp(sink − rowMax) + Σ_j exp(score − rowMax)
// An empty row has rowMax −∞ and rowSum 0, or the sink and 1.
import { argU } from './runtime';
import { expScore, logScore4 } from './attention-math';
import { MINUS_INFINITY, SIGN } from './constants';
import { exp4 } from './math';
import { CELLS, GROUP, packRows, rowProduct } from './attention-products';
import { clearRows, stageRows, stagedStride, writeRow } from './attention-rows';
import { dropoutCells, packScale, scoreCells } from './attention-cells';
import {
  address, B, CHUNK, D, Dv, H, LOWEST, Lq, SHARED_SLOTS, TILE, batch, boundRows, cells, decode, dropMode, firstKey, head, keepCells,
  lastKey, q, qRow, queryStart, rowAux, rowMax, rowSum, scratchRest, selectPair, sink, statAt, statRow, v, vRow, warmPair, words,
} from './attention-state';

// The forward's own scratch.
let queryT: usize = 0; // [groups][D][8]
let sums: usize = 0; // [CHUNK][padded Dv]
let sumRow: usize = 0;
let valueCopy: usize = 0; // [TILE][padded Dv] where Dv is not a multiple of 8

function layOut(): void {
  sumRow = <usize>((Dv + 7) & ~7) * 4;
  sums = scratchRest;
  queryT = sums + <usize>CHUNK * sumRow;
  valueCopy = queryT + <usize>D * CHUNK * 4;
}

export function attentionForward(args: usize, part: u32): void {
  decode(args);
  layOut();
  const chunks = <u32>(argU(args, 15) + CHUNK - 1) / CHUNK;
  const perPart = argU(args, 58);
  const end = min((part + 1) * perPart, <u32>B * H * chunks);
  let pair: u32 = 0xffffffff;
  for (let unit = part * perPart; unit < end; unit++) {
    const own = unit / chunks;
    if (own != pair) {
      pair = own;
      selectPair(args, pair / H, pair % H);
      warmPair(args);
    }
    const from = <i32>(unit % chunks) * CHUNK;
    if (from < Lq) forwardChunk(args, from, min(CHUNK, Lq - from));
  }
}

function forwardChunk(args: usize, from: i32, rows: i32): void {
  startRows(from, rows);
  const first = firstKey(0, rows), last = lastKey(0, rows);
  for (let tile = first & ~(TILE - 1); tile < last; tile += TILE) {
    const tileEnd = min(tile + TILE, last);
    const values = stageRows(v + <usize>tile * vRow, vRow, tileEnd - tile, Dv, valueCopy);
    for (let r0 = 0; r0 < rows; r0 += GROUP) {
      const valid = min(GROUP, rows - r0);
      // Keys nobody in the group may attend to are left out, in whole steps of 4 from the tile's start.
      const a = max(tile, firstKey(r0, valid) & ~3), b = min(tileEnd, lastKey(r0, valid));
      if (a < b) forwardGroup(args, from, r0, valid, a, b, values + <usize>(a - tile) * stagedStride(vRow, Dv));
    }
  }
  for (let r = 0; r < rows; r += 4) finishRows(args, from + r, r, min(4, rows - r));
}

function startRows(from: i32, rows: i32): void {
  boundRows(from, rows);
  for (let r = 0; r < rows; r += GROUP) {
    packRows(q + <usize>(from + r) * qRow, qRow, min(GROUP, rows - r), D, packScale(), queryT + <usize>(r * D) * 4);
  }
  for (let r: usize = 0; r < <usize>CHUNK * 4; r += 16) {
    v128.store(rowMax + r, f32x4.splat(-Infinity));
    v128.store(rowSum + r, f32x4.splat(0));
  }
  clearRows(sums, sumRow, (rows + 7) & ~7, <i32>(sumRow >> 2));
}

/** One group of rows against keys [a, b) of a tile: scores, softmax, dropout, values. */
function forwardGroup(args: usize, from: i32, r0: i32, valid: i32, a: i32, b: i32, values: usize): void {
  const n = b - a;
  scoreCells(args, queryT + <usize>(r0 * D) * 4, from, r0, valid, a, b, false);
  const offset = <usize>r0 << 2;
  softmaxCells(n, offset);
  if (valid > 4) softmaxCells(n, offset + 16);
  if (dropMode) {
    dropoutCells(args, from, r0, valid, a, b);
    const end = cells + <usize>n * CELLS;
    for (let c = cells; c < end; c += 16) v128.store(c, f32x4.mul(v128.load(c), v128.load(c - cells + keepCells)));
  }
  const to = sums + <usize>r0 * sumRow;
  rowProduct(cells, CELLS, 0, n, values, stagedStride(vRow, Dv), to, sumRow, Dv, rowAux + offset, valid);
}

/** Four rows' cells become exp(score − max), forbidden ones −0; brings maximum, sum and rescale factor up to date. */
function softmaxCells(n: i32, offset: usize): void {
  const from = cells + (offset & 16);
  const end = from + <usize>n * CELLS;
  const before = v128.load(rowMax + offset);
  let most = before;
  for (let c = from; c < end; c += CELLS) most = f32x4.pmax(most, v128.load(c));
  const none = MINUS_INFINITY;
  const base = v128.bitselect(f32x4.splat(0), most, f32x4.eq(most, none));
  const factor = exp4(f32x4.sub(before, base));
  let sum = f32x4.splat(0);
  for (let c = from; c < end; c += CELLS) {
    const s = v128.load(c);
    const p = exp4(f32x4.sub(s, base));
    sum = f32x4.add(sum, p);
    v128.store(c, v128.or(p, v128.and(f32x4.eq(s, none), SIGN)));
  }
  v128.store(rowMax + offset, most);
  v128.store(rowSum + offset, f32x4.add(f32x4.mul(v128.load(rowSum + offset), factor), sum));
  v128.store(rowAux + offset, factor);
}

/** Adds the sink, divides by the sum and writes `valid` of four rows and their statistics. */
function finishRows(args: usize, i: i32, r: i32, valid: i32): void {
  const at = <usize>r << 2;
  let most = v128.load(rowMax + at), sum = v128.load(rowSum + at);
  // Empty: all scores are −∞ or forbidden (NaN scores leave NaN in the sum).
  const empty = v128.and(f32x4.le(most, f32x4.splat(LOWEST)), f32x4.eq(sum, sum));
  let factor = f32x4.splat(1);
  const s = f32x4.splat(sink);
  if (sink != -Infinity) {
    const top = f32x4.pmax(most, s);
    factor = exp4(f32x4.sub(most, top));
    sum = f32x4.add(f32x4.mul(sum, factor), exp4(f32x4.sub(s, top)));
    most = top;
  }
  most = v128.bitselect(s, most, empty);
  sum = v128.bitselect(f32x4.splat(sink == -Infinity ? 0 : 1), sum, empty);
  const lse = v128.bitselect(s, f32x4.add(most, logScore4(sum)), empty);
  v128.store(rowMax + at, most);
  v128.store(rowSum + at, sum);
  v128.store(rowAux + at, v128.bitselect(SIGN, f32x4.div(factor, sum), empty));
  v128.store(words, lse);
  writeFinished(args, i, r, valid);
}

function writeFinished(args: usize, i: i32, r: i32, valid: i32): void {
  const stride = address(args, SHARED_SLOTS + 3);
  const out = address(args, SHARED_SLOTS) + outBatch(args) + <usize>i * stride;
  const most = statAt(address(args, 55), i), sum = statAt(address(args, 56), i), lse = statAt(address(args, 57), i);
  for (let n = 0; n < valid; n++) {
    const at = <usize>(r + n) << 2;
    const to = out + <usize>n * stride, step = <usize>n * statRow;
    const factor = load<f32>(rowAux + at);
    // An empty row's sums may hold what must not show: its factor −0 selects 0.
    if (reinterpret<i32>(factor) == <i32>0x80000000) clearRows(to, 0, 1, Dv);
    else writeRow(sums + <usize>(r + n) * sumRow, to, Dv, factor);
    store<f32>(most + step, load<f32>(rowMax + at));
    store<f32>(sum + step, load<f32>(rowSum + at));
    store<f32>(lse + step, load<f32>(words + (<usize>n << 2)));
  }
}

function outBatch(args: usize): usize {
  const b = argU(args, 53) ? <usize>queryStart * address(args, SHARED_SLOTS + 3) : <usize>batch * address(args, SHARED_SLOTS + 1);
  return b + <usize>head * address(args, SHARED_SLOTS + 2);
}

/**
 * Weights of rows [from, to) and keys [first, last) of one (batch, head), [to − from, last − first]: the forward's
 * exp(score − rowMax)/rowSum, before dropout, 0 where forbidden. Part: 64 rows. Slots after the shared ones: out,
 * batch, head, from, to, first, last.
 */
export function attentionWeights(args: usize, part: u32): void {
  decode(args);
  layOut();
  selectPair(args, argU(args, SHARED_SLOTS + 1), argU(args, SHARED_SLOTS + 2));
  const start = <i32>argU(args, SHARED_SLOTS + 3) + <i32>part * CHUNK;
  const rows = min(CHUNK, <i32>argU(args, SHARED_SLOTS + 4) - start);
  const first = <i32>argU(args, SHARED_SLOTS + 5), last = <i32>argU(args, SHARED_SLOTS + 6);
  const outRow = <usize>(last - first) * 4;
  const out: usize = address(args, SHARED_SLOTS) + <usize>part * <usize>CHUNK * outRow;
  memory.fill(out, 0, <usize>rows * outRow);
  startRows(start, rows);
  for (let r0 = 0; r0 < rows; r0 += GROUP) {
    const valid = min(GROUP, rows - r0);
    const low = max(first, firstKey(r0, valid)), high = min(last, lastKey(r0, valid));
    for (let a = low; a < high; a += TILE) {
      const b = min(a + TILE, high);
      scoreCells(args, queryT + <usize>(r0 * D) * 4, start, r0, valid, a, b, false);
      for (let r = 0; r < valid; r++) {
        writeWeights(args, start + r0 + r, r, b - a, out + <usize>(r0 + r) * outRow + (<usize>(a - first) << 2));
      }
    }
  }
}

function writeWeights(args: usize, i: i32, r: i32, n: i32, to: usize): void {
  const most = load<f32>(statAt(address(args, 55), i)), sum = load<f32>(statAt(address(args, 56), i));
  if (sum == 0) return;
  let c = cells + (<usize>r << 2);
  for (let j = 0; j < n; j++) {
    const s = load<f32>(c);
    if (s != -Infinity) store<f32>(to + (<usize>j << 2), expScore(s - most) / sum);
    c += CELLS;
  }
}
