// What the attention map reads of one pair (batch, head) by recomputing weights tile by tile from rowMax and rowSum,
// exp(score − rowMax)/rowSum, before dropout, 0 where forbidden: one product where the forward pass needs two.
//   attentionCells     w [rows][keys] of all rows and keys of the call
//   attentionPool      per slice of rows, span of keys and bin, the sum (or maximum) of w in each of 8 lanes
//   attentionMoments   per row Σ e, Σ e·(score − rowMax) and Σ e·|i + o − j|, where e = exp(score − rowMax)
//   attentionStatistics  per row the maximum of the scores and Σ exp(score − maximum): a forward pass without values
//   attentionDiagonal  per row w at key i + own
// B = H = 1. Row t of the call has its q, mask, bias and statistics at t; it is query `positions`[t], or t without them.
// Groups of 8 rows lie in lanes. Sums run over j within a tile of 64 keys, then over tiles, then over groups: the order
// follows from the call alone. Rows are taken in chunks of 64, so that a tile of keys serves eight groups.
import { argU } from './runtime';
import { MINUS_INFINITY, ONE } from './constants';
import { exp4 } from './math';
import { CELLS, GROUP, packRows } from './attention-products';
import { unpackRows } from './attention-rows';
import { packScale, rawScores, scoreCells } from './attention-cells';
import { weighCells } from './attention-softmax';
import {
  address, CHUNK, D, Lk, Lq, SHARED_SLOTS, TILE, boundRow, boundRows, cells, decode, diagonal, firstKey, hasAlibi, lastKey, q, qRow,
  rowMax, rowSum, scratchRest, selectPair, statAt,
} from './attention-state';

// This file's own scratch.
let queryT: usize = 0; // [groups][D][8]
let moments: usize = 0; // [groups][3][8]
let moved: usize = 0; // a copy of the arguments, with another diagonal

let positions: usize = 0;
/** Whether allowed scores of −∞ are told from forbidden ones: only a row of NaN weighs them otherwise. */
let lifted: bool = false;
let partRow: i32 = 0;
let partKey: i32 = 0;
let partEnd: i32 = 0;
let partGroup: usize = 0;

const OUT = SHARED_SLOTS, POSITIONS = SHARED_SLOTS + 1, SLICES = SHARED_SLOTS + 2, BLOCKS = SHARED_SLOTS + 3;
const ORIGIN = SHARED_SLOTS + 4, SPAN = SHARED_SLOTS + 5, COLUMNS = SHARED_SLOTS + 6, REACH = SHARED_SLOTS + 7;
const WIDTH = SHARED_SLOTS + 8, MOST = SHARED_SLOTS + 9, OWN = SHARED_SLOTS + 10;
const ALL_SLOTS = SHARED_SLOTS + 11;

function begin(args: usize): void {
  decode(args);
  moments = scratchRest;
  moved = moments + 768;
  queryT = (moved + (ALL_SLOTS << 2) + 63) & ~63;
  positions = argU(args, POSITIONS);
  selectPair(args, 0, 0);
}

/** The part's chunk of rows and span (slot width, a multiple of 64) of keys, spans fastest; partGroup in [spans][groups]. */
function selectPart(args: usize, part: u32): void {
  const span = <i32>argU(args, WIDTH);
  const spans = <u32>((Lk + span - 1) / span);
  partRow = <i32>(part / spans) * CHUNK;
  partKey = <i32>(part % spans) * span;
  partEnd = min(partKey + span, Lk);
  partGroup = <usize>(part % spans) * <usize>((Lq + 7) >> 3) + <usize>(partRow >> 3);
}

// @ts-ignore: decorator
@inline function positionOf(t: i32): i32 {
  return positions ? load<i32>(positions + (<usize>t << 2)) : t;
}

/** Bounds and packs rows [t, t + rows). */
function packChunk(t: i32, rows: i32): void {
  if (positions) for (let r = 0; r < ((rows + 7) & ~7); r++) boundRow(r, positionOf(t + min(r, rows - 1)));
  else boundRows(t, rows);
  for (let r = 0; r < rows; r += GROUP) {
    packRows(q + <usize>(t + r) * qRow, qRow, min(GROUP, rows - r), D, packScale(), queryT + <usize>(r * D) * 4);
  }
}

/**
 * Leaves each row's maximum in rowMax and 1/rowSum in rowSum. An empty row, and rows up to the next multiple of 8, have
 * ∞ and 0: their weights are 0 whatever the scores.
 */
function readStatistics(args: usize, t: i32, rows: i32): void {
  for (let r = 0; r < ((rows + 7) & ~7); r++) {
    const sum: f32 = r < rows ? load<f32>(statAt(address(args, 56), t + r)) : 0;
    store<f32>(rowMax + (<usize>r << 2), sum == 0 ? Infinity : load<f32>(statAt(address(args, 55), t + r)));
    store<f32>(rowSum + (<usize>r << 2), sum == 0 ? 0 : 1 / sum);
  }
}

/** Scores of keys [a, b) times what is returned, for the group at row r0 of the chunk at row t. */
function scores(args: usize, t: i32, r0: i32, valid: i32, a: i32, b: i32): f32 {
  const qT = queryT + <usize>(r0 * D) * 4;
  if (!positions || !hasAlibi) return cellScores(args, qT, t, r0, valid, a, b);
  return scatteredScores(args, t, r0, valid, a, b);
}

function cellScores(args: usize, qT: usize, t: i32, r0: i32, valid: i32, a: i32, b: i32): f32 {
  if (!lifted) return rawScores(args, qT, t, r0, valid, a, b);
  scoreCells(args, qT, t, r0, valid, a, b, false);
  return 1;
}

/**
 * ALiBi measures from the row's own diagonal: rows that do not follow each other are scored one by one, each with a
 * diagonal that makes up for it.
 */
function scatteredScores(args: usize, t: i32, r0: i32, valid: i32, a: i32, b: i32): f32 {
  const o = diagonal, kept = queryT + <usize>D * CELLS;
  memory.copy(moved, args, ALL_SLOTS << 2);
  store<u32>(moved + (25 << 2), 0);
  store<u32>(moved + (26 << 2), 0);
  let factor: f32 = 1;
  for (let r = 0; r < valid; r++) {
    const row = t + r0 + r;
    store<i32>(moved + (24 << 2), o + positionOf(row) - row);
    selectPair(moved, 0, 0);
    packRows(q + <usize>row * qRow, qRow, 1, D, packScale(), queryT);
    factor = cellScores(moved, queryT, t, r0 + r, 1, a, b);
    for (let j: usize = 0; j < <usize>(b - a); j++) {
      store<f32>(kept + j * CELLS + (<usize>r << 2), load<f32>(cells + j * CELLS));
    }
  }
  selectPair(args, 0, 0);
  memory.copy(cells, kept, <usize>(b - a) * CELLS);
  return factor;
}

/** Weights of keys [a, b) in the place of scores; those of forbidden cells and rows that are none are 0. */
function weigh(args: usize, t: i32, r0: i32, valid: i32, a: i32, b: i32): void {
  const at = <usize>r0 << 2, n = b - a;
  lifted = isNaN4(rowSum + at) || isNaN4(rowSum + at + 16);
  const factor = scores(args, t, r0, valid, a, b);
  lifted = false;
  weighFour(cells, n, factor, v128.load(rowMax + at), v128.load(rowSum + at));
  if (valid > 4) weighFour(cells + 16, n, factor, v128.load(rowMax + at, 16), v128.load(rowSum + at, 16));
}

// @ts-ignore: decorator
@inline function isNaN4(at: usize): bool {
  const x = v128.load(at);
  return v128.any_true(f32x4.ne(x, x));
}

function weighFour(c: usize, n: i32, factor: f32, most: v128, inverse: v128): void {
  const f = f32x4.splat(factor);
  const end = c + <usize>n * CELLS;
  for (; c < end; c += CELLS) {
    const s = f32x4.mul(v128.load(c), f);
    const w = f32x4.mul(exp4(f32x4.sub(s, most)), inverse);
    v128.store(c, v128.andnot(w, f32x4.eq(s, MINUS_INFINITY)));
  }
}

/** Slots: out [Lq][Lk], width (keys of a part). Part: a chunk of 64 rows and a span of keys; spans fastest. */
export function attentionCells(args: usize, part: u32): void {
  begin(args);
  selectPart(args, part);
  const t = partRow, rows = min(CHUNK, Lq - t), first = partKey, last = partEnd;
  const row = <usize>Lk << 2;
  const out: usize = address(args, OUT) + <usize>t * row;
  for (let r: usize = 0; r < <usize>rows; r++) memory.fill(out + r * row + (<usize>first << 2), 0, <usize>(last - first) << 2);
  packChunk(t, rows);
  readStatistics(args, t, rows);
  const end = min(last, lastKey(0, rows));
  for (let tile = first; tile < end; tile += TILE) {
    for (let r0 = 0; r0 < rows; r0 += GROUP) {
      const valid = min(GROUP, rows - r0);
      const a = max(tile, firstKey(r0, valid)), b = min(min(tile + TILE, last), lastKey(r0, valid));
      if (a >= b) continue;
      weigh(args, t, r0, valid, a, b);
      const to = out + <usize>r0 * row + (<usize>a << 2);
      unpackRows(cells, to, row, min(4, valid), b - a, ONE);
      if (valid > 4) unpackRows(cells + 16, to + 4 * row, row, valid - 4, b - a, ONE);
    }
  }
}

/**
 * Slots: out [slices][spans][width][8], positions, slices [count + 1], blocks [… + 1], origin, span, columns, reach, width,
 * most. Slice s has rows slices[s] to slices[s + 1]; its row t lies in lane (t − slices[s]) mod 8. Block n has slices
 * blocks[n] to blocks[n + 1]: one, or several of 8 rows (the last has fewer), up to 64 rows together. Span n has keys
 * n·reach to (n + 1)·reach, a multiple of 64. Key j of the call is key g = origin + j of a region of `span` keys, which
 * `columns` <= span bins divide: bin c begins at ⌊c·span/columns⌋. Each span's `width` bins begin with its first key's.
 * Part: a block and a span of keys; spans fastest.
 */
export function attentionPool(args: usize, part: u32): void {
  begin(args);
  const reach = <i32>argU(args, REACH);
  const spans = <u32>((Lk + reach - 1) / reach);
  const low = <i32>(part % spans) * reach, high = min(low + reach, Lk);
  const slices: usize = argU(args, SLICES), blocks: usize = argU(args, BLOCKS) + (<usize>(part / spans) << 2);
  const first = load<u32>(blocks), last = load<u32>(blocks, 4);
  const from = load<i32>(slices + (<usize>first << 2)), to = load<i32>(slices + (<usize>last << 2));
  const bytes = <usize>argU(args, WIDTH) * CELLS, stride = bytes * spans;
  const out: usize = address(args, OUT) + <usize>first * stride + <usize>(part % spans) * bytes;
  for (let s: usize = 0; s < <usize>(last - first); s++) memory.fill(out + s * stride, 0, bytes);
  const next = last - first > 1 ? stride : 0;
  const firstBin = binOf(args, low);
  for (let t = from; t < to; t += CHUNK) {
    const rows = min(CHUNK, to - t);
    packChunk(t, rows);
    readStatistics(args, t, rows);
    const end = min(high, lastKey(0, rows));
    for (let tile = max(low, firstKey(0, rows) & ~(TILE - 1)); tile < end; tile += TILE) {
      let own = out;
      for (let r0 = 0; r0 < rows; r0 += GROUP, own += next) {
        const valid = min(GROUP, rows - r0);
        const a = max(tile, firstKey(r0, valid)), b = min(min(tile + TILE, high), lastKey(r0, valid));
        if (a >= b) continue;
        weigh(args, t, r0, valid, a, b);
        if (valid <= 4) clearUpper(b - a);
        fold(args, a, b - a, own, firstBin);
      }
    }
  }
}

/** The bin of key j of the call. */
// @ts-ignore: decorator
@inline function binOf(args: usize, j: i32): u32 {
  return <u32>((<u64>(argU(args, ORIGIN) + j + 1) * <u64>argU(args, COLUMNS) - 1) / <u64>argU(args, SPAN));
}

function clearUpper(n: i32): void {
  const end = cells + <usize>n * CELLS;
  for (let c = cells; c < end; c += CELLS) v128.store(c, f32x4.splat(0), 16);
}

/** Adds the weights of keys [a, a + n) to their bins, or raises these to them; `out` begins with bin `first`. */
function fold(args: usize, a: i32, n: i32, out: usize, first: u32): void {
  const span = <u64>argU(args, SPAN), columns = <u64>argU(args, COLUMNS);
  const g = <u64>argU(args, ORIGIN) + <u64>a;
  const bin = <u64>binOf(args, a);
  // The next bin's first key, and what its division left over: edges follow each other without another division.
  let edge = (bin + 1) * span / columns, left = (bin + 1) * span % columns;
  const step = span / columns, more = span % columns;
  const most = argU(args, MOST) != 0;
  let to = out + <usize>(bin - <u64>first) * CELLS;
  let c = cells;
  const end = cells + <usize>n * CELLS;
  while (c < end) {
    const stop = min(end, cells + <usize>(edge - g) * CELLS);
    if (most) raiseBin(c, stop, to);
    else addBin(c, stop, to);
    c = stop;
    to += CELLS;
    edge += step;
    left += more;
    if (left >= columns) {
      left -= columns;
      edge++;
    }
  }
}

// @ts-ignore: decorator
@inline function addBin(c: usize, end: usize, to: usize): void {
  let a = f32x4.splat(0), b = f32x4.splat(0);
  for (; c < end; c += CELLS) {
    a = f32x4.add(a, v128.load(c));
    b = f32x4.add(b, v128.load(c, 16));
  }
  v128.store(to, f32x4.add(v128.load(to), a));
  v128.store(to, f32x4.add(v128.load(to, 16), b), 16);
}

// @ts-ignore: decorator
@inline function raiseBin(c: usize, end: usize, to: usize): void {
  // f32x4.max keeps NaN.
  let a = v128.load(to), b = v128.load(to, 16);
  for (; c < end; c += CELLS) {
    a = f32x4.max(a, v128.load(c));
    b = f32x4.max(b, v128.load(c, 16));
  }
  v128.store(to, a);
  v128.store(to, b, 16);
}

/**
 * Slots: out [spans][groups][3][8], own (i + o − j of row 0 and key 0), width (keys of a span). Rows follow each other.
 * Part: a chunk of 64 rows and a span of keys, so that no sum is long; spans fastest.
 */
export function attentionMoments(args: usize, part: u32): void {
  begin(args);
  selectPart(args, part);
  const own = <i32>argU(args, OWN), t = partRow, rows = min(CHUNK, Lq - t);
  const bytes = <usize>((rows + 7) >> 3) * 96;
  memory.fill(moments, 0, bytes);
  packChunk(t, rows);
  readStatistics(args, t, rows);
  const end = min(partEnd, lastKey(0, rows));
  for (let tile = max(partKey, firstKey(0, rows) & ~(TILE - 1)); tile < end; tile += TILE) {
    for (let r0 = 0; r0 < rows; r0 += GROUP) {
      const valid = min(GROUP, rows - r0);
      const a = max(tile, firstKey(r0, valid)), b = min(tile + TILE, lastKey(r0, valid));
      if (a >= b) continue;
      const factor = scores(args, t, r0, valid, a, b);
      const to = moments + <usize>(r0 >> 3) * 96, at = rowMax + (<usize>r0 << 2), d = own + t + r0 - a;
      addMoments(cells, b - a, factor, v128.load(at), d, to);
      if (valid > 4) addMoments(cells + 16, b - a, factor, v128.load(at, 16), d + 4, to + 16);
    }
  }
  memory.copy(address(args, OUT) + partGroup * 96, moments, bytes);
}

/** `own` is i + o − j for the first lane and key. */
function addMoments(c: usize, n: i32, factor: f32, most: v128, own: i32, to: usize): void {
  const f = f32x4.splat(factor), lowest = f32x4.splat(-100);
  let d = i32x4.add(i32x4.splat(own), i32x4(0, 1, 2, 3));
  let mass = f32x4.splat(0), surprise = f32x4.splat(0), distance = f32x4.splat(0);
  const end = c + <usize>n * CELLS;
  for (; c < end; c += CELLS) {
    // Below −100 e is 0 already, and 0·(−∞) must not be taken.
    const x = f32x4.pmax(f32x4.sub(f32x4.mul(v128.load(c), f), most), lowest);
    const e = exp4(x);
    mass = f32x4.add(mass, e);
    surprise = f32x4.add(surprise, f32x4.mul(e, x));
    distance = f32x4.add(distance, f32x4.mul(e, f32x4.convert_i32x4_s(i32x4.abs(d))));
    d = i32x4.sub(d, i32x4.splat(1));
  }
  v128.store(to, f32x4.add(v128.load(to), mass));
  v128.store(to, f32x4.add(v128.load(to, 32), surprise), 32);
  v128.store(to, f32x4.add(v128.load(to, 64), distance), 64);
}

/** Slots: out [spans][groups][2][8], positions, width. An empty row has −∞ and 0; no sink. Parts as above. */
export function attentionStatistics(args: usize, part: u32): void {
  begin(args);
  selectPart(args, part);
  const t = partRow, rows = min(CHUNK, Lq - t);
  packChunk(t, rows);
  for (let r: usize = 0; r < <usize>CHUNK << 2; r += 16) {
    v128.store(rowMax + r, MINUS_INFINITY);
    v128.store(rowSum + r, f32x4.splat(0));
  }
  const end = min(partEnd, lastKey(0, rows));
  for (let tile = max(partKey, firstKey(0, rows) & ~(TILE - 1)); tile < end; tile += TILE) {
    for (let r0 = 0; r0 < rows; r0 += GROUP) {
      const valid = min(GROUP, rows - r0);
      const a = max(tile, firstKey(r0, valid)), b = min(tile + TILE, lastKey(r0, valid));
      if (a < b) weighCells(b - a, <usize>r0 << 2, valid, scores(args, t, r0, valid, a, b), false);
    }
  }
  const out: usize = address(args, OUT) + partGroup * 64;
  for (let r: usize = 0; r < <usize>((rows + 7) & ~7); r += 4) {
    const most = v128.load(rowMax + (r << 2)), sum = v128.load(rowSum + (r << 2));
    // Empty: all scores are −∞ or forbidden (NaN scores leave NaN in the sum).
    const empty = v128.and(f32x4.eq(most, MINUS_INFINITY), f32x4.eq(sum, sum));
    const to = out + (r >> 3) * 64 + ((r & 4) << 2);
    v128.store(to, v128.bitselect(MINUS_INFINITY, most, empty));
    v128.store(to, v128.andnot(sum, empty), 32);
  }
}

/** Slots: out [groups][8], own (the key of row 0, which may be none). Part: 64 rows that follow each other. */
export function attentionDiagonal(args: usize, part: u32): void {
  begin(args);
  const own = <i32>argU(args, OWN);
  const t = <i32>part * CHUNK, rows = min(CHUNK, Lq - t);
  packChunk(t, rows);
  readStatistics(args, t, rows);
  for (let r0 = 0; r0 < rows; r0 += GROUP) {
    const valid = min(GROUP, rows - r0);
    const to = address(args, OUT) + (<usize>(t + r0) << 2);
    memory.fill(to, 0, 32);
    const key = own + t + r0;
    const a = max(key, firstKey(r0, valid)), b = min(key + valid, lastKey(r0, valid));
    if (a >= b) continue;
    weigh(args, t, r0, valid, a, b);
    for (let j = a; j < b; j++) {
      const r = <usize>(j - key) << 2;
      store<f32>(to + r, load<f32>(cells + <usize>(j - a) * CELLS + r));
    }
  }
}
