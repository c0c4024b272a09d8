// Raw ops that treat every element alike: sums, activations, dropout, copies. Not differentiable.
// Inputs of one op need equal sizes; the result has the first input's shape.

import type { KernelName } from '../../kernels/cpu/registry.js';
import { OptionError, ShapeError } from '../../tensor/errors.js';
import type { Tensor } from '../types.js';
import {
  elementParts,
  expectBetween,
  expectEngine,
  expectSameSize,
  expectTensors,
  expectWord,
  rowParts,
} from './checks.js';

/** 'gelu' is the exact form x·Φ(x), 'gelu-tanh' its approximation by tanh. */
export type Activation = 'relu' | 'gelu' | 'gelu-tanh';

const FORWARD = { relu: 'relu', gelu: 'gelu', 'gelu-tanh': 'geluTanh' } as const satisfies Record<
  Activation,
  KernelName
>;
const BACKWARD = {
  relu: 'reluBackward',
  gelu: 'geluBackward',
  'gelu-tanh': 'geluTanhBackward',
} as const satisfies Record<Activation, KernelName>;

/** Which random numbers a dropout draws: equal keys draw equal marks. Both are whole numbers in [0, 2^32). */
export interface DropoutKey {
  seed: number;
  counter: number;
}

/** a + b. */
export function add(a: Tensor, b: Tensor): Tensor {
  expectTensors('add', 'float32', { a, b });
  expectSameSize('add', 'a', a, 'b', b);
  const out = a.engine.empty(a.shape);
  a.engine.run('add', { x: a.pointer, y: b.pointer, out: out.pointer, count: a.size }, elementParts(a.size));
  return out;
}

/** target += scale·source. */
export function addInto(target: Tensor, source: Tensor, scale = 1): void {
  expectTensors('addInto', 'float32', { target, source });
  expectSameSize('addInto', 'target', target, 'source', source);
  const slots = { target: target.pointer, source: source.pointer, count: target.size, factor: scale };
  target.engine.run('addInto', slots, elementParts(target.size));
}

/** factor·x. */
export function scale(x: Tensor, factor: number): Tensor {
  expectTensors('scale', 'float32', { x });
  const out = x.engine.empty(x.shape);
  x.engine.run('scale', { x: x.pointer, out: out.pointer, count: x.size, factor }, elementParts(x.size));
  return out;
}

const word = new DataView(new ArrayBuffer(4));

/** Every element = value; for float32 and int32. */
export function fill(x: Tensor, value: number): void {
  if (x.dtype === 'float32') word.setFloat32(0, value);
  else if (x.dtype === 'int32') word.setInt32(0, value);
  else expectTensors('fill', 'float32', { x });
  x.engine.run('fill', { x: x.pointer, count: x.size, bits: word.getUint32(0) }, elementParts(x.size));
}

/** The activation of each element; NaN stays NaN. */
export function activation(x: Tensor, kind: Activation): Tensor {
  expectTensors('activation', 'float32', { x });
  const out = x.engine.empty(x.shape);
  x.engine.run(
    kernelOf(FORWARD, kind),
    { x: x.pointer, out: out.pointer, count: x.size },
    elementParts(x.size),
  );
  return out;
}

/** dy·(d activation / dx) at the forward input x. relu's derivative at 0 is 0. */
export function activationBackward(dy: Tensor, x: Tensor, kind: Activation): Tensor {
  expectTensors('activationBackward', 'float32', { dy, x });
  expectSameSize('activationBackward', 'dy', dy, 'x', x);
  const out = x.engine.empty(x.shape);
  const slots = { x: x.pointer, dy: dy.pointer, out: out.pointer, count: x.size };
  x.engine.run(kernelOf(BACKWARD, kind), slots, elementParts(x.size));
  return out;
}

function kernelOf<T>(kernels: Record<Activation, T>, kind: Activation): T {
  if (!Object.hasOwn(kernels, kind)) {
    throw new OptionError(`activation: kind must be one of ${Object.keys(kernels).join(', ')}, got ${kind}`);
  }
  return kernels[kind];
}

/**
 * residual + keep·x/(1−rate). Element e is kept where u >= rate, u = (w >>> 8)·2^-24 and w word e & 3 of the
 * Philox4x32-10 block with counter (e >> 2, 0, 0, 0) and key (seed, counter). rate 0 keeps all, 1 drops all.
 */
export function dropout(x: Tensor, rate: number, key: DropoutKey, residual?: Tensor): Tensor {
  if (residual) expectSameSize('dropout', 'x', x, 'residual', residual);
  const slots = dropoutSlots('dropout', x, rate, key, residual);
  if (rate === 0) return residual ? add(residual, x) : scale(x, 1);
  const out = x.engine.empty(x.shape);
  x.engine.run('dropout', { ...slots, out: out.pointer }, elementParts(x.size));
  return out;
}

/** Gradient of dropout for x: the same marks and factor on dy. The residual's gradient is dy itself. */
export function dropoutBackward(dy: Tensor, rate: number, key: DropoutKey): Tensor {
  return dropout(dy, rate, key);
}

/** dropout(relu(x)) in one pass; the marks are those of `dropout`. */
export function reluDropout(x: Tensor, rate: number, key: DropoutKey): Tensor {
  const slots = dropoutSlots('reluDropout', x, rate, key);
  const out = x.engine.empty(x.shape);
  x.engine.run('reluDropout', { ...slots, out: out.pointer }, elementParts(x.size));
  return out;
}

/**
 * Gradient of reluDropout from its output y alone, without drawing again: y > 0 exactly where x was positive and kept.
 * Needs rate < 1.
 */
export function reluDropoutBackward(dy: Tensor, y: Tensor, rate: number): Tensor {
  expectTensors('reluDropoutBackward', 'float32', { dy, y });
  expectSameSize('reluDropoutBackward', 'dy', dy, 'y', y);
  expectBetween('reluDropoutBackward', 'rate', rate, 0, 1 - 2 ** -24);
  const out = y.engine.empty(y.shape);
  const slots = { y: y.pointer, dy: dy.pointer, out: out.pointer, count: y.size };
  y.engine.run('reluDropoutBackward', { ...slots, factor: 1 / (1 - rate) }, elementParts(y.size));
  return out;
}

function dropoutSlots(op: string, x: Tensor, rate: number, { seed, counter }: DropoutKey, residual?: Tensor) {
  expectTensors(op, 'float32', { x, residual });
  expectBetween(op, 'rate', rate, 0, 1);
  expectWord(op, 'key.seed', seed);
  expectWord(op, 'key.counter', counter);
  const below = Math.ceil(rate * 2 ** 24) - 1;
  const pointers = { x: x.pointer, residual: residual?.pointer ?? 0 };
  return { ...pointers, count: x.size, seed, counter, below, factor: 1 / (1 - rate) };
}

/** target += t·(source − target): a running average. */
export function lerpInto(target: Tensor, source: Tensor, t: number): void {
  expectTensors('lerpInto', 'float32', { target, source });
  expectSameSize('lerpInto', 'target', target, 'source', source);
  const slots = { target: target.pointer, source: source.pointer, count: target.size, t };
  target.engine.run('lerpInto', slots, elementParts(target.size));
}

/** Rows inside a tensor's storage; offset and stride in elements. */
export interface StridedRows {
  tensor: Tensor;
  /** First element; default 0. */
  offset?: number;
  stride: number;
}

/** Copies `rows` rows of `columns` elements (float32 or int32). Source and target must not overlap. */
export function copy2d(from: StridedRows, to: StridedRows, rows: number, columns: number): void {
  const { engine, dtype } = from.tensor;
  expectEngine('copy2d', ['from', from.tensor], ['to', to.tensor]);
  expectTensors('copy2d', dtype === 'bool' ? 'float32' : dtype, { from: from.tensor, to: to.tensor });
  expectWord('copy2d', 'rows', rows);
  expectWord('copy2d', 'columns', columns);
  if (rows === 0 || columns === 0) return;
  expectInside('from', from, rows, columns);
  expectInside('to', to, rows, columns);
  const { rowsPerPart, parts } = rowParts(rows, columns);
  const source = { from: from.tensor.pointer + 4 * (from.offset ?? 0), fromStride: 4 * from.stride };
  const target = { to: to.tensor.pointer + 4 * (to.offset ?? 0), toStride: 4 * to.stride };
  engine.run('copy2d', { ...source, ...target, rows, columns, rowsPerPart }, parts);
}

function expectInside(name: string, at: StridedRows, rows: number, columns: number): void {
  const { tensor, offset = 0, stride } = at;
  expectWord('copy2d', `${name}.offset`, offset);
  expectWord('copy2d', `${name}.stride`, stride);
  const end = offset + (rows - 1) * stride + columns;
  if (end > tensor.size) {
    throw new ShapeError(`copy2d: ${name} ends at element ${end}, its tensor has ${tensor.size}`);
  }
}
