// The safetensors file format, read and written. Whatever a file says is checked before it is used.
// Layout: 8 bytes header length N (little-endian), N bytes of JSON, then the tensors' bytes without gaps.
import { bytesPerElement, type DType, makeArray, type TypedArrayOf, viewArray } from './dtype.js';
import { FileFormatError } from './errors.js';
import { describe, formatShape, type HostTensor, hostTensor, sizeOf, type TensorLike } from './host.js';
import { repeatedName } from './repeated-name.js';

const NAMES: Readonly<Record<string, DType>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U64: 'uint64',
  U32: 'uint32',
  U16: 'uint16',
  U8: 'uint8',
  BOOL: 'bool',
};
const CODES = new Map(Object.entries(NAMES).map(([code, dtype]) => [dtype, code]));
const MAX_HEADER = 100_000_000;

export interface SafetensorsFile {
  /** In the order of their bytes in the file. */
  readonly tensors: Map<string, HostTensor>;
  readonly metadata: Map<string, string>;
}

/** A tensor as the header tells of it; `begin` and `end` count from the first tensor's byte. @internal */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly size: number;
  readonly begin: number;
  readonly end: number;
}

/**
 * Reads a safetensors file. Tensors whose bytes are aligned are views of `bytes`, the others copies.
 * Throws FileFormatError naming the tensor, what was expected and what the file says.
 */
export function parseSafetensors(bytes: Uint8Array): SafetensorsFile {
  const length = readHeaderLength(bytes.subarray(0, 8), bytes.length);
  const start = 8 + length;
  const { entries, metadata } = readSafetensorsHeader(bytes.slice(8, start), bytes.length - start);
  const tensors = new Map<string, HostTensor>();
  for (const { name, dtype, shape, size, begin } of entries) {
    tensors.set(name, { dtype, shape, data: littleEndian(bytes, start + begin, dtype, size) });
  }
  return { tensors, metadata };
}

/** What the header's JSON says of a file with `available` bytes of tensor data, checked, in the data's order. @internal */
export function readSafetensorsHeader(
  json: Uint8Array,
  available: number,
): { entries: SafetensorsEntry[]; metadata: Map<string, string> } {
  const metadata = new Map<string, string>();
  const entries: SafetensorsEntry[] = [];
  for (const [name, value] of Object.entries(parseHeader(json))) {
    if (name === '__metadata__') readMetadata(value, metadata);
    else entries.push(readEntry(name, value, available));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end || (a.name < b.name ? -1 : 1));
  let expected = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== expected)
      fail(`tensor ${quote(name)}: expected its bytes to start at ${expected}, got ${begin}`);
    expected = end;
  }
  if (expected !== available) fail(`expected ${expected} bytes of tensor data, got ${available}`);
  return { entries, metadata };
}

function fail(message: string, cause?: unknown): never {
  throw new FileFormatError(`safetensors: ${message}`, cause === undefined ? undefined : { cause });
}

function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}

/** Bytes of JSON that the first eight of a file of `size` bytes announce. @internal */
export function readHeaderLength(first: Uint8Array, size: number): number {
  if (first.length < 8) fail(`expected 8 bytes of header length, got a file of ${size} bytes`);
  const view = new DataView(first.buffer, first.byteOffset, 8);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  if (length > MAX_HEADER) fail(`expected a header of at most ${MAX_HEADER} bytes, got ${length}`);
  if (length > size - 8) fail(`header of ${length} bytes goes beyond the file of ${size} bytes`);
  return length;
}

function parseHeader(json: Uint8Array): object {
  let [header, text]: [unknown, string] = [undefined, ''];
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(json);
    header = JSON.parse(text);
  } catch (error) {
    fail(`header is not valid JSON: ${(error as Error).message}`, error);
  }
  if (!isRecord(header)) fail(`expected the header to be a JSON object, got ${describe(header)}`);
  // The format forbids it, and readers would differ in which of the two they read.
  const repeated = repeatedName(text);
  if (repeated !== undefined) fail(`the header gives the name ${quote(repeated)} twice`);
  return header;
}

/** @internal */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readMetadata(value: unknown, into: Map<string, string>): void {
  if (!isRecord(value)) fail(`expected __metadata__ to be an object of strings, got ${describe(value)}`);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') fail(`metadata ${quote(key)}: expected a string, got ${describe(text)}`);
    into.set(key, text);
  }
}

function readEntry(name: string, value: unknown, available: number): SafetensorsEntry {
  const what = `tensor ${quote(name)}`;
  if (!isRecord(value)) fail(`${what}: expected an object, got ${describe(value)}`);
  const { dtype: code, shape, data_offsets: offsets } = value;
  if (typeof code !== 'string' || !Object.hasOwn(NAMES, code)) {
    fail(`${what}: expected a dtype of ${Object.keys(NAMES).join(', ')}, got ${describe(code)}`);
  }
  const dtype = NAMES[code];
  if (!Array.isArray(shape)) fail(`${what}: expected shape to be an array, got ${describe(shape)}`);
  let size: number;
  try {
    size = sizeOf(what, shape);
  } catch (error) {
    fail((error as Error).message, error);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isOffset)) {
    fail(`${what}: expected data_offsets of two whole numbers, got ${describe(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > available) {
    fail(`${what}: expected data_offsets within ${available} bytes of data, got ${begin} to ${end}`);
  }
  const length = size * bytesPerElement(dtype);
  if (end - begin !== length) {
    fail(`${what}: shape ${formatShape(shape)} of ${code} needs ${length} bytes, got ${end - begin}`);
  }
  return { name, dtype, shape, size, begin, end };
}

function isOffset(n: unknown): boolean {
  return typeof n === 'number' && Number.isSafeInteger(n) && n >= 0;
}

/** Elements that lie little-endian at `offset`: a view where alignment allows, else a copy. @internal */
export function littleEndian(bytes: Uint8Array, offset: number, dtype: DType, size: number): TypedArrayOf {
  const width = bytesPerElement(dtype);
  const at = bytes.byteOffset + offset;
  if (LITTLE && at % width === 0) return viewArray(dtype, bytes.buffer, at, size);
  const copy = new Uint8Array(size * width);
  copy.set(bytes.subarray(offset, offset + size * width));
  if (!LITTLE) swap(copy, width);
  return viewArray(dtype, copy.buffer, 0, size);
}

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function swap(bytes: Uint8Array, width: number): void {
  for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse();
}

/** The bytes of an array, little-endian. @internal */
export function bytesOf(data: TypedArrayOf): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (LITTLE) return bytes;
  const copy = bytes.slice();
  swap(copy, data.BYTES_PER_ELEMENT);
  return copy;
}

/**
 * Writes tensors as a safetensors file: wide dtypes first, then by name, so that every tensor is aligned and the
 * same tensors give the same bytes. Throws DTypeError or ShapeError for what is no tensor, FileFormatError for the
 * reserved name and for a name given twice.
 */
export function serializeSafetensors(
  tensors: Iterable<readonly [string, TensorLike | HostTensor]>,
  metadata?: Iterable<readonly [string, string]>,
): Uint8Array {
  const list: { name: string; tensor: HostTensor }[] = [];
  const seen = new Set(['__metadata__']);
  for (const [name, value] of tensors) {
    if (seen.has(name)) fail(`tensor name ${quote(name)} is reserved or given twice`);
    seen.add(name);
    list.push({ name, tensor: hostTensor(`tensor ${quote(name)}`, value) });
  }
  list.sort(
    (a, b) => bytesPerElement(b.tensor.dtype) - bytesPerElement(a.tensor.dtype) || (a.name < b.name ? -1 : 1),
  );
  // A Map entry per line of JSON, not an object: names such as "__proto__" must survive.
  const fields: string[] = [];
  if (metadata !== undefined) {
    const keys = new Set<string>();
    const pairs = Array.from(metadata, ([key, text]) => {
      if (keys.has(key)) fail(`metadata ${quote(key)} is given twice`);
      keys.add(key);
      return `${JSON.stringify(key)}:${JSON.stringify(String(text))}`;
    });
    fields.push(`"__metadata__":{${pairs.join(',')}}`);
  }
  let offset = 0;
  for (const { name, tensor } of list) {
    const end = offset + tensor.data.byteLength;
    const entry = { dtype: CODES.get(tensor.dtype), shape: tensor.shape, data_offsets: [offset, end] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    offset = end;
  }
  const text = new TextEncoder().encode(`{${fields.join(',')}}`);
  const headerLength = Math.ceil(text.length / 8) * 8;
  if (headerLength > MAX_HEADER)
    fail(`expected a header of at most ${MAX_HEADER} bytes, got ${headerLength}`);
  const bytes = new Uint8Array(8 + headerLength + offset);
  new DataView(bytes.buffer).setUint32(0, headerLength, true);
  bytes.fill(0x20, 8 + text.length, 8 + headerLength);
  bytes.set(text, 8);
  let at = 8 + headerLength;
  for (const { tensor } of list) {
    bytes.set(bytesOf(tensor.data), at);
    at += tensor.data.byteLength;
  }
  return bytes;
}

/** A copy of a tensor that shares no memory with the original. */
export function copyTensor<T extends DType>(tensor: HostTensor<T>): HostTensor<T> {
  const data = makeArray(tensor.dtype, tensor.data.length);
  (data as Uint8Array).set(tensor.data as Uint8Array);
  return { dtype: tensor.dtype, shape: [...tensor.shape], data };
}
