// Checks that the raw ops share, and how work over elements and rows is split. The split follows from shapes alone.
import { DTypeError, EngineError, OptionError, ShapeError } from '../../tensor/errors.js';
import type { EngineDType, Tensor } from '../types.js';

/** Elements of one part of an elementwise kernel; the kernels' CHUNK says the same. */
export const ELEMENTWISE_CHUNK = 16384;
/** Elements of one partial sum; the kernels' SUM_CHUNK says the same. */
export const SUM_CHUNK = 65536;
/** About as many elements go into one part of a kernel over rows. */
const ROW_CHUNK = 32768;

/** Parts of a kernel over `count` elements. */
export function elementParts(count: number): number {
  return Math.ceil(count / ELEMENTWISE_CHUNK);
}

/** Rows of one part, and the number of parts, for a kernel that treats every row alone. */
export function rowParts(rows: number, columns: number): { rowsPerPart: number; parts: number } {
  const rowsPerPart = Math.max(1, Math.floor(ROW_CHUNK / Math.max(1, columns)));
  return { rowsPerPart, parts: Math.ceil(rows / rowsPerPart) };
}

/** Throws DTypeError or EngineError unless all tensors are of this dtype and of the first one's engine. */
export function expectTensors(
  op: string,
  dtype: EngineDType,
  tensors: Record<string, Tensor | undefined>,
): void {
  let first: [string, Tensor] | undefined;
  for (const [name, tensor] of Object.entries(tensors)) {
    if (tensor === undefined) continue;
    if (tensor.dtype !== dtype) throw new DTypeError(`${op}: ${name} is ${tensor.dtype}, expected ${dtype}`);
    first ??= [name, tensor];
    expectEngine(op, first, [name, tensor]);
  }
}

/** Throws EngineError unless both belong to one engine. */
export function expectEngine(
  op: string,
  [name, tensor]: [string, Tensor],
  [other, second]: [string, Tensor],
): void {
  if (tensor.engine !== second.engine) {
    throw new EngineError(`${op}: ${other} belongs to another engine than ${name}`);
  }
}

/** [rows, columns] of a matrix; throws ShapeError for other ranks. */
export function matrixShape(op: string, name: string, tensor: Tensor): [number, number] {
  if (tensor.shape.length !== 2) {
    throw new ShapeError(`${op}: ${name} has shape ${show(tensor.shape)}, expected two dimensions`);
  }
  return [tensor.shape[0], tensor.shape[1]];
}

/** Throws ShapeError unless the tensor has exactly this shape. */
export function expectShape(op: string, name: string, tensor: Tensor, shape: readonly number[]): void {
  if (tensor.shape.length !== shape.length || tensor.shape.some((n, i) => n !== shape[i])) {
    throw new ShapeError(`${op}: ${name} has shape ${show(tensor.shape)}, expected ${show(shape)}`);
  }
}

/** Throws ShapeError unless both tensors have equally many elements. */
export function expectSameSize(op: string, name: string, a: Tensor, other: string, b: Tensor): void {
  if (a.size !== b.size) {
    throw new ShapeError(
      `${op}: ${other} has shape ${show(b.shape)}, ${name} ${show(a.shape)}; sizes must be equal`,
    );
  }
}

/** Throws OptionError unless `value` is a whole number that 32 unsigned bits hold. */
export function expectWord(op: string, name: string, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw new OptionError(`${op}: ${name} must be a whole number in [0, 2^32), got ${value}`);
  }
}

/** Throws OptionError unless min <= value <= max (NaN fails). */
export function expectBetween(op: string, name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) {
    throw new OptionError(`${op}: ${name} must be in [${min}, ${max}], got ${value}`);
  }
}

function show(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
