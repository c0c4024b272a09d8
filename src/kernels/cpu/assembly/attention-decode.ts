// Attention of few queries over many keys, as in decoding, after Dao et al. (Flash-Decoding): keys are cut into runs of
// SPLIT, each run gives every row its own softmax over it, and whoever ends the last run of a key head joins them.
//
// Part: `perPart` consecutive units; unit = (batch, key head, run), runs fastest. A unit serves all rows of all query
// heads that share the key head, so that keys and values come from memory once:
//   partials [B,H,Lq,runs,Dv]  o = Σ_j exp(score − m)·v / l        
//   partialStats [B,H,Lq,runs] m = max_j score, l = Σ_j exp(score − m); no allowed cell: −∞ and 0, and no o
//   ended [B,Hkv]              runs that are done; 0 at the start
// Runs ascend in the join: output = Σ w·o with w = exp(m − M)·l / L, and the row's M, L (the sink included) and
// logSumExp. Weights are divided before they meet the values: sums of large values do not overflow.
// Dots run over d, everything else over keys ascending: bits follow from lengths alone.
//
// Scores are summed in another order than attentionForward's, so that the backward pass, which recomputes them, goes with
// that one alone. No dropout, no packed sequences.
import { expScore, logScore4, tanh4 } from './attention-math';
import { clearRow } from './attention-rows';
import {
  address, B, D, Dv, H, Hkv, LOWEST, Lk, Lq, SHARED_SLOTS, batch, bias, boundRow, decode, diagonal, hasAlibi, head, k, kRow, mask, q,
  qRow, rowHigh, rowLow, scale, scratchRest, selectPair, sink, slope, softcap, statAt, v, vRow,
} from './attention-state';
import { cellScale, packScale } from './attention-cells';
import { dots, dots2, exactDot, longDot } from './attention-decode-dots';
import { LOWEST4, MINUS_INFINITY, SIGN } from './constants';
import { firstLanes, sumLanes } from './lanes';
import { exp4 } from './math';
import { argU } from './runtime';
import { fma4 } from './simd';

/** Keys of a run; `SPLIT` in engine/ops/attention-decode.ts says the same. */
const SPLIT: i32 = 256;
/** Rows that go through a run together. */
const ROWS: i32 = 16;
/** Keys that all rows pass before the next ones: they stay in the first-level cache. */
const KEYS: i32 = 64;
/**
 * A row that is alone with keys or values wider than this reads them in memory's order, which arrives up to a third sooner: key
 * by key, and values in blocks of so many numbers, for each 32 columns pass them anew.
 */
const NARROW: i32 = 32;
const BLOCK: i32 = 1024;
/** Keys up to this width go by twos, which takes a twentieth less; of wider ones two are too far apart, and take twice as long. */
const PAIRED: i32 = 64;
/** Rows of at most so many keys in the run sum all of a dot in float64: with few keys no error averages out. */
const EXACT: i32 = 32;
/** Bytes of one row's cells; up to three beyond the run are written. */
const CELL_ROW: usize = <usize>(SPLIT + 4) << 2;
/** Bytes of one query: the widest. */
const MAX_QUERY: usize = 512 * 4;

let queries: usize = 0; // [ROWS][512]
let rowCells: usize = 0; // [ROWS][SPLIT + 4]
let bounds: usize = 0; // [ROWS][4]: first key of the run, the key after the last, where its partial output lies

function layOut(args: usize): void {
  decode(args);
  queries = scratchRest;
  rowCells = queries + <usize>ROWS * MAX_QUERY;
  bounds = rowCells + <usize>ROWS * CELL_ROW;
}

// Slots after the output's.
// @ts-ignore: decorator
@inline function runsOf(args: usize): i32 {
  return argU(args, SHARED_SLOTS + 7);
}

/** Number of (batch, head, row i, run 0) in the partial results. */
function partialOf(args: usize, i: i32): usize {
  return (<usize>(batch * H + head) * Lq + i) * runsOf(args);
}

export function attentionDecode(args: usize, part: u32): void {
  layOut(args);
  const runs = <u32>runsOf(args), perPart = argU(args, 58);
  const end = min((part + 1) * perPart, <u32>B * Hkv * runs);
  const group = H / Hkv;
  let done: u32 = 0;
  for (let unit = part * perPart; unit < end; unit++) {
    const pair = <i32>(unit / runs), run = <i32>(unit % runs);
    const b = pair / Hkv, first = (pair % Hkv) * group;
    selectPair(args, b, first);
    const rows = group * Lq;
    for (let r = 0; r < rows; r += ROWS) weighRun(args, b, first, r, min(ROWS, rows - r), run);
    done++;
    if (run + 1 < <i32>runs && unit + 1 < end) continue;
    const before = atomic.add<u32>(address(args, SHARED_SLOTS + 6) + (<usize>pair << 2), done);
    if (before + done == runs) joinRuns(args, b, first, group);
    done = 0;
  }
}

/** Rows [r0, r0 + rows) of a key head, row = (query head, query), over one run. */
function weighRun(args: usize, b: i32, firstHead: i32, r0: i32, rows: i32, run: i32): void {
  const from = run * SPLIT, to = min(from + SPLIT, Lk);
  for (let r = 0; r < rows; r++) {
    selectPair(args, b, firstHead + (r0 + r) / Lq);
    startRow(r, (r0 + r) % Lq, from, to);
  }
  for (let a = from; a < to; a += KEYS) {
    for (let r = 0; r < rows; r++) scoreRow(r, a, min(a + KEYS, to), rows == 1 && D > NARROW);
  }
  for (let r = 0; r < rows; r++) {
    selectPair(args, b, firstHead + (r0 + r) / Lq);
    const i = (r0 + r) % Lq;
    finishScores(args, r, i);
    const at = partialOf(args, i) + run;
    softmaxRow(r, address(args, SHARED_SLOTS + 5) + (at << 3));
    store<u32>(bounds + (<usize>r << 4), <u32>(address(args, SHARED_SLOTS + 4) + at * (<usize>Dv << 2)), 8);
    clearRow(load<u32>(bounds + (<usize>r << 4), 8), Dv);
  }
  const alone = rows == 1 && Dv > NARROW, block = alone ? max(4, min(KEYS, BLOCK / Dv)) : KEYS;
  const step = alone && (Dv & 31) == 0 ? SPLIT : block;
  for (let a = from; a < to; a += step) {
    for (let r = 0; r < rows; r++) contextRow(r, a, min(a + step, to), block);
  }
}

/** Copies row i's query, scaled, and notes its keys of the run: [low, high), 0 and 0 where there are none. */
function startRow(r: i32, i: i32, from: i32, to: i32): void {
  const own = queries + <usize>r * MAX_QUERY, x = q + <usize>i * qRow;
  const factor = packScale();
  for (let d: usize = 0; d < <usize>D << 2; d += 4) store<f32>(own + d, load<f32>(x + d) * factor);
  boundRow(0, i);
  const low = max(from, load<i32>(rowLow)), high = min(to, load<i32>(rowHigh));
  const at = bounds + (<usize>r << 4);
  store<i32>(at, low < high ? low : 0);
  store<i32>(at, low < high ? high : 0, 4);
}

/** Scaled dots of row r with its keys among [a, b). */
function scoreRow(r: i32, a: i32, b: i32, inOrder: bool): void {
  const at = bounds + (<usize>r << 4);
  const low = load<i32>(at);
  let j = max(a, low);
  const end = min(b, load<i32>(at, 4));
  const x = queries + <usize>r * MAX_QUERY;
  const rest: f64 = cellScale();
  let s = rowCells + <usize>r * CELL_ROW + (<usize>(j - low) << 2);
  let y = k + <usize>j * kRow;
  const exact = load<i32>(at, 4) - low <= EXACT;
  if (inOrder && !exact && D <= PAIRED) {
    for (; j + 2 <= end; j += 2) {
      v128.store64_lane(s, dots2(x, y, y + kRow, rest), 0);
      s += 8;
      y += 2 * kRow;
    }
  }
  if (exact || inOrder) {
    for (; j < end; j++) {
      store<f32>(s, exact ? exactDot(x, y, rest) : longDot(x, y, rest));
      s += 4;
      y += kRow;
    }
    return;
  }
  for (; j + 4 <= end; j += 4) {
    v128.store(s, dots(x, y, y + kRow, y + 2 * kRow, y + 3 * kRow, rest));
    s += 16;
    y += 4 * kRow;
  }
  const left = end - j;
  if (left > 0) v128.store(s, dots(x, y, y + (left > 1 ? kRow : 0), y + (left > 2 ? 2 * kRow : 0), y, rest));
}

/** From scaled dots to scores: softcap, ALiBi, bias; forbidden cells and those behind the last become −∞. */
function finishScores(args: usize, r: i32, i: i32): void {
  const low = load<i32>(bounds + (<usize>r << 4)), n = load<i32>(bounds + (<usize>r << 4), 4) - low;
  const s = rowCells + <usize>r * CELL_ROW, end = s + (<usize>n << 2);
  if (softcap != 0) {
    const cap = f32x4.splat(softcap);
    for (let c = s; c < end; c += 16) v128.store(c, f32x4.mul(cap, tanh4(f32x4.div(v128.load(c), cap))));
  }
  if (hasAlibi) {
    const f = f32x4.splat(-slope);
    let d = i32x4.sub(i32x4.splat(i + diagonal - low), i32x4(0, 1, 2, 3));
    for (let c = s; c < end; c += 16) {
      v128.store(c, fma4(f, f32x4.convert_i32x4_s(i32x4.abs(d)), v128.load(c)));
      d = i32x4.sub(d, i32x4.splat(4));
    }
  }
  const biasStep: usize = argU(args, 37), biasRow = bias + <usize>i * argU(args, 36) + <usize>low * biasStep;
  if (bias) for (let c = s, at = biasRow; c < end; c += 4, at += biasStep) store<f32>(c, load<f32>(c) + load<f32>(at));
  // Allowed scores stay above −∞, which marks forbidden cells.
  for (let c = s; c < end; c += 16) v128.store(c, f32x4.pmax(v128.load(c), LOWEST4));
  if (bias) for (let c = s, at = biasRow; c < end; c += 4, at += biasStep) if (load<f32>(at) == -Infinity) store<f32>(c, -Infinity);
  if (mask) {
    const step: usize = argU(args, 32);
    let at = mask + <usize>i * argU(args, 31) + <usize>low * step;
    for (let c = s; c < end; c += 4, at += step) if (load<u8>(at) == 0) store<f32>(c, -Infinity);
  }
  if (n & 3) {
    const last = s + (<usize>(n & ~3) << 2);
    v128.store(last, v128.bitselect(v128.load(last), MINUS_INFINITY, firstLanes(n & 3)));
  }
}

/** Cells become weights that sum to 1, forbidden ones −0; the run's maximum and sum go to `stats`. */
function softmaxRow(r: i32, stats: usize): void {
  const n = load<i32>(bounds + (<usize>r << 4), 4) - load<i32>(bounds + (<usize>r << 4));
  const s = rowCells + <usize>r * CELL_ROW, end = s + (<usize>n << 2);
  const none = MINUS_INFINITY;
  let top = none;
  for (let c = s; c < end; c += 16) top = f32x4.pmax(top, v128.load(c));
  const half = f32x4.pmax(top, v128.shuffle<f32>(top, top, 2, 3, 0, 1));
  const most = max(f32x4.extract_lane(half, 0), f32x4.extract_lane(half, 1));
  const base = f32x4.splat(most == -Infinity ? 0 : most);
  let total = f32x4.splat(0);
  for (let c = s; c < end; c += 16) {
    const x = v128.load(c), p = exp4(f32x4.sub(x, base));
    total = f32x4.add(total, p);
    v128.store(c, v128.or(p, v128.and(f32x4.eq(x, none), SIGN)));
  }
  const sum = sumLanes(total), f = f32x4.splat(1 / sum);
  if (sum != 0) for (let c = s; c < end; c += 16) v128.store(c, f32x4.mul(v128.load(c), f));
  store<f32>(stats, most);
  store<f32>(stats, sum, 4);
}

/** Adds row r's weighted values of keys among [a, b) to its partial output; all columns pass `block` keys before the next ones. */
function contextRow(r: i32, a: i32, b: i32, block: i32): void {
  const at = bounds + (<usize>r << 4);
  const low = load<i32>(at), j = max(a, low), n = min(b, load<i32>(at, 4)) - j;
  if (n <= 0) return;
  const p = rowCells + <usize>r * CELL_ROW + (<usize>(j - low) << 2), end = p + (<usize>n << 2);
  let y = v + <usize>j * vRow;
  let to: usize = load<u32>(at, 8);
  const wide = <usize>(Dv & ~31) << 2;
  columns32(p, end, y, vRow, to, wide, <usize>block << 2);
  y += wide;
  to += wide;
  let left = Dv & 31;
  for (; left >= 4; left -= 4) {
    columns4(p, end, y, vRow, to);
    y += 16;
    to += 16;
  }
  for (; left > 0; left--) {
    column(p, end, y, vRow, to);
    y += 4;
    to += 4;
  }
}

/** The first `wide` bytes of a row, a multiple of 128; keys whose weights take `block` bytes at a time. */
function columns32(p: usize, end: usize, y: usize, stride: usize, to: usize, wide: usize, block: usize): void {
  for (; p < end; p += block) {
    const stop = min(p + block, end);
    for (let c: usize = 0; c < wide; c += 128) {
      const t = to + c;
      let c0 = v128.load(t), c1 = v128.load(t, 16), c2 = v128.load(t, 32), c3 = v128.load(t, 48);
      let c4 = v128.load(t, 64), c5 = v128.load(t, 80), c6 = v128.load(t, 96), c7 = v128.load(t, 112);
      let x = y + c;
      for (let i = p; i < stop; i += 4) {
        if (load<i32>(i) >= 0) {
          const w = v128.load_splat<f32>(i);
          c0 = fma4(w, v128.load(x), c0);
          c1 = fma4(w, v128.load(x, 16), c1);
          c2 = fma4(w, v128.load(x, 32), c2);
          c3 = fma4(w, v128.load(x, 48), c3);
          c4 = fma4(w, v128.load(x, 64), c4);
          c5 = fma4(w, v128.load(x, 80), c5);
          c6 = fma4(w, v128.load(x, 96), c6);
          c7 = fma4(w, v128.load(x, 112), c7);
        }
        x += stride;
      }
      v128.store(t, c0);
      v128.store(t, c1, 16);
      v128.store(t, c2, 32);
      v128.store(t, c3, 48);
      v128.store(t, c4, 64);
      v128.store(t, c5, 80);
      v128.store(t, c6, 96);
      v128.store(t, c7, 112);
    }
    y += (block >> 2) * stride;
  }
}

function columns4(p: usize, end: usize, y: usize, stride: usize, to: usize): void {
  let c = v128.load(to);
  for (; p < end; p += 4) {
    if (load<i32>(p) >= 0) c = fma4(v128.load_splat<f32>(p), v128.load(y), c);
    y += stride;
  }
  v128.store(to, c);
}

function column(p: usize, end: usize, y: usize, stride: usize, to: usize): void {
  let c = f32x4.splat(load<f32>(to));
  for (; p < end; p += 4) {
    if (load<i32>(p) >= 0) c = fma4(v128.load_splat<f32>(p), v128.load_splat<f32>(y), c);
    y += stride;
  }
  store<f32>(to, f32x4.extract_lane(c, 0));
}

function joinRuns(args: usize, b: i32, firstHead: i32, heads: i32): void {
  for (let h = firstHead; h < firstHead + heads; h++) {
    selectPair(args, b, h);
    for (let i = 0; i < Lq; i++) joinRow(args, i);
  }
}

function joinRow(args: usize, i: i32): void {
  const at = partialOf(args, i), runs = runsOf(args);
  const stats = address(args, SHARED_SLOTS + 5) + (at << 3), end = stats + (<usize>runs << 3);
  let most: f32 = -Infinity;
  for (let s = stats; s < end; s += 8) most = max(most, load<f32>(s));
  let top = max(sink, most);
  const base: f32 = top == -Infinity ? 0 : top;
  let total: f64 = 0;
  for (let s = stats; s < end; s += 8) total += <f64>expScore(load<f32>(s) - base) * load<f32>(s, 4);
  // Empty: all scores are −∞ or forbidden (NaN scores leave NaN in the sum).
  const empty = most <= LOWEST && total == total;
  if (empty) {
    top = sink;
    total = sink == -Infinity ? 0 : 1;
  } else if (sink != -Infinity) total += expScore(sink - base);
  const to = outputRow(args, i);
  clearRow(to, Dv);
  if (!empty) {
    let o = address(args, SHARED_SLOTS + 4) + at * (<usize>Dv << 2);
    for (let s = stats; s < end; s += 8) {
      const m = load<f32>(s), l = load<f32>(s, 4);
      // A run without allowed cells holds nothing.
      if (l != 0) addRow(o, to, <f32>(<f64>expScore(m - base) * l / total));
      o += <usize>Dv << 2;
    }
  }
  const log = f32x4.extract_lane(logScore4(f32x4.splat(<f32>total)), 0);
  store<f32>(statAt(address(args, 55), i), top);
  store<f32>(statAt(address(args, 56), i), <f32>total);
  store<f32>(statAt(address(args, 57), i), empty ? top : top + log);
}

/** to += w·from, Dv numbers. */
function addRow(from: usize, to: usize, w: f32): void {
  const f = f32x4.splat(w);
  let left = Dv;
  for (; left >= 4; left -= 4) {
    v128.store(to, fma4(f, v128.load(from), v128.load(to)));
    from += 16;
    to += 16;
  }
  for (; left > 0; left--) {
    const sum = fma4(f, v128.load_splat<f32>(from), v128.load_splat<f32>(to));
    store<f32>(to, f32x4.extract_lane(sum, 0));
    from += 4;
    to += 4;
  }
}

/** Address of the output's row i. */
function outputRow(args: usize, i: i32): usize {
  const row = address(args, SHARED_SLOTS + 3);
  const own = <usize>batch * address(args, SHARED_SLOTS + 1);
  return address(args, SHARED_SLOTS) + own + <usize>head * address(args, SHARED_SLOTS + 2) + <usize>i * row;
}
