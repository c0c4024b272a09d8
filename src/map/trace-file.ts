// A trace's file: a safetensors file whose header is read at once, its tensors when they are asked for, in pieces that
// are checked as they come. Whatever the file says is checked before it is used.
import { bytesPerElement, type DType, isFloat, makeArray, type TypedArrayOf } from '../tensor/dtype.js';
import { FileFormatError, LimitError } from '../tensor/errors.js';
import { bfloat16ToFloat32 } from '../tensor/half.js';
import { type HostTensor, toFloat32 } from '../tensor/host.js';
import {
  littleEndian,
  readHeaderLength,
  readSafetensorsHeader,
  type SafetensorsEntry,
} from '../tensor/safetensors.js';
import type { Stream } from './held-weights.js';
import type { Progress } from './progress.js';
import type { OpenBytes } from './random-access.js';
import { parseTraceDescription, type TraceDescription } from './trace-format.js';
import { type Numbers, wrongNumber } from './trace-numbers.js';
import { PARTS, type PartName, type Parts, splitName } from './trace-parts.js';

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
  const tensor: FileTensor = { file, at, entry, numbers };
  const read = (progress?: Progress) => readTensor(tensor, progress);
  if (file.bytes || !isFloat(dtype)) return { dtype, shape, read };
  const stream: Stream = async (from, to, visit) => {
    for await (const piece of piecesOf(tensor, from, to)) await visit(toFloat32(piece));
  };
  return { dtype, shape, read, stream };
}

/** A tensor as it lies in a file, at a byte of it. */
interface FileTensor {
  readonly file: OpenBytes;
  readonly at: number;
  readonly entry: SafetensorsEntry;
  readonly numbers: Numbers;
}

/** bfloat16 becomes float32. */
const widened = (dtype: DType): DType => (dtype === 'bfloat16' ? 'float32' : dtype);

/** Numbers from `from` on, as they are in these bytes, checked. */
function decode(
  { entry: { name, dtype, shape }, numbers }: FileTensor,
  bytes: Uint8Array,
  offset: number,
  from: number,
  count: number,
): HostTensor {
  const own = littleEndian(bytes, offset, dtype, count);
  const data = dtype === 'bfloat16' ? bfloat16ToFloat32(own as Uint16Array) : own;
  const tensor = { dtype: widened(dtype), shape: [count], data } as HostTensor;
  const wrong = wrongNumber(numbers, tensor, from, shape);
  if (wrong) throw new FileFormatError(`trace: tensor ${JSON.stringify(name)}: ${wrong}`);
  return tensor;
}

/** Numbers [from, to), some megabytes at a time: the next are on their way while some are worked on. */
async function* piecesOf(tensor: FileTensor, from: number, to: number): AsyncGenerator<HostTensor> {
  const width = bytesPerElement(tensor.entry.dtype);
  const step = STEP / width;
  const read = (i: number) => tensor.file.read(tensor.at + i * width, Math.min(step, to - i) * width);
  let next = from < to ? read(from) : undefined;
  for (let i = from; next; i += step) {
    const bytes = await next;
    next = i + step < to ? read(i + step) : undefined;
    // What is wrong with it is said in its turn, where anybody still asks.
    next?.catch(() => {});
    yield decode(tensor, bytes, 0, i, bytes.length / width);
  }
}

/** A tensor's numbers; bfloat16 as float32. A view where all bytes are in memory and aligned. */
async function readTensor(tensor: FileTensor, progress?: Progress): Promise<HostTensor> {
  const { file, at, entry } = tensor;
  const { name, shape, size } = entry;
  if (file.bytes) {
    const view = decode(tensor, file.bytes, at, 0, size);
    progress?.advance(size);
    return { ...view, shape };
  }
  const dtype = widened(entry.dtype);
  const data = allocate(name, size, dtype);
  let done = 0;
  for await (const piece of piecesOf(tensor, 0, size)) {
    (data as Float32Array).set(piece.data as Float32Array, done);
    done += piece.data.length;
    progress?.advance(piece.data.length);
    await progress?.next();
  }
  return { dtype, shape, data } as HostTensor;
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
