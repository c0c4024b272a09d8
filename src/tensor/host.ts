// Host tensors: what callers hand in, checked and put in one form. Knows no engine.
import { arrayTag, type DType, inferDType, type TypedArrayOf } from './dtype.js';
import { DTypeError, OptionError, ShapeError } from './errors.js';
import { bfloat16ToFloat32, float32ToHalf, halfToFloat32 } from './half.js';

/** Anything with row-major `data` and its `shape` (or `dims`), such as the tensors of other libraries. */
export type TensorLike = {
  /** A typed array; its class gives the dtype. */
  readonly data: ArrayBufferView;
  /** Needed where the class does not say it: 'bool' for a Uint8Array, 'float16' for a Uint16Array. */
  readonly dtype?: string;
  /** Read where `dtype` is absent. */
  readonly type?: string;
} & ({ readonly shape: readonly number[] } | { readonly dims: readonly number[] });

/** A checked host tensor: contiguous, row-major, as many elements as its shape says. float16 data are bits. */
export interface HostTensor<T extends DType = DType> {
  readonly dtype: T;
  readonly shape: readonly number[];
  readonly data: TypedArrayOf<T>;
}

/** '[2, 3]', for messages. */
export function formatShape(shape: ArrayLike<number>): string {
  return `[${Array.from(shape).join(', ')}]`;
}

/** Number of elements of a shape. Throws ShapeError where it is not a list of sizes or the product is unsafe. */
export function sizeOf(what: string, shape: unknown): number {
  if (!Array.isArray(shape) && arrayTag(shape) === undefined) {
    throw new ShapeError(`${what}: expected a shape (an array of sizes), got ${describe(shape)}`);
  }
  const sizes = shape as ArrayLike<unknown>;
  let zero = false;
  for (let i = 0; i < sizes.length; i++) {
    const n = sizes[i];
    if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < 0) {
      throw new ShapeError(`${what}: size ${describe(n)} of dimension ${i} is not a whole number from 0`);
    }
    zero ||= n === 0;
  }
  if (zero) return 0;
  let size = 1;
  for (let i = 0; i < sizes.length; i++) {
    size *= sizes[i] as number;
    if (size > Number.MAX_SAFE_INTEGER) {
      throw new ShapeError(`${what}: shape ${formatShape(sizes as ArrayLike<number>)} has too many elements`);
    }
  }
  return size;
}

/** A value's kind, for messages: never its contents. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return 'an array';
  return arrayTag(value) ?? 'an object';
}

/** Refuses what is no object, and names other than `known`: a misspelt option must not be ignored. Throws OptionError. */
export function checkOptions(what: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new OptionError(`${what}: expected options to be an object, got ${describe(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new OptionError(`${what}: unknown option ${describe(name)}, expected one of ${known.join(', ')}`);
  }
}

/**
 * Checks a tensor handed in under the name `what`. The data are not copied.
 * Throws DTypeError (no typed array, or a dtype that contradicts it) or ShapeError (shape and size disagree).
 */
export function hostTensor(what: string, value: unknown): HostTensor {
  if (typeof value !== 'object' || value === null) {
    throw new DTypeError(`${what}: expected a tensor { data, shape }, got ${describe(value)}`);
  }
  const like = value as { data?: unknown; shape?: unknown; dims?: unknown; dtype?: unknown; type?: unknown };
  const data = like.data;
  const tag = arrayTag(data);
  if (tag === undefined) {
    const hint = Array.isArray(data) ? ': wrap it, as in new Float32Array(data)' : '';
    throw new DTypeError(`${what}: expected data in a typed array, got ${describe(data)}${hint}`);
  }
  const declared = like.dtype ?? like.type;
  if (declared !== undefined && typeof declared !== 'string') {
    throw new DTypeError(`${what}: dtype is a name, such as 'float32', got ${describe(declared)}`);
  }
  const dtype = inferDType(what, tag, declared);
  const shape = like.shape ?? like.dims;
  const size = sizeOf(what, shape);
  const view = tag === 'Float16Array' ? bitsOf(data as Uint16Array) : (data as TypedArrayOf);
  if (view.length !== size) {
    const got = `${view.length} element${view.length === 1 ? '' : 's'}`;
    throw new ShapeError(`${what}: shape ${formatShape(shape as number[])} needs ${size}, data has ${got}`);
  }
  return { dtype, shape: Array.from(shape as ArrayLike<number>), data: view };
}

function bitsOf(half: { buffer: ArrayBufferLike; byteOffset: number; length: number }): Uint16Array {
  return new Uint16Array(half.buffer, half.byteOffset, half.length);
}

/** The elements as float32 (float64 rounded, integers and bool converted); the same array if they are float32. */
export function toFloat32(tensor: HostTensor): Float32Array {
  if (tensor.dtype === 'float32') return tensor.data as Float32Array;
  if (tensor.dtype === 'float16') return halfToFloat32(tensor.data as Uint16Array);
  if (tensor.dtype === 'bfloat16') return bfloat16ToFloat32(tensor.data as Uint16Array);
  if (tensor.dtype === 'int64' || tensor.dtype === 'uint64') {
    return Float32Array.from(tensor.data as BigInt64Array, Number);
  }
  return new Float32Array(tensor.data as Float64Array);
}

/** The elements as float64, exactly; the same array if they are float64. */
export function toFloat64(tensor: HostTensor): Float64Array {
  if (tensor.dtype === 'float64') return tensor.data as Float64Array;
  if (tensor.dtype === 'int64' || tensor.dtype === 'uint64') {
    return Float64Array.from(tensor.data as BigInt64Array, Number);
  }
  if (tensor.dtype === 'float16' || tensor.dtype === 'bfloat16') return new Float64Array(toFloat32(tensor));
  return new Float64Array(tensor.data as Float32Array);
}

/** Numbers in the float dtype asked for, each rounded once to nearest even; the same array where it already is. */
export function fromFloats<T extends 'float64' | 'float32' | 'float16'>(
  dtype: T,
  numbers: Float32Array | Float64Array,
): TypedArrayOf<T> {
  if (dtype === 'float16') return float32ToHalf(numbers) as TypedArrayOf<T>;
  if (dtype === 'float32') {
    return (arrayTag(numbers) === 'Float32Array' ? numbers : new Float32Array(numbers)) as TypedArrayOf<T>;
  }
  return (arrayTag(numbers) === 'Float64Array' ? numbers : new Float64Array(numbers)) as TypedArrayOf<T>;
}

/** A result for a caller whose own tensor held its float16 numbers in a Float16Array: it holds them so, too. */
export function heldAs<T extends DType>(own: unknown, tensor: HostTensor<T>): HostTensor<T> {
  const data = (own as { data?: unknown } | null | undefined)?.data;
  if (tensor.dtype !== 'float16' || arrayTag(data) !== 'Float16Array') return tensor;
  const Half = (data as { constructor: unknown }).constructor as Uint16ArrayConstructor;
  const { buffer, byteOffset, length } = tensor.data as Uint16Array;
  return { ...tensor, data: new Half(buffer as ArrayBuffer, byteOffset, length) as TypedArrayOf<T> };
}
