// Attention forward in O(N) memory, after Milakov & Gimelshein (online softmax) and Dao et al. (FlashAttention):
// output [Lq,Dv], rowMax, rowSum and logSumExp [Lq] of each (batch, head), with every option of the contract; and
// attentionWeights, which recomputes any tile of weights from rowMax and rowSum.
//
// Part: `perPart` consecutive units; unit = (batch, head, chunk of 64 query rows), chunks fastest. Within a unit, key
// tiles of 128 ascend; within a tile, groups of 8 rows. Sums run over d, over j within a tile, then over tiles:
// the order follows from lengths alone. rowMax and rowSum include the sink:
//   rowMax = max(sink, max_j score)    rowSum = exp(sink − rowMax) + Σ_j exp(score − rowMax)
// An empty row has rowMax −∞ and rowSum 0, or the sink and 1.
import { argU } from './runtime';
import { expScore, logScore4 } from './attention-math';
import { LOWEST4, MINUS_INFINITY, SIGN } from './constants';
import { exp4 } from './math';
import { CELLS, GROUP, packRows, rowProduct } from './attention-products';
import { clearRow, copyRows, stageRows, stagedStride, unpackRows } from './attention-rows';
import { anyForbidden, dropoutCells, packScale, rawScores, scoreCells } from './attention-cells';
import { divideCells, dropCells, markForbidden, rescale, signForbidden, weighCells } from './attention-softmax';
import { addContext, addContextByCell, allFinite } from './attention-tiles';
import {
  address, B, CHUNK, D, Dv, FORWARD_TILE, H, Lq, SHARED_SLOTS, TILE, batch, boundRows, cells, decode, dropMode, firstKey, head,
  lastKey, q, qRow, queryStart, rowAux, rowMax, rowSum, scratchRest, selectPair, sink, slopeCells, statAt, statRow, v, vRow,
  warmPair, words,
} from './attention-state';

// @ts-ignore: decorator
@inline const FEW_KEYS: i32 = 32;

// The forward's own scratch.
let queryT: usize = 0; // [groups][D][8]
let sums: usize = 0; // [groups][padded Dv][8]
let zeros: usize = 0; // [8][8]
let valueCopy: usize = 0; // [FORWARD_TILE][padded Dv] where Dv is not a multiple of 8

// The tile at work: its values as the products read them, and whether all are finite (−1: not looked yet).
let values: usize = 0;
let finite: i32 = -1;

function layOut(): void {
  sums = scratchRest;
  queryT = sums + <usize>CHUNK * ((Dv + 7) & ~7) * 4;
  zeros = queryT + <usize>D * CHUNK * 4;
  valueCopy = zeros + 8 * CELLS;
  clearRow(zeros, 64);
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
  const first = firstKey(0, rows) & ~(TILE - 1), last = lastKey(0, rows);
  const few = last - first <= FEW_KEYS;
  for (let tile = first; tile < last; tile += FORWARD_TILE) {
    const end = min(tile + FORWARD_TILE, last);
    values = stageRows(v + <usize>tile * vRow, vRow, end - tile, Dv, valueCopy);
    finite = -1;
    for (let r0 = 0; r0 < rows; r0 += GROUP) {
      if (few) attendFew(args, from, r0, min(GROUP, rows - r0), tile, end);
      else attendGroup(args, from, r0, min(GROUP, rows - r0), tile, end);
    }
  }
  if (few && first < last) return;
  for (let r = 0; r < rows; r += 4) finishRows(args, from + r, r, min(4, rows - r));
}

/** One group of rows and the keys of a tile, [tile, end). */
function attendGroup(args: usize, from: i32, r0: i32, valid: i32, tile: i32, end: i32): void {
  // Keys nobody in the group may attend to are left out.
  const first = firstKey(r0, valid);
  const a = max(tile, first), b = min(end, lastKey(r0, valid)), n = b - a;
  if (n <= 0) return;
  const stride = stagedStride(vRow, Dv), y = values + <usize>(a - tile) * stride;
  const width = (Dv + 7) & ~7, c = sums + <usize>(r0 * width) * 4;
  const leaks = mayLeak(r0, a, b, tile, end), fresh = first >= tile;
  const moved = weighGroup(args, from, r0, valid, a, b, leaks, fresh);
  if (moved) rescale(c, width, <usize>r0 << 2);
  if (leaks) {
    if (fresh) clearRow(c, width * GROUP);
    addContextByCell(cells, slopeCells, n, y, stride, width, c);
  } else addContext(cells, n, y, stride, width, fresh ? zeros : 0, c, valid);
}

/**
 * The same where all keys of the chunk are these few: weights are divided before they meet the values, and rows of the
 * output are made in place, for turning sums [Dv][8] would cost more than their wider tiles save.
 */
function attendFew(args: usize, from: i32, r0: i32, valid: i32, tile: i32, end: i32): void {
  const a = max(tile, firstKey(r0, valid)), b = min(end, lastKey(r0, valid));
  if (a < b) {
    const leaks = mayLeak(r0, a, b, tile, end);
    weighGroup(args, from, r0, valid, a, b, leaks, true);
    if (leaks) signForbidden(b - a);
  }
  for (let r = r0; r < r0 + valid; r += 4) {
    const count = min(4, r0 + valid - r);
    finishStatistics(args, from + r, r, count);
    if (a < b) {
      divideCells(b - a, <usize>r << 2);
      contextRows(args, from + r, r, count, b - a, values + <usize>(a - tile) * stagedStride(vRow, Dv));
    }
    clearEmpty(args, from + r, r, count);
  }
}

/** Writes up to four rows of the output: in place where that writes no other row. */
function contextRows(args: usize, i: i32, r: i32, count: i32, n: i32, y: usize): void {
  const row = address(args, SHARED_SLOTS + 3), to = outputRow(args, i), stride = stagedStride(vRow, Dv);
  const p = cells + ((<usize>r << 2) & 16);
  if (count == 4 && (Dv & 7) == 0) return rowProduct(p, CELLS, n, y, stride, to, row, Dv);
  const sumRow = <usize>((Dv + 7) & ~7) * 4;
  rowProduct(p, CELLS, n, y, stride, sums, sumRow, Dv);
  copyRows(sums, sumRow, to, row, count, Dv);
}

/** Whether a forbidden cell's weight of 0 would not hide its value: some value of the tile is not finite. */
function mayLeak(r0: i32, a: i32, b: i32, tile: i32, end: i32): bool {
  return anyForbidden(r0, a, b) && !valuesFinite(end - tile, (Dv + 7) & ~7);
}

/**
 * One group of rows against keys [a, b): cells become weights, times dropout's factors; if `leaks`, slopeCells marks
 * the forbidden ones. Returns whether earlier sums must be rescaled.
 */
function weighGroup(
  args: usize, from: i32, r0: i32, valid: i32, a: i32, b: i32, leaks: bool, fresh: bool,
): bool {
  const qT = queryT + <usize>(r0 * D) * 4;
  let factor: f32 = 1;
  if (leaks) {
    scoreCells(args, qT, from, r0, valid, a, b, false);
    markForbidden(b - a);
  } else factor = rawScores(args, qT, from, r0, valid, a, b);
  const moved = weighCells(b - a, <usize>r0 << 2, valid, factor, fresh);
  if (dropMode) {
    dropoutCells(args, from, r0, valid, a, b);
    dropCells(b - a);
  }
  return moved;
}

/** Whether the tile's values are all finite, found out at most once per tile. */
function valuesFinite(n: i32, width: i32): bool {
  if (finite < 0) finite = allFinite(values, stagedStride(vRow, Dv), n, width) ? 1 : 0;
  return finite == 1;
}

/** Rows marked as empty (factor −0) are 0, whatever their forbidden cells held. */
function clearEmpty(args: usize, i: i32, r: i32, count: i32): void {
  for (let n = 0; n < count; n++) {
    if (load<i32>(rowAux + (<usize>(r + n) << 2)) == <i32>0x80000000) clearRow(outputRow(args, i + n), Dv);
  }
}

function startRows(from: i32, rows: i32): void {
  boundRows(from, rows);
  for (let r = 0; r < rows; r += GROUP) {
    packRows(q + <usize>(from + r) * qRow, qRow, min(GROUP, rows - r), D, packScale(), queryT + <usize>(r * D) * 4);
  }
  for (let r: usize = 0; r < <usize>CHUNK * 4; r += 16) {
    v128.store(rowMax + r, MINUS_INFINITY);
    v128.store(rowSum + r, f32x4.splat(0));
  }
}

/** Divides up to four rows by their sums and writes them with their statistics. */
function finishRows(args: usize, i: i32, r: i32, count: i32): void {
  finishStatistics(args, i, r, count);
  const width = (Dv + 7) & ~7;
  const c = sums + <usize>((r & ~7) * width) * 4 + (<usize>(r & 4) << 2);
  unpackRows(c, outputRow(args, i), address(args, SHARED_SLOTS + 3), count, Dv, v128.load(rowAux + (<usize>r << 2)));
  clearEmpty(args, i, r, count);
}

/** Adds the sink, writes the statistics of four rows, and leaves what divides each row in rowAux: −0 for an empty one. */
function finishStatistics(args: usize, i: i32, r: i32, valid: i32): void {
  const at = <usize>r << 2;
  let most = v128.load(rowMax + at), sum = v128.load(rowSum + at);
  // Empty: all scores are −∞ or forbidden (NaN scores leave NaN in the sum).
  const empty = v128.and(f32x4.le(most, LOWEST4), f32x4.eq(sum, sum));
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
  v128.store(rowMax + at, most);
  v128.store(rowSum + at, sum);
  v128.store(rowAux + at, v128.bitselect(SIGN, f32x4.div(factor, sum), empty));
  v128.store(words, v128.bitselect(s, f32x4.add(most, logScore4(sum)), empty));
  writeStatistic(statAt(address(args, 55), i), rowMax + at, valid);
  writeStatistic(statAt(address(args, 56), i), rowSum + at, valid);
  writeStatistic(statAt(address(args, 57), i), words, valid);
}

function writeStatistic(to: usize, from: usize, valid: i32): void {
  if (valid == 4 && statRow == 4) return v128.store(to, v128.load(from));
  for (let n = 0; n < valid; n++) {
    store<f32>(to, load<f32>(from));
    to += statRow;
    from += 4;
  }
}

/** Address of the output's row i. */
function outputRow(args: usize, i: i32): usize {
  const row = address(args, SHARED_SLOTS + 3);
  const b = argU(args, 53) ? <usize>queryStart * row : <usize>batch * address(args, SHARED_SLOTS + 1);
  return address(args, SHARED_SLOTS) + b + <usize>head * address(args, SHARED_SLOTS + 2) + <usize>i * row;
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
