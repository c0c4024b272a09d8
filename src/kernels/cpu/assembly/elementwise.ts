// Kernels that treat every element alike. A part is a run of CHUNK elements; the operation is a compile-time constant
// of the one loop, so each kernel is its own tight loop. Element i of the output depends on element i of the inputs only.
import { DENSITY, GATE_CUBIC, GATE_LINEAR, MINUS_HALF, ONE, SLOPE_CUBIC, SLOPE_LINEAR } from './constants';
import { loadLanes, storeLanes } from './lanes';
import { exp4, normalTail4 } from './math';
import { argF, argU } from './runtime';
import { fma4 } from './simd';

/** Elements of one part; `ELEMENTWISE_CHUNK` in engine/ops/checks.ts says the same. */
const CHUNK: u32 = 16384;

const ADD = 0, ADD_SCALED = 1, SCALE = 2, LERP = 3;
const RELU = 4, GELU = 5, GELU_TANH = 6, RELU_BACKWARD = 7, GELU_BACKWARD = 8, GELU_TANH_BACKWARD = 9, RELU_DROPOUT_BACKWARD = 10;

/** φ(x), the normal density times √(2π): e^(−x²/2). */
// @ts-ignore: decorator
@inline function bell4(x: v128): v128 {
  return exp4(f32x4.mul(f32x4.mul(x, x), MINUS_HALF));
}

/** Φ(x), the normal distribution function, from bell = e^(−x²/2); small values keep their relative accuracy. */
// @ts-ignore: decorator
@inline function normal4(x: v128, bell: v128): v128 {
  const tail = f32x4.mul(normalTail4(x), bell);
  return v128.bitselect(tail, f32x4.sub(ONE, tail), f32x4.lt(x, f32x4.splat(0)));
}

/** σ(2u), u = √(2/π)·(x + 0.044715x³): what gelu's tanh form multiplies x with. */
// @ts-ignore: decorator
@inline function tanhGate4(x: v128, square: v128): v128 {
  const u = f32x4.mul(x, fma4(square, GATE_CUBIC, GATE_LINEAR));
  return f32x4.div(ONE, f32x4.add(ONE, exp4(u)));
}

/** d/dx of x·σ(2u) = σ + x·σ·(1−σ)·2u'. */
// @ts-ignore: decorator
@inline function tanhGateSlope4(x: v128): v128 {
  const square = f32x4.mul(x, x), gate = tanhGate4(x, square);
  const slope = fma4(square, SLOPE_CUBIC, SLOPE_LINEAR);
  const spread = f32x4.mul(gate, f32x4.sub(ONE, gate));
  return fma4(f32x4.mul(x, slope), spread, gate);
}

// @ts-ignore: decorator
@inline function apply(operation: i32, x: v128, y: v128, factor: v128): v128 {
  if (operation == ADD) return f32x4.add(x, y);
  if (operation == ADD_SCALED) return fma4(factor, y, x);
  if (operation == SCALE) return f32x4.mul(x, factor);
  if (operation == LERP) return fma4(factor, f32x4.sub(y, x), x);
  if (operation == RELU) return f32x4.pmax(x, f32x4.splat(0)); // pmax in this order keeps NaN
  if (operation == GELU) return f32x4.mul(x, normal4(x, bell4(x)));
  if (operation == GELU_TANH) return f32x4.mul(x, tanhGate4(x, f32x4.mul(x, x)));
  // Backward kinds: x is the forward input, y the gradient of the output.
  if (operation == RELU_BACKWARD) return v128.andnot(y, f32x4.le(x, f32x4.splat(0)));
  if (operation == RELU_DROPOUT_BACKWARD) return v128.andnot(f32x4.mul(y, factor), f32x4.le(x, f32x4.splat(0)));
  if (operation == GELU_TANH_BACKWARD) return f32x4.mul(y, tanhGateSlope4(x));
  const bell = bell4(x);
  return f32x4.mul(y, fma4(f32x4.mul(x, DENSITY), bell, normal4(x, bell)));
}

/** out[i] = operation(x[i], y[i]) over part `part`; `y` = x where the operation has one input. */
// @ts-ignore: decorator
@inline function elementwise(operation: i32, x: usize, y: usize, out: usize, count: u32, factor: f32, part: u32): void {
  const f = f32x4.splat(factor), from = part * CHUNK, left = min(count - from, CHUNK);
  const start = <usize>from << 2, end = start + ((<usize>left >> 2) << 4);
  let i = start;
  for (; i < end; i += 16) v128.store(out + i, apply(operation, v128.load(x + i), v128.load(y + i), f));
  const rest = left & 3;
  if (rest) {
    storeLanes(out + i, apply(operation, loadLanes(x + i, rest, 0), loadLanes(y + i, rest, 0), f), rest);
  }
}

/** Slots x, out, count: out = operation(x). */
// @ts-ignore: decorator
@inline function unary(operation: i32, args: usize, part: u32): void {
  elementwise(operation, argU(args, 0), argU(args, 0), argU(args, 1), argU(args, 2), 0, part);
}

/** Slots x, y, out, count: out = operation(x, y). */
// @ts-ignore: decorator
@inline function binary(operation: i32, args: usize, part: u32): void {
  elementwise(operation, argU(args, 0), argU(args, 1), argU(args, 2), argU(args, 3), 0, part);
}

/** out = x + y. */
export function add(args: usize, part: u32): void {
  binary(ADD, args, part);
}

/** target += factor·source. */
export function addInto(args: usize, part: u32): void {
  elementwise(ADD_SCALED, argU(args, 0), argU(args, 1), argU(args, 0), argU(args, 2), argF(args, 3), part);
}

/** out = factor·x. */
export function scale(args: usize, part: u32): void {
  elementwise(SCALE, argU(args, 0), argU(args, 0), argU(args, 1), argU(args, 2), argF(args, 3), part);
}

/** target += t·(source − target). */
export function lerpInto(args: usize, part: u32): void {
  elementwise(LERP, argU(args, 0), argU(args, 1), argU(args, 0), argU(args, 2), argF(args, 3), part);
}

/** max(x, 0). */
export function relu(args: usize, part: u32): void {
  unary(RELU, args, part);
}

/** x·Φ(x), the exact form; absolute error below 1e-6 for |x| <= 10. */
export function gelu(args: usize, part: u32): void {
  unary(GELU, args, part);
}

/** ½x·(1 + tanh(√(2/π)(x + 0.044715x³))). */
export function geluTanh(args: usize, part: u32): void {
  unary(GELU_TANH, args, part);
}

/** Gradient of relu: 0 where x <= 0. */
export function reluBackward(args: usize, part: u32): void {
  binary(RELU_BACKWARD, args, part);
}

export function geluBackward(args: usize, part: u32): void {
  binary(GELU_BACKWARD, args, part);
}

export function geluTanhBackward(args: usize, part: u32): void {
  binary(GELU_TANH_BACKWARD, args, part);
}

/** Gradient of dropout(relu(·)) from its output x, which is positive exactly where the input was kept and positive. */
export function reluDropoutBackward(args: usize, part: u32): void {
  elementwise(RELU_DROPOUT_BACKWARD, argU(args, 0), argU(args, 1), argU(args, 2), argU(args, 3), argF(args, 4), part);
}

/** Every 32-bit word of `x` = `bits`. Slots x, count, bits. */
export function fill(args: usize, part: u32): void {
  const x = <usize>argU(args, 0), from = part * CHUNK, left = min(argU(args, 1) - from, CHUNK);
  const v = i32x4.splat(argU(args, 2));
  let p = x + (<usize>from << 2);
  for (const end = p + ((<usize>left >> 2) << 4); p < end; p += 16) v128.store(p, v);
  if (left & 3) storeLanes(p, v, left & 3);
}

/** Slots from, fromStride, to, toStride (strides in bytes), rows, columns, rowsPerPart: copies rows of 32-bit words. */
export function copy2d(args: usize, part: u32): void {
  const fromStride = <usize>argU(args, 1), toStride = <usize>argU(args, 3), columns = argU(args, 5);
  const first = <usize>part * argU(args, 6), last = min<usize>(first + argU(args, 6), argU(args, 4));
  for (let row = first; row < last; row++) {
    let p = <usize>argU(args, 0) + row * fromStride, q = <usize>argU(args, 2) + row * toStride;
    for (const end = p + ((<usize>columns >> 2) << 4); p < end; p += 16, q += 16) v128.store(q, v128.load(p));
    if (columns & 3) storeLanes(q, loadLanes(p, columns & 3, 0), columns & 3);
  }
}
