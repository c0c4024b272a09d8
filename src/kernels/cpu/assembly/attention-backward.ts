// Attention backward in O(N) memory: p is recomputed from rowMax and rowSum, tile by tile, and all gradients of a tile
// are made at once, in five products.
//   ds = p·(keep·dO·v − delta),  delta = Σ_j p·keep·dO·v − dLogSumExp,  keep = 0 or 1/(1−rate)
//   dBias = ds;  dx = ds·softcap'·scale;  dq = Σ_j dx·k;  dk = Σ_i dx·q;  dv = Σ_i keep·p·dO
// delta is summed on the spot where all of a row's keys lie in one tile; longer rows, and rows whose statistics are merged
// with other calls', take attentionDelta's, which is the same number as Σ dO·O.
//
// A part owns, and so adds to without races:
//   (batch, key head), or one of the `units` pieces of its keys: dk and dv, and what these keys add to dq
//   (batch, head) of the bias, where dBias is asked for, and nothing else
// dq is the sum over at most PIECES pieces of sums over tiles, whoever makes them, so that it has the same bits however the
// work is split. Piece 0 is made in dq itself, a later one in `partials` [rows as the statistics][D]: by an owner of all
// pieces, which adds it at once; or by an owner of one, each in its own array `pieceBytes` further on, and attentionGather
// adds them.
// Where k, v or the bias are broadcast over the batch (`batches` > 1) or heads, the owner runs through them in
// ascending order. Within an owner: tiles ascend, then chunks, then groups; keys and rows ascend in every sum.
import { argU } from './runtime';
import { fma4 } from './simd';
import { MINUS_INFINITY, SIGN } from './constants';
import { exp4 } from './math';
import { CELLS, CHUNK_CELLS, GROUP, packRows } from './attention-products';
import { keyProduct, queryProduct } from './attention-gradient-products';
import { addRows, clearRows, copyRows, paddedBytes, stageRows, stagedStride } from './attention-rows';
import { dropoutCells, packScale, scoreCells } from './attention-cells';
import { DELTA, DLSE, DOUT, gradientCells, pieceKeys, rowsOf } from './attention-gradients';
import {
  address, B, CHUNK, D, Dv, H, Hkv, Lk, Lq, SHARED_SLOTS, TILE, bias, boundRows, cells, decode, dropMode, firstKey,
  gradCells, head, k, kRow, keepCells, keyHead, keyStart, lastKey, q, qRow, queryStart, rowAux, rowHigh, rowLow, rowMax,
  rowSum, scale, scratchRest, selectPair, slopeCells, softcap, statAt, statOffset, statRow, v, vRow, warmPair, warmRows,
} from './attention-state';

const DQ: usize = SHARED_SLOTS + 10;
const DK: usize = SHARED_SLOTS + 14;
const DV: usize = SHARED_SLOTS + 18;
const DBIAS: usize = SHARED_SLOTS + 22;
const BATCHES: usize = SHARED_SLOTS + 23; // batch entries one owner runs through: 1 or B
const HEADS: usize = SHARED_SLOTS + 24; // heads one owner runs through
const UNITS: usize = SHARED_SLOTS + 25;
const PARTIALS: usize = SHARED_SLOTS + 26;
const PIECE_BYTES: usize = SHARED_SLOTS + 27;
const OWN_DELTA: usize = SHARED_SLOTS + 28; // the row statistics are of the call's keys alone, not merged ones

// Scratch.
let weightCells: usize = 0; // [TILE][CHUNK]: keep·p, forbidden −0
let scoreGrads: usize = 0; // [TILE][CHUNK]: dx, forbidden 0
let queryT: usize = 0; // [D][8]
let gradT: usize = 0; // [Dv][8]
let block: usize = 0; // [4][padded D or Dv]: sums that cannot be made in place
let keyCopy: usize = 0; // [TILE][padded D] where D is not a multiple of 8; so are the next two
let queryCopy: usize = 0; // [CHUNK][padded D]
let gradCopy: usize = 0; // [CHUNK][padded Dv]

// The pair's gradients.
let dOut: usize = 0;
let dOutRow: usize = 0;
let dq: usize = 0;
let dqRow: usize = 0;
let dk: usize = 0;
let dv: usize = 0;
let dBias: usize = 0;

/** Keys of the piece at work. */
let keyFrom: i32 = 0;
let keyTo: i32 = 0;
/** Whether dk and dv of the tile at work have begun. */
let keyBegun: bool = false;
let valueBegun: bool = false;

function layOut(): void {
  const widthD = paddedBytes(D), widthDv = paddedBytes(Dv);
  weightCells = scratchRest;
  scoreGrads = weightCells + <usize>TILE * CHUNK_CELLS;
  queryT = scoreGrads + <usize>TILE * CHUNK_CELLS;
  gradT = queryT + <usize>D * CELLS;
  block = gradT + <usize>Dv * CELLS;
  keyCopy = block + 4 * max(widthD, widthDv);
  queryCopy = keyCopy + <usize>TILE * widthD;
  gradCopy = queryCopy + <usize>CHUNK * widthD;
}

function select(args: usize, b: i32, h: i32): void {
  selectPair(args, b, h);
  dOut = rowsOf(args, DOUT, queryStart, head);
  dOutRow = argU(args, DOUT + 3);
  const toBias: usize = argU(args, DBIAS);
  dBias = toBias ? toBias + (bias - argU(args, 33)) : 0;
  dq = rowsOf(args, DQ, queryStart, head);
  dqRow = argU(args, DQ + 3);
  dk = rowsOf(args, DK, keyStart, keyHead);
  dv = rowsOf(args, DV, keyStart, keyHead);
}

export function attentionBackward(args: usize, part: u32): void {
  decode(args);
  layOut();
  const perPart = argU(args, 58);
  const units = argU(args, UNITS);
  const batches: i32 = argU(args, BATCHES), heads: i32 = argU(args, HEADS);
  const owners: u32 = (B / batches) * (H / heads);
  const end = min((part + 1) * perPart, owners * units);
  for (let unit = part * perPart; unit < end; unit++) {
    const owner = <i32>(unit / units), piece = <i32>(unit % units);
    const b0 = owner / (H / heads) * batches, h0 = owner % (H / heads) * heads;
    for (let b = b0; b < b0 + batches; b++) {
      for (let h = h0; h < h0 + heads; h++) {
        select(args, b, h);
        if (units > 1) {
          backwardPiece(args, piece, pieceKeys(), h > h0, b > b0);
        } else {
          warmAll(args);
          backwardPair(args, h > h0, b > b0);
        }
      }
    }
  }
}

function warmAll(args: usize): void {
  if (head != 0) return;
  warmPair(args);
  warmRows(dOut, dOutRow, Lq, argU(args, DOUT + 2), Dv, H);
  warmRows(dq, dqRow, Lq, argU(args, DQ + 2), D, H);
  warmRows(dk, argU(args, DK + 3), Lk, argU(args, DK + 2), D, Hkv);
  warmRows(dv, argU(args, DV + 3), Lk, argU(args, DV + 2), Dv, Hkv);
}

/** All pieces of a pair; `later` heads and batch entries add to what the earlier ones wrote. */
function backwardPair(args: usize, laterHead: bool, laterBatch: bool): void {
  const keys = pieceKeys();
  // Pieces of one tile add up to the same bits as tiles do.
  if (keys == TILE || !dq) return backwardPiece(args, 0, Lk, laterHead, laterBatch);
  const whole = dq, wholeRow = dqRow;
  for (let piece = 0; piece * keys < Lk; piece++) {
    backwardPiece(args, piece, keys, laterHead, laterBatch);
    if (piece > 0) addRows(dq, dqRow, whole, wholeRow, Lq, D);
  }
}

/** One piece of `keys` keys of a pair; nothing where the pair has fewer pieces. */
function backwardPiece(args: usize, piece: i32, keys: i32, laterHead: bool, laterBatch: bool): void {
  keyFrom = piece * keys;
  if (piece > 0 && keyFrom >= Lk) return;
  keyTo = min(Lk, keyFrom + keys);
  if (dq && piece > 0) {
    dq = address(args, PARTIALS) + <usize>(piece - 1) * address(args, PIECE_BYTES) + statOffset * D;
    dqRow = statRow * D;
  }
  const addK = laterHead || (laterBatch && argU(args, DK + 1) == 0);
  const addV = laterHead || (laterBatch && argU(args, DV + 1) == 0);
  const dkRow = address(args, DK + 3), dvRow = address(args, DV + 3);
  if (dq && keyFrom == keyTo) clearRows(dq, dqRow, Lq, D);
  for (let tile = keyFrom; tile < keyTo; tile += TILE) {
    const n = min(TILE, keyTo - tile);
    const keys = stageRows(k + <usize>tile * kRow, kRow, n, D, keyCopy);
    keyBegun = addK;
    valueBegun = addV;
    for (let row = 0; row < Lq; row += CHUNK) backwardTile(args, row, min(CHUNK, Lq - row), tile, n, keys);
    if (dk && !keyBegun) clearRows(dk + <usize>tile * dkRow, dkRow, n, D);
    if (dv && !valueBegun) clearRows(dv + <usize>tile * dvRow, dvRow, n, Dv);
  }
}

/** A chunk of rows against a tile of keys. */
function backwardTile(args: usize, row: i32, rows: i32, tile: i32, n: i32, keys: usize): void {
  const wantKeys = dk != 0 || dv != 0;
  startRows(args, row, rows);
  let from = rows, to = 0;
  for (let r0 = 0; r0 < rows; r0 += GROUP) {
    const valid = min(GROUP, rows - r0);
    const low = firstKey(r0, valid), high = lastKey(r0, valid);
    const a = max(tile, low), b = min(tile + n, high);
    const at = <usize>r0 << 2;
    if (a < b) {
      from = min(from, r0);
      to = r0 + valid;
      const cell = at + <usize>(a - tile) * CHUNK_CELLS;
      const whole = low >= tile && high <= tile + TILE && argU(args, OWN_DELTA) != 0;
      backwardGroup(args, row, r0, valid, a, b, cell, whole);
      const first = tile == max(keyFrom, low & ~(TILE - 1));
      if (dq) addQueryGrad(row + r0, valid, b - a, cell, keys + <usize>(a - tile) * stagedStride(kRow, D), first);
    } else if (dq && tile == keyFrom && (low >= keyTo || high <= keyFrom)) {
      clearRows(dq + <usize>(row + r0) * dqRow, dqRow, valid, D);
    }
    if (wantKeys) forbidAround(at, a < b ? a - tile : n, a < b ? b - tile : n, (n + 3) & ~3);
  }
  if (wantKeys && from < to) addKeyGrads(args, row, from, to, tile, n);
}

/** Bounds, maxima and 1/sums of a chunk's rows; an empty row is allowed no key. */
export function startRows(args: usize, row: i32, rows: i32): void {
  boundRows(row, rows);
  for (let r = 0; r < ((rows + 7) & ~7); r++) {
    const i = row + min(r, rows - 1);
    const most = load<f32>(statAt(address(args, 55), i)), sum = load<f32>(statAt(address(args, 56), i));
    const at = <usize>r << 2;
    store<f32>(rowMax + at, sum == 0 ? 0 : most);
    store<f32>(rowSum + at, sum == 0 ? 0 : 1 / sum);
    if (sum == 0) {
      store<i32>(rowLow + at, 0);
      store<i32>(rowHigh + at, 0);
    }
  }
}

/**
 * keep·p and dx of one group and keys [a, b), to weightCells and scoreGrads at byte `at`. `whole`: these are all the keys
 * the rows' statistics are of.
 */
function backwardGroup(args: usize, row: i32, r0: i32, valid: i32, a: i32, b: i32, at: usize, whole: bool): void {
  const n = b - a;
  packRows(q + <usize>(row + r0) * qRow, qRow, valid, D, packScale(), queryT);
  packRows(dOut + <usize>(row + r0) * dOutRow, dOutRow, valid, Dv, 1, gradT);
  scoreCells(args, queryT, row, r0, valid, a, b, true);
  gradientCells(gradT, v + <usize>a * vRow, vRow, n, valid);
  if (dropMode) dropoutCells(args, row, r0, valid, a, b);
  startDeltas(args, row + r0, r0, valid, whole);
  const offset = <usize>r0 << 2;
  halfGroup(n, offset, at, whole);
  if (valid > 4) halfGroup(n, offset + 16, at + 16, whole);
  if (dBias) addBiasGrad(args, row + r0, valid, a, n, at);
}

/** rowAux: the part of the rows' deltas that is known before their cells are. */
function startDeltas(args: usize, i: i32, r0: i32, valid: i32, whole: bool): void {
  const known = address(args, whole ? DLSE : DELTA);
  for (let r = 0; r < 8; r++) {
    const x: f32 = known ? load<f32>(statAt(known, i + min(r, valid - 1))) : 0;
    store<f32>(rowAux + (<usize>(r0 + r) << 2), whole ? -x : x);
  }
}

function halfGroup(n: i32, offset: usize, at: usize, whole: bool): void {
  const delta = v128.load(rowAux + offset);
  const own = weighCells(n, offset, at);
  differentiateCells(n, offset & 16, at, whole ? f32x4.add(own, delta) : delta);
}

/**
 * Four rows' cells: scores become p, dO·v becomes keep·dO·v, and weightCells get keep·p; forbidden cells are −0, 0 and −0.
 * Returns Σ p·keep·dO·v.
 */
function weighCells(n: i32, offset: usize, at: usize): v128 {
  const none = MINUS_INFINITY;
  const most = v128.load(rowMax + offset), inverse = v128.load(rowSum + offset);
  const half = offset & 16;
  const end = <usize>n * CELLS + half;
  let sum = f32x4.splat(0);
  for (let c = half; c < end; c += CELLS) {
    const s = v128.load(cells + c);
    const forbidden = f32x4.eq(s, none);
    const p = f32x4.mul(exp4(f32x4.sub(s, most)), inverse);
    let dp = v128.andnot(v128.load(gradCells + c), forbidden);
    let kept = p;
    if (dropMode) {
      const keep = v128.load(keepCells + c);
      kept = f32x4.mul(p, keep);
      dp = f32x4.mul(dp, keep);
    }
    sum = fma4(p, dp, sum);
    v128.store(cells + c, v128.bitselect(SIGN, p, forbidden));
    v128.store(gradCells + c, dp);
    v128.store(weightCells + at, v128.bitselect(SIGN, kept, forbidden));
    at += CHUNK_CELLS;
  }
  return sum;
}

/** dx of four rows' cells (where the bias is differentiated: ds). */
function differentiateCells(n: i32, half: usize, at: usize, delta: v128): void {
  const factor = f32x4.splat(dBias ? 1 : scale);
  const end = <usize>n * CELLS + half;
  const capped = softcap != 0 && !dBias;
  for (let c = half; c < end; c += CELLS) {
    const p = v128.load(cells + c);
    let ds = f32x4.mul(f32x4.mul(p, f32x4.sub(v128.load(gradCells + c), delta)), factor);
    if (capped) ds = f32x4.mul(ds, v128.load(slopeCells + c));
    v128.store(scoreGrads + at, v128.andnot(ds, i32x4.eq(p, SIGN)));
    at += CHUNK_CELLS;
  }
}

/** dq of `valid` rows: made in place, four at a time, where that writes no other row. */
function addQueryGrad(i: i32, valid: i32, n: i32, at: usize, keys: usize, fresh: bool): void {
  const stride = stagedStride(kRow, D), padded = paddedBytes(D);
  for (let r = 0; r < valid; r += 4) {
    const count = min(4, valid - r);
    const to = dq + <usize>(i + r) * dqRow;
    const p = scoreGrads + at + (<usize>r << 2);
    if (count == 4 && (D & 7) == 0) {
      queryProduct(p, weightCells - scoreGrads, n, keys, stride, to, dqRow, D, fresh);
    } else {
      queryProduct(p, weightCells - scoreGrads, n, keys, stride, block, padded, D, true);
      putRows(to, dqRow, count, D, fresh);
    }
  }
}

/** Rows of `block` to where they belong. */
function putRows(to: usize, toRow: usize, rows: i32, width: i32, fresh: bool): void {
  if (fresh) copyRows(block, paddedBytes(width), to, toRow, rows, width);
  else addRows(block, paddedBytes(width), to, toRow, rows, width);
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
    const marks = weightCells - scoreGrads;
    addKeys(scoreGrads + groups, marks, rows, x, stagedStride(qRow, D), dk + <usize>tile * stride, stride, D, n, !keyBegun);
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
  for (let j = 0; j < n; j += 4) {
    const count = min(4, n - j);
    if (count == 4 && (width & 7) == 0) {
      keyProduct(p, marks, rows, x, xRow, c, cRow, width, fresh);
    } else {
      keyProduct(p, marks, rows, x, xRow, block, paddedBytes(width), width, true);
      putRows(c, cRow, count, width, fresh);
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
