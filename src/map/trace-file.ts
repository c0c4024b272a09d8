// A trace's file: a safetensors file whose header is read at once, its tensors when they are asked for, in pieces that
// are checked as they come. Whatever the file says is checked before it is used.
import { bytesPerElement, makeArray, type TypedArrayOf } from '../tensor/dtype.js';
import { FileFormatError, LimitError } from '../tensor/errors.js';
import { bfloat16ToFloat32 } from '../tensor/half.js';
import { formatShape, type HostTensor } from '../tensor/host.js';
import {
  littleEndian,
  readHeaderLength,
  readSafetensorsHeader,
  type SafetensorsEntry,
} from '../tensor/safetensors.js';
import type { OpenBytes } from './random-access.js';
import { parseTraceDescription, type TraceDescription } from './trace-format.js';
import { type Numbers, PARTS, type PartName, type Parts, splitName } from './trace-parts.js';

/** Bytes read from a file at a time. */
const STEP = 4 << 20;

export interface TraceFile {
  readonly description: TraceDescription;
  /** Tensors of each entry, by its name. */
  readonly parts: ReadonlyMap<string, Parts>;
}

/** Reads the header. Rejects with FileFormatError. */
export async function readTraceFile(file: OpenBytes): Promise<TraceFile> {
  const length = readHeaderLength(await file.read(0, Math.min(8, file.size)), file.size);
  const start = 8 + length;
  const { entries, metadata } = readSafetensorsHeader(
    (await file.read(8, length)).slice(),
    file.size - start,
  );
  const description = parseTraceDescription(metadata.get('fovea'));
  const parts = new Map<string, Parts>(description.entries.map(({ name }) => [name, {}]));
  for (const entry of entries) {
    const split = splitName(entry.name);
    const own = split && parts.get(split.entry);
    if (own === undefined)
      throw new FileFormatError(
        `trace: tensor ${JSON.stringify(entry.name)} is none of an entry's ${Object.keys(PARTS).join(', ')}`,
      );
    own[split!.part] = filePart(file, start + entry.begin, entry, PARTS[split!.part]);
  }
  return { description, parts };
}

function filePart(file: OpenBytes, at: number, entry: SafetensorsEntry, numbers: Numbers): Parts[PartName] {
  const { dtype, shape } = entry;
  return { dtype, shape, read: () => readTensor(file, at, entry, numbers) };
}

/** A tensor's numbers; bfloat16 as float32. A view where all bytes are in memory and aligned. */
async function readTensor(
  file: OpenBytes,
  at: number,
  { name, dtype, shape, size }: SafetensorsEntry,
  numbers: Numbers,
): Promise<HostTensor> {
  const widened = dtype === 'bfloat16' ? 'float32' : dtype;
  const check = (data: TypedArrayOf, from: number) => {
    const bad = numbers === 'any' ? -1 : findIllegal(data, widened === 'float16', numbers === 'below');
    if (bad < 0) return;
    const place = formatShape(indexOf(from + bad, shape));
    const expected = numbers === 'below' ? 'numbers below ∞' : 'finite numbers';
    throw new FileFormatError(
      `trace: tensor ${JSON.stringify(name)}: expected ${expected}, got another at ${place}`,
    );
  };
  const decode = (bytes: Uint8Array, offset: number, count: number): TypedArrayOf => {
    const own = littleEndian(bytes, offset, dtype, count);
    return dtype === 'bfloat16' ? bfloat16ToFloat32(own as Uint16Array) : own;
  };
  if (file.bytes) {
    const data = decode(file.bytes, at, size);
    check(data, 0);
    return { dtype: widened, shape, data };
  }
  const data = allocate(name, size, widened);
  const width = bytesPerElement(dtype);
  for (let from = 0; from < size; from += STEP / width) {
    const count = Math.min(STEP / width, size - from);
    const piece = decode(await file.read(at + from * width, count * width), 0, count);
    check(piece, from);
    (data as Float32Array).set(piece as Float32Array, from);
  }
  return { dtype: widened, shape, data };
}

function allocate(name: string, size: number, dtype: HostTensor['dtype']): TypedArrayOf {
  try {
    return makeArray(dtype, size);
  } catch {
    throw new LimitError(
      `trace: tensor ${JSON.stringify(name)} finds no memory: ${size * bytesPerElement(dtype)} bytes`,
    );
  }
}

/** The first element that is NaN or ∞, or −∞ unless it is `allowed`; −1 if there is none. */
function findIllegal(data: TypedArrayOf, half: boolean, allowed: boolean): number {
  const length = data.length;
  if (half) {
    const bits = data as Uint16Array;
    for (let i = 0; i < length; i++)
      if ((bits[i] & 0x7c00) === 0x7c00 && !(allowed && bits[i] === 0xfc00)) return i;
    return -1;
  }
  const floats = data as Float32Array;
  const lowest = allowed ? Number.NEGATIVE_INFINITY : -Number.MAX_VALUE;
  for (let i = 0; i < length; i++)
    if (!(floats[i] >= lowest && floats[i] < Number.POSITIVE_INFINITY)) return i;
  return -1;
}

function indexOf(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = flat;
  for (const n of [...shape].reverse()) {
    index.unshift(rest % n);
    rest = Math.floor(rest / n);
  }
  return index;
}
