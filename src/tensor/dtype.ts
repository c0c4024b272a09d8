// Element types: their names, widths, and the typed array that holds each. float16 and bfloat16 are held as bits.
import { DTypeError } from './errors.js';

/** What holds the elements of each dtype. */
const ARRAYS = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint64: BigUint64Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

export type DType = keyof typeof ARRAYS;
export type FloatDType = 'float64' | 'float32' | 'float16' | 'bfloat16';
/** The typed array that holds elements of dtype `T`; float16 and bfloat16 are bit patterns in a Uint16Array. */
export type TypedArrayOf<T extends DType = DType> = Held[T];

interface Held {
  float64: Float64Array;
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int64: BigInt64Array;
  int32: Int32Array;
  int16: Int16Array;
  int8: Int8Array;
  uint64: BigUint64Array;
  uint32: Uint32Array;
  uint16: Uint16Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}

export const DTYPES = Object.keys(ARRAYS) as readonly DType[];

export function isDType(name: unknown): name is DType {
  return typeof name === 'string' && Object.hasOwn(ARRAYS, name);
}

export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === 'float32' || dtype === 'float16' || dtype === 'float64' || dtype === 'bfloat16';
}

export function bytesPerElement(dtype: DType): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT;
}

/** A zero-filled array of `length` elements. */
export function makeArray<T extends DType>(dtype: T, length: number): TypedArrayOf<T> {
  return new ARRAYS[dtype](length) as TypedArrayOf<T>;
}

/** Views `length` elements of a buffer; `byteOffset` must be a multiple of the element's width. */
export function viewArray<T extends DType>(
  dtype: T,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): TypedArrayOf<T> {
  return new ARRAYS[dtype](buffer as ArrayBuffer, byteOffset, length) as TypedArrayOf<T>;
}

/** The name of an array's class, across realms: 'Float32Array', or undefined for anything else. */
export function arrayTag(data: unknown): string | undefined {
  if (!ArrayBuffer.isView(data)) return undefined;
  const tag = (data as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  return typeof tag === 'string' && tag !== 'DataView' ? tag : undefined;
}

/** The name of the array class that holds `dtype`. */
export function arrayName(dtype: DType): string {
  return ARRAYS[dtype].name;
}

const INFERRED: Readonly<Record<string, DType>> = {
  Float64Array: 'float64',
  Float32Array: 'float32',
  Float16Array: 'float16',
  BigInt64Array: 'int64',
  Int32Array: 'int32',
  Int16Array: 'int16',
  Int8Array: 'int8',
  BigUint64Array: 'uint64',
  Uint32Array: 'uint32',
  Uint16Array: 'uint16',
  Uint8Array: 'uint8',
};

/**
 * The dtype of typed array class `tag`, checked against a `declared` one: a Uint8Array may be declared bool, a
 * Uint16Array float16 or bfloat16. `what` names the tensor in errors. Throws DTypeError.
 */
export function inferDType(what: string, tag: string, declared: string | undefined): DType {
  const inferred = INFERRED[tag];
  if (inferred === undefined) throw new DTypeError(`${what}: expected a typed array of numbers, got ${tag}`);
  if (declared === undefined) return inferred;
  if (!isDType(declared)) {
    throw new DTypeError(
      `${what}: unknown dtype ${JSON.stringify(declared)}, expected one of ${DTYPES.join(', ')}`,
    );
  }
  if (declared === inferred || (tag !== 'Float16Array' && ARRAYS[declared].name === tag)) return declared;
  throw new DTypeError(`${what}: dtype ${declared} is held in a ${ARRAYS[declared].name}, got a ${tag}`);
}
