// Attention backward in O(N) memory: p is recomputed from rowMax and rowSum, tile by tile.
//   ds = p·(keep·dO·v − delta),  delta = Σ dO·O − dLogSumExp,  keep = 0 or 1/(1−rate)
//   dBias = ds;  dx = ds·softcap'·scale;  dq = Σ_j dx·k;  dk = Σ_i dx·q;  dv = Σ_i keep·p·dO
// attentionDelta writes delta, laid out as the row statistics (mode 0 does so itself); attentionSinks writes dSinks [H].
// attentionBackward has four modes, by what a part owns (and so adds to without races):
//   0  (batch, key head)          delta, dq, dk, dv, each cell computed once
//   1  (batch, head, chunk)       dq
//   2  (batch, key head, tile)    dk, dv
//   3  (batch, head) of the bias  dBias
// Where k, v or the bias are broadcast over the batch (`batches` > 1) or heads, the owner runs through them in
// ascending order. Within an owner: tiles ascend, then chunks, then groups; keys and rows ascend in every sum.
import { argU } from './runtime';
import { fma4 } from './simd';
import { expScore } from './attention-math';
import { MINUS_INFINITY, SIGN } from './constants';
import { exp4 } from './math';
import { CELLS, CHUNK_CELLS, GROUP, keyProduct, packRows, rowProduct, scoreTile } from './attention-products';
import { clearRows, copyRows, stageRows, stagedStride } from './attention-rows';
import { dropoutCells, packScale, scoreCells } from './attention-cells';
import {
  address, B, CHUNK, D, Dv, H, Hkv, Lk, Lq, SHARED_SLOTS, TILE, batch, bias, boundRows, cells, decode, dropMode, firstKey,
  gradCells, head, k, kRow, keepCells, keyHead, keyStart, lastKey, q, qRow, queryStart, rowAux, rowHigh, rowLow, rowMax,
  rowSum, scale, scratchRest, selectPair, sink, slopeCells, softcap, statAt, v, vRow, warmPair, warmRows,
} from './attention-state';

// Slots after the shared ones.
const OUT: usize = SHARED_SLOTS; // pointer, batch, head, row: the forward's output
const DOUT: usize = SHARED_SLOTS + 4;
const DELTA: usize = SHARED_SLOTS + 8;
const DLSE: usize = SHARED_SLOTS + 9;
const DQ: usize = SHARED_SLOTS + 10;
const DK: usize = SHARED_SLOTS + 14;
const DV: usize = SHARED_SLOTS + 18;
const DBIAS: usize = SHARED_SLOTS + 22;
const MODE: usize = SHARED_SLOTS + 23;
const BATCHES: usize = SHARED_SLOTS + 24; // batch entries one owner runs through: 1 or B
const HEADS: usize = SHARED_SLOTS + 25; // heads one owner runs through
const DSINKS: usize = SHARED_SLOTS + 10; // attentionSinks

// The backward's own scratch.
let weightCells: usize = 0; // [TILE][CHUNK]: keep·p, forbidden −0
let scoreGrads: usize = 0; // [TILE][CHUNK]: dx
let queryT: usize = 0; // [D][8]
let gradT: usize = 0; // [Dv][8]
let outT: usize = 0; // [Dv][8]
let ones: usize = 0; // [8]
let block: usize = 0; // [8][padded D or Dv]: results that cannot be made in place
let keyCopy: usize = 0; // [TILE][padded D] where D is not a multiple of 8; so are the next two
let queryCopy: usize = 0; // [CHUNK][padded D]
let gradCopy: usize = 0; // [CHUNK][padded Dv]

// The pair's gradients.
let dOut: usize = 0;
let dOutRow: usize = 0;
let dq: usize = 0;
let dk: usize = 0;
let dv: usize = 0;
let dBias: usize = 0;

/** Whether dk and dv of the tile at work have begun. */
let keyBegun: bool = false;
let valueBegun: bool = false;

function layOut(): void {
  const widthD = paddedBytes(D), widthDv = paddedBytes(Dv);
  weightCells = scratchRest;
  scoreGrads = weightCells + <usize>TILE * CHUNK_CELLS;
  queryT = scoreGrads + <usize>TILE * CHUNK_CELLS;
  gradT = queryT + <usize>D * CELLS;
  outT = gradT + <usize>Dv * CELLS;
  ones = outT + <usize>Dv * CELLS;
  block = ones + 32;
  keyCopy = block + 8 * max(widthD, widthDv);
  queryCopy = keyCopy + <usize>TILE * widthD;
  gradCopy = queryCopy + <usize>CHUNK * widthD;
  v128.store(ones, f32x4.splat(1));
  v128.store(ones, f32x4.splat(1), 16);
}

// @ts-ignore: decorator
@inline function paddedBytes(width: i32): usize {
  return <usize>((width + 7) & ~7) * 4;
}

/** Address of the pair's first row in an operand at `slot`: pointer, batch, head, row. */
function rowsOf(args: usize, slot: usize, start: i32, h: i32): usize {
  const pointer: usize = argU(args, slot);
  if (!pointer) return 0;
  const b = argU(args, 53) ? <usize>start * address(args, slot + 3) : <usize>batch * address(args, slot + 1);
  return pointer + b + <usize>h * address(args, slot + 2);
}

function select(args: usize, b: i32, h: i32): void {
  selectPair(args, b, h);
  dOut = rowsOf(args, DOUT, queryStart, head);
  dOutRow = argU(args, DOUT + 3);
  dq = rowsOf(args, DQ, queryStart, head);
  dk = rowsOf(args, DK, keyStart, keyHead);
  dv = rowsOf(args, DV, keyStart, keyHead);
  const pointer: usize = argU(args, DBIAS);
  dBias = pointer ? pointer + (bias - argU(args, 33)) : 0;
}

export function attentionBackward(args: usize, part: u32): void {
  decode(args);
  layOut();
  const mode = argU(args, MODE);
  const perPart = argU(args, 58);
  const span: u32 = mode == 1 ? CHUNK : TILE;
  const pieces: u32 = mode == 0 || mode == 3 ? 1 : (argU(args, mode == 1 ? 15 : 16) + span - 1) / span;
  const batches: i32 = argU(args, BATCHES), heads: i32 = argU(args, HEADS);
  const owners: u32 = (B / batches) * (H / heads);
  const end = min((part + 1) * perPart, owners * pieces);
  for (let unit = part * perPart; unit < end; unit++) {
    const owner = <i32>(unit / pieces), piece = <i32>(unit % pieces);
    const b0 = owner / (H / heads) * batches, h0 = owner % (H / heads) * heads;
    for (let b = b0; b < b0 + batches; b++) {
      for (let h = h0; h < h0 + heads; h++) {
        select(args, b, h);
        if (mode == 0) warmAll(args);
        backwardPair(args, mode, piece, h > h0, b > b0);
      }
    }
  }
}

function warmAll(args: usize): void {
  if (head != 0) return;
  warmPair(args);
  warmRows(dOut, dOutRow, Lq, argU(args, DOUT + 2), Dv, H);
  warmRows(rowsOf(args, OUT, queryStart, 0), argU(args, OUT + 3), Lq, argU(args, OUT + 2), Dv, H);
  warmRows(dq, argU(args, DQ + 3), Lq, argU(args, DQ + 2), D, H);
  warmRows(dk, argU(args, DK + 3), Lk, argU(args, DK + 2), D, Hkv);
  warmRows(dv, argU(args, DV + 3), Lk, argU(args, DV + 2), Dv, Hkv);
}

/** One (batch, head), or its piece; `later` heads and batch entries add to what the earlier ones wrote. */
function backwardPair(args: usize, mode: u32, piece: i32, laterHead: bool, laterBatch: bool): void {
  const addK = laterHead || (laterBatch && argU(args, DK + 1) == 0);
  const addV = laterHead || (laterBatch && argU(args, DV + 1) == 0);
  const rowFrom = mode == 1 ? piece * CHUNK : 0, rowTo = mode == 1 ? min(Lq, rowFrom + CHUNK) : Lq;
  const keyFrom = mode == 2 ? piece * TILE : 0, keyTo = mode == 2 ? min(Lk, keyFrom + TILE) : Lk;
  const dqRow = address(args, DQ + 3);
  if (mode == 0) deltaRows(args, 0, Lq);
  if (mode < 2 && dq && Lk == 0) clearRows(dq + <usize>rowFrom * dqRow, dqRow, rowTo - rowFrom, D);
  for (let tile = keyFrom; tile < keyTo; tile += TILE) {
    const n = min(TILE, Lk - tile);
    const keys = stageRows(k + <usize>tile * kRow, kRow, n, D, keyCopy);
    keyBegun = addK;
    valueBegun = addV;
    for (let row = rowFrom; row < rowTo; row += CHUNK) {
      backwardTile(args, mode, row, min(CHUNK, rowTo - row), tile, n, keys);
    }
    if (mode == 1 || mode == 3) continue;
    const dkRow = address(args, DK + 3), dvRow = address(args, DV + 3);
    if (dk && !keyBegun) clearRows(dk + <usize>tile * dkRow, dkRow, n, D);
    if (dv && !valueBegun) clearRows(dv + <usize>tile * dvRow, dvRow, n, Dv);
  }
}

/** A chunk of rows against a tile of keys. */
function backwardTile(args: usize, mode: u32, row: i32, rows: i32, tile: i32, n: i32, keys: usize): void {
  startRows(args, row, rows);
  const wantQ = mode < 2 && dq != 0, wantKeys = mode == 0 || mode == 2;
  let from = rows, to = 0;
  for (let r0 = 0; r0 < rows; r0 += GROUP) {
    const valid = min(GROUP, rows - r0);
    const low = firstKey(r0, valid), high = lastKey(r0, valid);
    const a = max(tile, low & ~3), b = min(tile + n, high);
    const at = <usize>r0 << 2;
    if (a < b) {
      from = min(from, r0);
      to = r0 + valid;
      const cell = at + <usize>(a - tile) * CHUNK_CELLS;
      backwardGroup(args, mode, row, r0, valid, a, b, cell);
      const first = tile == (low & ~(TILE - 1));
      if (wantQ) addQueryGrad(args, row + r0, valid, b - a, cell, keys + <usize>(a - tile) * stagedStride(kRow, D), first);
    } else if (wantQ && high == 0 && tile == 0) {
      const stride = address(args, DQ + 3);
      clearRows(dq + <usize>(row + r0) * stride, stride, valid, D);
    }
    if (wantKeys) forbidAround(at, a < b ? a - tile : n, a < b ? b - tile : n, (n + 3) & ~3);
  }
  if (wantKeys && from < to) addKeyGrads(args, row, from, to, tile, n);
}

/** Bounds, maxima, 1/sums and deltas of a chunk's rows; an empty row is allowed no key. */
function startRows(args: usize, row: i32, rows: i32): void {
  boundRows(row, rows);
  for (let r = 0; r < ((rows + 7) & ~7); r++) {
    const i = row + min(r, rows - 1);
    const most = load<f32>(statAt(address(args, 55), i)), sum = load<f32>(statAt(address(args, 56), i));
    const at = <usize>r << 2;
    store<f32>(rowMax + at, sum == 0 ? 0 : most);
    store<f32>(rowSum + at, sum == 0 ? 0 : 1 / sum);
    store<f32>(rowAux + at, load<f32>(statAt(address(args, DELTA), i)));
    if (sum == 0) {
      store<i32>(rowLow + at, 0);
      store<i32>(rowHigh + at, 0);
    }
  }
}

/** keep·p and dx of one group and keys [a, b), to weightCells and scoreGrads at byte `at`. */
function backwardGroup(args: usize, mode: u32, row: i32, r0: i32, valid: i32, a: i32, b: i32, at: usize): void {
  const n = b - a;
  packRows(q + <usize>(row + r0) * qRow, qRow, valid, D, packScale(), queryT);
  packRows(dOut + <usize>(row + r0) * dOutRow, dOutRow, valid, Dv, 1, gradT);
  scoreCells(args, queryT, row, r0, valid, a, b, true);
  scoreTile(gradT, Dv, v + <usize>a * vRow, vRow, n, gradCells, valid);
  if (dropMode) dropoutCells(args, row, r0, valid, a, b);
  const offset = <usize>r0 << 2;
  const factor: f32 = mode == 3 ? 1 : scale;
  gradientCells(n, offset, at, factor);
  if (valid > 4) gradientCells(n, offset + 16, at + 16, factor);
  if (softcap != 0 && mode != 3) applySlopes(n, at);
  if (mode == 3) addBiasGrad(args, row + r0, valid, a, n, at);
}

/** Four rows' cells: scores, dp and keep become keep·p and dx (where the bias is differentiated: ds). */
function gradientCells(n: i32, offset: usize, at: usize, factor: f32): void {
  const none = MINUS_INFINITY, f = f32x4.splat(factor);
  const most = v128.load(rowMax + offset), inverse = v128.load(rowSum + offset), delta = v128.load(rowAux + offset);
  const half = offset & 16;
  const end = <usize>n * CELLS + half;
  for (let c = half; c < end; c += CELLS) {
    const s = v128.load(cells + c);
    const forbidden = f32x4.eq(s, none);
    const p = f32x4.mul(exp4(f32x4.sub(s, most)), inverse);
    let dp = v128.load(gradCells + c);
    let kept = p;
    if (dropMode) {
      const keep = v128.load(keepCells + c);
      kept = f32x4.mul(p, keep);
      dp = f32x4.mul(dp, keep);
    }
    const ds = f32x4.mul(f32x4.mul(p, f32x4.sub(dp, delta)), f);
    v128.store(weightCells + at, v128.bitselect(SIGN, kept, forbidden));
    v128.store(scoreGrads + at, v128.andnot(ds, forbidden));
    at += CHUNK_CELLS;
  }
}

/** ds → dx where scores are capped. */
function applySlopes(n: i32, at: usize): void {
  const end = slopeCells + <usize>n * CELLS;
  for (let c = slopeCells; c < end; c += CELLS) {
    const to = scoreGrads + at;
    v128.store(to, f32x4.mul(v128.load(to), v128.load(c)));
    v128.store(to, f32x4.mul(v128.load(to, 16), v128.load(c, 16)), 16);
    at += CHUNK_CELLS;
  }
}

/** dq of `valid` rows: made in place, four at a time, where that writes no other row. */
function addQueryGrad(args: usize, i: i32, valid: i32, n: i32, at: usize, keys: usize, fresh: bool): void {
  const stride = address(args, DQ + 3), padded = paddedBytes(D), keyStride = stagedStride(kRow, D);
  const factor: usize = fresh ? 0 : ones;
  for (let r = 0; r < valid; r += 4) {
    const count = min(4, valid - r);
    const to = dq + <usize>(i + r) * stride;
    const p = scoreGrads + at + (<usize>r << 2);
    if (count == 4 && (D & 7) == 0) {
      rowProduct(p, CHUNK_CELLS, weightCells - scoreGrads, n, keys, keyStride, to, stride, D, factor, 4);
      continue;
    }
    if (!fresh) copyRows(to, stride, block, padded, count, D);
    rowProduct(p, CHUNK_CELLS, weightCells - scoreGrads, n, keys, keyStride, block, padded, D, factor, 4);
    copyRows(block, padded, to, stride, count, D);
  }
}

/** Cells of a group outside keys [a, b) of the tile count as forbidden in the sums over rows. */
function forbidAround(at: usize, a: i32, b: i32, n: i32): void {
  for (let j = 0; j < n; j++) {
    if (j == a) j = b;
    if (j >= n) break;
    const c = at + <usize>j * CHUNK_CELLS;
    v128.store(weightCells + c, SIGN);
    v128.store(weightCells + c, SIGN, 16);
    v128.store(scoreGrads + c, f32x4.splat(0));
    v128.store(scoreGrads + c, f32x4.splat(0), 16);
  }
}

/** Adds rows [from, to) of the chunk to dk and dv of the tile. */
function addKeyGrads(args: usize, row: i32, from: i32, to: i32, tile: i32, n: i32): void {
  const rows = to - from;
  const first = <usize>(row + from);
  const groups = <usize>from << 2;
  if (dk) {
    const x = stageRows(q + first * qRow, qRow, rows, D, queryCopy);
    const stride = address(args, DK + 3);
    addKeys(scoreGrads + groups, weightCells - scoreGrads, rows, x, stagedStride(qRow, D), dk + <usize>tile * stride, stride, D, n, !keyBegun);
    keyBegun = true;
  }
  if (dv) {
    const x = stageRows(dOut + first * dOutRow, dOutRow, rows, Dv, gradCopy);
    const stride = address(args, DV + 3);
    addKeys(weightCells + groups, 0, rows, x, stagedStride(dOutRow, Dv), dv + <usize>tile * stride, stride, Dv, n, !valueBegun);
    valueBegun = true;
  }
}

/** c [n][width] += pᵀ·x: in place, four keys at a time, where that writes no other key. */
function addKeys(
  p: usize, marks: usize, rows: i32, x: usize, xRow: usize, c: usize, cRow: usize, width: i32, n: i32, fresh: bool,
): void {
  const padded = paddedBytes(width);
  for (let j = 0; j < n; j += 4) {
    const count = min(4, n - j);
    if (count == 4 && (width & 7) == 0) {
      keyProduct(p, marks, rows, x, xRow, c, cRow, width, fresh);
    } else {
      if (!fresh) copyRows(c, cRow, block, padded, count, width);
      keyProduct(p, marks, rows, x, xRow, block, padded, width, fresh);
      copyRows(block, padded, c, cRow, count, width);
    }
    p += 4 * CHUNK_CELLS;
    c += 4 * cRow;
  }
}

function addBiasGrad(args: usize, i: i32, valid: i32, a: i32, n: i32, at: usize): void {
  const stride: usize = argU(args, 36), step: usize = argU(args, 37);
  for (let r = 0; r < valid; r++) {
    let to = dBias + <usize>(i + r) * stride + <usize>a * step;
    let c = scoreGrads + at + (<usize>r << 2);
    for (let j = 0; j < n; j++) {
      store<f32>(to, load<f32>(to) + load<f32>(c));
      c += CHUNK_CELLS;
      to += step;
    }
  }
}

/** delta = Σ dO·O − dLogSumExp of every row. Part: `perPart` units (batch, head, chunk of 64 rows). */
export function attentionDelta(args: usize, part: u32): void {
  decode(args);
  layOut();
  const chunks = <u32>(argU(args, 15) + CHUNK - 1) / CHUNK;
  const perPart = argU(args, 58);
  const end = min((part + 1) * perPart, <u32>B * H * chunks);
  for (let unit = part * perPart; unit < end; unit++) {
    const pair = unit / chunks;
    selectPair(args, pair / H, pair % H);
    const from = <i32>(unit % chunks) * CHUNK;
    deltaRows(args, from, min(Lq, from + CHUNK));
  }
}

function deltaRows(args: usize, from: i32, to: i32): void {
  const out = rowsOf(args, OUT, queryStart, head), grad = rowsOf(args, DOUT, queryStart, head);
  const outRow = address(args, OUT + 3), gradRow = address(args, DOUT + 3);
  const dlse = address(args, DLSE), delta = address(args, DELTA);
  for (let i = from; i < to; i += 4) {
    const valid = min(4, to - i);
    packRows(grad + <usize>i * gradRow, gradRow, valid, Dv, 1, gradT);
    packRows(out + <usize>i * outRow, outRow, valid, Dv, 1, outT);
    v128.store(block, dotColumns());
    for (let n = 0; n < valid; n++) {
      let d = load<f32>(block + (<usize>n << 2));
      if (dlse) d -= load<f32>(statAt(dlse, i + n));
      store<f32>(statAt(delta, i + n), d);
    }
  }
}

/**
 * Σ dO·O of four rows, in the order that dO·v takes: with one key they cancel exactly. Where O is 0, as in an empty
 * row, dO counts for nothing.
 */
function dotColumns(): v128 {
  let sum = f32x4.splat(0);
  for (let c: usize = 0; c < <usize>Dv * CELLS; c += CELLS) {
    const o = v128.load(outT + c);
    sum = fma4(o, v128.and(v128.load(gradT + c), f32x4.ne(o, f32x4.splat(0))), sum);
  }
  return sum;
}

/** dSinks[h] = −Σ_{b,i} exp(sink − rowMax)/rowSum·delta. Part: one head; b, then i ascend; float64 sum. */
export function attentionSinks(args: usize, part: u32): void {
  decode(args);
  let sum: f64 = 0;
  for (let b = 0; b < B; b++) {
    selectPair(args, b, part);
    if (sink == -Infinity) continue;
    for (let i = 0; i < Lq; i++) {
      const most = load<f32>(statAt(address(args, 55), i)), total = load<f32>(statAt(address(args, 56), i));
      sum -= <f64>(expScore(sink - most) / total) * load<f32>(statAt(address(args, DELTA), i));
    }
  }
  store<f32>(address(args, DSINKS) + (<usize>part << 2), <f32>sum);
}
