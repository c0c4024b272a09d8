// The call, pair and rows an attention kernel is at, in this instance's globals: slots decoded once per part, the
// addresses of one (batch, head), and per row the range of keys its diagonal, window and key length allow.
// Slots 0..SHARED_SLOTS−1 are ATTENTION_SLOTS in ../attention-slots.ts; strides are in bytes.
import { argF, argU, scratchPointer } from './runtime';

/** Keys per tile and query rows per chunk: fixed, so that the order of every sum is. */
// @ts-ignore: decorator
@inline export const TILE: i32 = 64;
/** Keys per tile of the forward: twice as many rescale sums half as often. */
// @ts-ignore: decorator
@inline export const FORWARD_TILE: i32 = 128;
// @ts-ignore: decorator
@inline export const CHUNK: i32 = 64;
/** Bytes of one array of cells [FORWARD_TILE][8], float32. */
// @ts-ignore: decorator
@inline const CELL_BYTES: usize = <usize>FORWARD_TILE * 32;
// @ts-ignore: decorator
@inline export const SHARED_SLOTS: usize = 62;
// @ts-ignore: decorator
@inline const SHARP_KEYS: i32 = 256;
/** Stands for an allowed score of −∞, so that −∞ itself can mark forbidden cells. */
// @ts-ignore: decorator
@inline export const LOWEST: f32 = -3.4028234663852886e38;

/** Slot `i` as an address or a stride in bytes. */
// @ts-ignore: decorator
@inline export function address(args: usize, i: usize): usize {
  return load<u32>(args + (i << 2));
}

// The call.
export let B: i32 = 0;
export let H: i32 = 0;
export let Hkv: i32 = 0;
export let D: i32 = 0;
export let Dv: i32 = 0;
export let scale: f32 = 0;
/**
 * Scores of operands of about unit size are expected to be large, and are summed in float64, for exp magnifies their errors.
 * Not over more keys than SHARP_KEYS: the largest of many errors hardly varies.
 */
export let sharp: bool = false;
/** Rows of dO and v are much longer than those of q and k, whose few gradients hang on errors of dO·v: it is summed in float64. */
export let sharpGrads: bool = false;
export let softcap: f32 = 0;
export let dropMode: u32 = 0; // 0 none, 1 Philox, 2 explicit keep mask
export let dropScale: f32 = 1;
export let dropThreshold: u32 = 0;
export let seedLow: u32 = 0;
export let seedHigh: u32 = 0;
export let keyOffset: i32 = 0;

// The pair (batch, head).
export let batch: i32 = 0;
export let head: i32 = 0;
export let keyHead: i32 = 0;
export let Lq: i32 = 0;
export let Lk: i32 = 0;
/** First row of the batch entry in packed operands. */
export let queryStart: i32 = 0;
export let keyStart: i32 = 0;
export let q: usize = 0;
export let k: usize = 0;
export let v: usize = 0;
export let qRow: usize = 0;
export let kRow: usize = 0;
export let vRow: usize = 0;
/** The diagonal: key i + diagonal is row i's own. */
export let diagonal: i32 = 0;
export let keyLimit: i32 = 0;
export let mask: usize = 0;
export let bias: usize = 0;
export let keep: usize = 0;
export let hasAlibi: bool = false;
export let slope: f32 = 0;
export let sink: f32 = -Infinity;
/** Byte offset of the pair's first row in every row statistic, and the step to its next row. */
export let statOffset: usize = 0;
export let statRow: usize = 4;

let causal: bool = false;
let windowLeft: i32 = -1;
let windowRight: i32 = -1;

// Scratch, in the order of its use; the small and hot things first.
/** Per row of a chunk: first allowed key and the one after the last (i32). */
export let rowLow: usize = 0;
export let rowHigh: usize = 0;
/** Per row of a chunk, float32: running or final maximum; sum or 1/sum; rescale factor or delta. */
export let rowMax: usize = 0;
export let rowSum: usize = 0;
export let rowAux: usize = 0;
/** Philox words of eight rows (128 bytes), or four numbers. */
export let words: usize = 0;
/** Cells [FORWARD_TILE][8] of the group at work: scores, then whatever a pass needs beside them; gradCells [TILE][8]. */
export let cells: usize = 0;
export let keepCells: usize = 0;
export let slopeCells: usize = 0;
export let gradCells: usize = 0;
/** Float64 cells [FORWARD_TILE][8]. */
export let wideCells: usize = 0;
/** First byte after these, for the kernel's own arrays. */
export let scratchRest: usize = 0;

export function decode(args: usize): void {
  B = argU(args, 12);
  H = argU(args, 13);
  Hkv = argU(args, 14);
  D = argU(args, 17);
  Dv = argU(args, 18);
  qRow = argU(args, 3);
  kRow = argU(args, 7);
  vRow = argU(args, 11);
  scale = argF(args, 19);
  sharpGrads = Dv >= 4 * D;
  softcap = argF(args, 20);
  causal = argU(args, 21) != 0;
  windowLeft = argU(args, 22);
  windowRight = argU(args, 23);
  dropMode = argU(args, 42);
  dropThreshold = argU(args, 43);
  dropScale = argF(args, 44);
  seedLow = argU(args, 45);
  seedHigh = argU(args, 46);
  keyOffset = argU(args, 47);
  layOutScratch();
}

function layOutScratch(): void {
  let at = (scratchPointer() + 63) & ~63;
  rowLow = at;
  rowHigh = at + 256;
  rowMax = at + 512;
  rowSum = at + 768;
  rowAux = at + 1024;
  words = at + 1280;
  cells = at + 1536;
  keepCells = cells + CELL_BYTES;
  slopeCells = keepCells + CELL_BYTES + 256; // dropoutCells may write seven keys more
  wideCells = slopeCells + CELL_BYTES;
  gradCells = wideCells + 2 * CELL_BYTES;
  scratchRest = gradCells + CELL_BYTES / 2;
}

/** Points the state at (b, h). */
export function selectPair(args: usize, b: i32, h: i32): void {
  batch = b;
  head = h;
  keyHead = <i32>((<i64>h * Hkv) / H);
  const cuQ: usize = argU(args, 53);
  let qBatch: usize = <usize>b * argU(args, 1);
  let kBatch: usize = <usize>b * argU(args, 5);
  let vBatch: usize = <usize>b * argU(args, 9);
  if (cuQ) {
    const cuK: usize = argU(args, 54);
    queryStart = load<i32>(cuQ + (<usize>b << 2));
    keyStart = load<i32>(cuK + (<usize>b << 2));
    Lq = load<i32>(cuQ + (<usize>b << 2), 4) - queryStart;
    Lk = load<i32>(cuK + (<usize>b << 2), 4) - keyStart;
    qBatch = <usize>queryStart * qRow;
    kBatch = <usize>keyStart * kRow;
    vBatch = <usize>keyStart * vRow;
    statRow = <usize>H << 2;
    statOffset = (<usize>queryStart * H + h) << 2;
  } else {
    Lq = argU(args, 15);
    Lk = argU(args, 16);
    statRow = 4;
    statOffset = (<usize>(b * H + h) * Lq) << 2;
  }
  sharp = Lk <= SHARP_KEYS && abs(scale) * sqrt<f32>(<f32>D) > 1.5;
  q = address(args, 0) + qBatch + <usize>h * address(args, 2);
  k = address(args, 4) + kBatch + <usize>keyHead * address(args, 6);
  v = address(args, 8) + vBatch + <usize>keyHead * address(args, 10);
  selectLimits(args, b);
  selectOptions(args, b, h);
}

function selectLimits(args: usize, b: i32): void {
  const lengths: usize = argU(args, 27);
  const length = lengths ? load<i32>(lengths + (<usize>b << 2)) : Lk;
  keyLimit = max(0, min(length, Lk));
  const offsets: usize = argU(args, 25);
  if (argU(args, 26)) diagonal = length - Lq;
  else diagonal = offsets ? load<i32>(offsets + (<usize>b << 2)) : argU(args, 24);
  // Beyond ±2^29 every cell is on one side of the diagonal anyway; sums of indices then fit 32 bits.
  diagonal = max(-(1 << 29), min(1 << 29, diagonal));
}

function selectOptions(args: usize, b: i32, h: i32): void {
  mask = operand4(args, 28, b, h);
  bias = operand4(args, 33, b, h);
  keep = operand4(args, 48, b, h);
  const slopes: usize = argU(args, 38);
  hasAlibi = slopes != 0;
  if (hasAlibi) slope = load<f32>(slopes + <usize>b * argU(args, 39) + <usize>h * argU(args, 40));
  const sinks: usize = argU(args, 41);
  sink = sinks ? load<f32>(sinks + (<usize>h << 2)) : -Infinity;
}

/** Address of (b, h) in an operand of slots pointer, batch, head, row, key stride; 0 where there is none. */
function operand4(args: usize, slot: usize, b: i32, h: i32): usize {
  const pointer: usize = argU(args, slot);
  return pointer ? pointer + <usize>b * argU(args, slot + 1) + <usize>h * argU(args, slot + 2) : 0;
}

/** Address of row i's statistic in a tensor laid out as the row statistics are. */
// @ts-ignore: decorator
@inline export function statAt(tensor: usize, i: i32): usize {
  return tensor + statOffset + <usize>i * statRow;
}

/** Writes rowLow and rowHigh for rows [from, from + rows), and for those up to the next multiple of 8 the last's. */
export function boundRows(from: i32, rows: i32): void {
  if (!causal && windowLeft < 0 && windowRight < 0) {
    for (let at: usize = 0; at < <usize>rows << 2; at += 32) {
      v128.store(rowLow + at, i32x4.splat(0));
      v128.store(rowLow + at, i32x4.splat(0), 16);
      v128.store(rowHigh + at, i32x4.splat(keyLimit));
      v128.store(rowHigh + at, i32x4.splat(keyLimit), 16);
    }
    return;
  }
  for (let r = 0; r < ((rows + 7) & ~7); r++) boundRow(r, from + min(r, rows - 1));
}

/**
 * Row i is the chunk's row r: key j is within diagonal, window and length iff rowLow[r] <= j < rowHigh[r] (0, 0 where
 * none is).
 */
// @ts-ignore: decorator
@inline export function boundRow(r: i32, i: i32): void {
  const own = <i64>i + diagonal;
  let low: i64 = windowLeft >= 0 ? own - windowLeft : 0;
  let high: i64 = windowRight >= 0 ? own + windowRight + 1 : keyLimit;
  if (causal) high = min(high, own + 1);
  low = max(low, 0);
  high = min(high, keyLimit);
  const some = low < high;
  store<i32>(rowLow + (<usize>r << 2), some ? <i32>low : 0);
  store<i32>(rowHigh + (<usize>r << 2), some ? <i32>high : 0);
}

/** First key that any of `rows` rows from row r0 (a multiple of 8) of the chunk may attend to; Lk if there is none. */
export function firstKey(r0: i32, rows: i32): i32 {
  let first = i32x4.splat(Lk);
  const end = <usize>(r0 + rows) << 2;
  for (let at = <usize>r0 << 2; at < end; at += 16) {
    const some = i32x4.gt_s(v128.load(rowHigh + at), i32x4.splat(0));
    first = i32x4.min_s(first, v128.bitselect(v128.load(rowLow + at), first, some));
  }
  first = i32x4.min_s(first, v128.shuffle<i32>(first, first, 2, 3, 0, 1));
  return min(i32x4.extract_lane(first, 0), i32x4.extract_lane(first, 1));
}

/** The key after the last that any of these rows may attend to; 0 if there is none. */
export function lastKey(r0: i32, rows: i32): i32 {
  let last = i32x4.splat(0);
  const end = <usize>(r0 + rows) << 2;
  for (let at = <usize>r0 << 2; at < end; at += 16) last = i32x4.max_s(last, v128.load(rowHigh + at));
  last = i32x4.max_s(last, v128.shuffle<i32>(last, last, 2, 3, 0, 1));
  return max(i32x4.extract_lane(last, 0), i32x4.extract_lane(last, 1));
}

/**
 * Reads one word of every cache line of a short sequence's rows, all heads at once, where heads lie side by side. Rows
 * then arrive as streams, several misses at a time, instead of one by one as each head asks for its piece.
 */
export function warmRows(pointer: usize, row: usize, rows: i32, headStride: usize, width: i32, heads: i32): void {
  if (pointer == 0 || headStride != <usize>width << 2 || rows > CHUNK) return;
  const bytes = headStride * heads;
  let sum: u32 = 0;
  for (let r = 0; r < rows; r++) {
    for (let at: usize = 0; at < bytes; at += 64) sum += load<u32>(pointer + at);
    pointer += row;
  }
  store<u32>(words, sum);
}

/** The same for q, k and v of the pair's batch entry, when its first head begins. */
export function warmPair(args: usize): void {
  if (head != 0) return;
  warmRows(q, qRow, Lq, argU(args, 2), D, H);
  warmRows(k, kRow, Lk, argU(args, 6), D, Hkv);
  warmRows(v, vRow, Lk, argU(args, 10), Dv, Hkv);
}
