// What surrounds the backward's main kernel: delta of long rows, the gradient of the sinks, and the sum of dq's pieces.
import { argU } from './runtime';
import { CELLS, GROUP, packRows } from './attention-products';
import { scoreKeys } from './attention-tiles';
import { roundFour, wideExp, wideKeys } from './attention-wide';
import { addRows, paddedBytes } from './attention-rows';
import {
  address, B, batch, CHUNK, D, decode, Dv, gradCells, H, head, Lk, Lq, queryStart, scratchRest, selectPair, SHARED_SLOTS, sharpGrads,
  sink, statAt, statOffset, statRow, TILE, wideCells,
} from './attention-state';

// Slots after the shared ones, of every kernel of the backward.
export const OUT: usize = SHARED_SLOTS; // pointer, batch, head, row: the forward's output
export const DOUT: usize = SHARED_SLOTS + 4;
export const DELTA: usize = SHARED_SLOTS + 8;
export const DLSE: usize = SHARED_SLOTS + 9;

/** Address of the pair's first row in an operand at `slot`: pointer, batch, head, row. */
export function rowsOf(args: usize, slot: usize, start: i32, h: i32): usize {
  const pointer: usize = argU(args, slot);
  if (!pointer) return 0;
  const b = argU(args, 53) ? <usize>start * address(args, slot + 3) : <usize>batch * address(args, slot + 1);
  return pointer + b + <usize>h * address(args, slot + 2);
}

/** gradCells = x·y: packed rows of dO with `n` values, or with as many rows of O. */
export function gradientCells(xT: usize, y: usize, yRow: usize, n: i32, valid: i32): void {
  if (!sharpGrads) return scoreKeys(xT, Dv, y, yRow, n, gradCells, valid);
  wideKeys(xT, Dv, y, yRow, n, wideCells, valid);
  roundFour(wideCells, n, 1, gradCells);
  if (valid > 4) roundFour(wideCells + 32, n, 1, gradCells + 16);
}

/** delta = Σ dO·O − dLogSumExp of every row. Part: `perPart` units (batch, head, chunk of 64 rows). */
export function attentionDelta(args: usize, part: u32): void {
  decode(args);
  const chunks = <u32>(argU(args, 15) + CHUNK - 1) / CHUNK;
  const perPart = argU(args, 58);
  const end = min((part + 1) * perPart, <u32>B * H * chunks);
  for (let unit = part * perPart; unit < end; unit++) {
    const pair = unit / chunks;
    selectPair(args, pair / H, pair % H);
    const from = <i32>(unit % chunks) * CHUNK, to = min(Lq, from + CHUNK);
    for (let i = from; i < to; i += GROUP) deltaGroup(args, i, min(GROUP, to - i));
  }
}

/**
 * Eight rows. dO·O is the diagonal of a tile of dO·v's product with O in v's place: in the same order, so that the two
 * cancel exactly where a row has one key.
 */
function deltaGroup(args: usize, i: i32, valid: i32): void {
  const gradRow = address(args, DOUT + 3), outRow = address(args, OUT + 3);
  const grad = rowsOf(args, DOUT, queryStart, head) + <usize>i * gradRow;
  const out = rowsOf(args, OUT, queryStart, head) + <usize>i * outRow;
  const dlse = address(args, DLSE), delta = address(args, DELTA);
  packRows(grad, gradRow, valid, Dv, 1, scratchRest);
  gradientCells(scratchRest, out, outRow, valid, valid);
  for (let r = 0; r < valid; r++) {
    let d = load<f32>(gradCells + <usize>r * (CELLS + 4));
    if (dlse) d -= load<f32>(statAt(dlse, i + r));
    store<f32>(statAt(delta, i + r), d);
  }
}

const DSINKS: usize = SHARED_SLOTS + 10;

/**
 * dSinks[h] = −Σ_{b,i} exp(sink − rowMax)/rowSum·(Σ dO·O − dLogSumExp). Part: one head; b, then i, ascend. In float64: the
 * sum runs over all rows, and its terms cancel.
 */
export function attentionSinks(args: usize, part: u32): void {
  decode(args);
  const gradRow = address(args, DOUT + 3), outRow = address(args, OUT + 3), dlse = address(args, DLSE);
  let sum: f64 = 0;
  for (let b = 0; b < B; b++) {
    selectPair(args, b, part);
    if (sink == -Infinity) continue;
    let grad = rowsOf(args, DOUT, queryStart, head), out = rowsOf(args, OUT, queryStart, head);
    for (let i = 0; i < Lq; i++) {
      const most = load<f32>(statAt(address(args, 55), i)), total = load<f32>(statAt(address(args, 56), i));
      const delta = dotOutput(grad, out) - (dlse ? <f64>load<f32>(statAt(dlse, i)) : 0);
      const share = f64x2.extract_lane(wideExp(f64x2.splat(<f64>sink - most)), 0) / total;
      sum -= share * delta;
      grad += gradRow;
      out += outRow;
    }
  }
  store<f32>(address(args, DSINKS) + (<usize>part << 2), <f32>sum);
}

/** Where O is 0, as in an empty row, dO counts for nothing, whatever it is. */
function dotOutput(grad: usize, out: usize): f64 {
  let sum: f64 = 0;
  for (const end = out + (<usize>Dv << 2); out < end; out += 4) {
    const o: f64 = load<f32>(out);
    if (o != 0) sum += o * load<f32>(grad);
    grad += 4;
  }
  return sum;
}

const DQ: usize = SHARED_SLOTS + 10;
const PARTIALS: usize = SHARED_SLOTS + 14; // [pieces − 1][rows as the statistics][D]
const PIECE_BYTES: usize = SHARED_SLOTS + 15;

/** dq += its later pieces, in ascending order. Part: `perPart` units (batch, head, chunk of 64 rows). */
export function attentionGather(args: usize, part: u32): void {
  decode(args);
  const chunks = <u32>(argU(args, 15) + CHUNK - 1) / CHUNK;
  const perPart = argU(args, 58);
  const end = min((part + 1) * perPart, <u32>B * H * chunks);
  const step = address(args, DQ + 3);
  for (let unit = part * perPart; unit < end; unit++) {
    const pair = unit / chunks;
    selectPair(args, pair / H, pair % H);
    const from = <i32>(unit % chunks) * CHUNK, rows = min(CHUNK, Lq - from), keys = pieceKeys();
    const dq = rowsOf(args, DQ, queryStart, head) + <usize>from * step;
    let partial = address(args, PARTIALS) + (statOffset + <usize>from * statRow) * D;
    for (let first = keys; first < Lk; first += keys) {
      addRows(partial, statRow * D, dq, step, rows, D);
      partial += address(args, PIECE_BYTES);
    }
  }
}

/** The most pieces of keys whose sums make dq; `PIECES` in engine/ops/attention.ts says the same. */
const PIECES: i32 = 8;

/** Keys of a piece of the pair: whole tiles. */
export function pieceKeys(): i32 {
  return max(1, (Lk + PIECES * TILE - 1) / (PIECES * TILE)) * TILE;
}
