// Dropout over flat tensors: marks by Philox (see philox.ts), 32 elements at a time. A part is a run of CHUNK elements.
// Dropped elements are selected away: their NaN leaves no trace.
import { loadLanes, storeLanes } from './lanes';
import { keepMarks } from './philox';
import { argF, argU, scratchPointer } from './runtime';

/** Elements of one part; `ELEMENTWISE_CHUNK` in engine/ops/checks.ts says the same. A multiple of 32. */
const CHUNK: u32 = 16384;

const PLAIN = 0, RESIDUAL = 1, RELU = 2;

// @ts-ignore: decorator
@inline function drop(kind: i32, x: v128, residual: v128, keep: v128, factor: v128): v128 {
  const kept = v128.and(f32x4.mul(kind == RELU ? f32x4.pmax(x, f32x4.splat(0)) : x, factor), keep);
  return kind == RESIDUAL ? f32x4.add(residual, kept) : kept;
}

/** Slots x, residual, out, count, seed, counter, below, factor. */
// @ts-ignore: decorator
@inline function dropAll(kind: i32, args: usize, part: u32): void {
  const from = part * CHUNK, left = min(argU(args, 3) - from, CHUNK), offset = <usize>from << 2, marks = scratchPointer();
  const below = i32x4.splat(argU(args, 6)), factor = f32x4.splat(argF(args, 7)), seed = argU(args, 4), counter = argU(args, 5);
  const x = <usize>argU(args, 0) + offset, residual = <usize>argU(args, 1) + offset, out = <usize>argU(args, 2) + offset;
  for (let done: u32 = 0; done < left; done += 32) {
    keepMarks((from + done) >> 2, seed, counter, below, marks);
    const at = <usize>done << 2, some = min(left - done, 32), whole = at + ((<usize>some >> 2) << 4), rest = some & 3;
    let i = at;
    for (; i < whole; i += 16) {
      const r = kind == RESIDUAL ? v128.load(residual + i) : factor;
      v128.store(out + i, drop(kind, v128.load(x + i), r, v128.load(marks + i - at), factor));
    }
    if (rest) {
      const r = kind == RESIDUAL ? loadLanes(residual + i, rest, 0) : factor;
      storeLanes(out + i, drop(kind, loadLanes(x + i, rest, 0), r, v128.load(marks + i - at), factor), rest);
    }
  }
}

/** out = residual + keep·factor·x; residual 0 means none. */
export function dropout(args: usize, part: u32): void {
  if (argU(args, 1)) dropAll(RESIDUAL, args, part);
  else dropAll(PLAIN, args, part);
}

/** out = keep·factor·max(x, 0); the slot `residual` is not read. */
export function reluDropout(args: usize, part: u32): void {
  dropAll(RELU, args, part);
}
