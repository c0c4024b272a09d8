// NumPy's .npy files: versions 1 to 3 are read, 1.0 is written; little-endian, C order.
import { bytesPerElement, type DType } from './dtype.js';
import { FileFormatError } from './errors.js';
import { describe, formatShape, type HostTensor, hostTensor, sizeOf, type TensorLike } from './host.js';
import { bytesOf, littleEndian } from './safetensors.js';

const NAMES: Readonly<Record<string, DType>> = {
  '<f8': 'float64',
  '<f4': 'float32',
  '<f2': 'float16',
  '<i8': 'int64',
  '<i4': 'int32',
  '<i2': 'int16',
  '|i1': 'int8',
  '<u8': 'uint64',
  '<u4': 'uint32',
  '<u2': 'uint16',
  '|u1': 'uint8',
  '|b1': 'bool',
};
const CODES = new Map(Object.entries(NAMES).map(([code, dtype]) => [dtype, code]));
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // '\x93NUMPY'
/** The header is a Python literal; only what NumPy itself writes is accepted. */
const HEADER =
  /^\{\s*'descr'\s*:\s*'([^'\\]{2,16})'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,\s*'shape'\s*:\s*\(([\d ,]*)\)\s*,?\s*\}\s*$/;

function fail(message: string): never {
  throw new FileFormatError(`npy: ${message}`);
}

/** Reads a .npy file; aligned data are a view of `bytes`. Throws FileFormatError. */
export function parseNpy(bytes: Uint8Array): HostTensor {
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte)) fail('the magic bytes are missing');
  const major = bytes[6];
  if (major < 1 || major > 3) fail(`expected version 1, 2 or 3, got ${major}.${bytes[7]}`);
  const start = major === 1 ? 10 : 12;
  if (bytes.length < start) fail(`file of ${bytes.length} bytes ends inside its header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > 65_536) fail(`expected a header of at most 65536 bytes, got ${length}`);
  if (start + length > bytes.length)
    fail(`header of ${length} bytes goes beyond the file of ${bytes.length} bytes`);
  const { code, shape } = readHeader(new TextDecoder('latin1').decode(bytes.slice(start, start + length)));
  const dtype = NAMES[code];
  let size: number;
  try {
    size = sizeOf('npy', shape);
  } catch (error) {
    throw new FileFormatError((error as Error).message, { cause: error });
  }
  const expected = size * bytesPerElement(dtype);
  const got = bytes.length - start - length;
  if (got !== expected) fail(`shape ${formatShape(shape)} of '${code}' needs ${expected} bytes, got ${got}`);
  return { dtype, shape, data: littleEndian(bytes, start + length, dtype, size) };
}

function readHeader(text: string): { code: string; shape: number[] } {
  const match = HEADER.exec(text);
  if (match === null) fail(`header is not the dictionary NumPy writes: ${describe(text.trim())}`);
  const [, code, fortran, sizes] = match;
  if (!Object.hasOwn(NAMES, code)) {
    fail(`expected a descr of ${Object.keys(NAMES).join(', ')}, got '${code}'`);
  }
  if (fortran === 'True') fail('expected C order, got fortran_order True');
  const items = sizes.split(',').map((item) => item.trim());
  if (items.at(-1) === '') items.pop();
  if (!items.every((item) => /^\d{1,16}$/.test(item))) fail(`expected a shape of sizes, got (${sizes})`);
  return { code, shape: items.map(Number) };
}

/** Writes a .npy file, version 1.0. Throws FileFormatError for bfloat16, which NumPy does not know. */
export function serializeNpy(value: TensorLike | HostTensor): Uint8Array {
  const tensor = hostTensor('npy', value);
  const code = CODES.get(tensor.dtype);
  if (code === undefined) fail(`dtype ${tensor.dtype} has no name in .npy files`);
  const sizes = tensor.shape.join(', ') + (tensor.shape.length === 1 ? ',' : '');
  const dictionary = `{'descr': '${code}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const total = Math.ceil((10 + dictionary.length + 1) / 64) * 64;
  if (total - 10 > 0xffff) fail(`shape of rank ${tensor.shape.length} does not fit version 1.0`);
  const bytes = new Uint8Array(total + tensor.data.byteLength);
  bytes.set([...MAGIC, 1, 0]);
  new DataView(bytes.buffer).setUint16(8, total - 10, true);
  bytes.set(new TextEncoder().encode(`${dictionary.padEnd(total - 11)}\n`), 10);
  bytes.set(bytesOf(tensor.data), total);
  return bytes;
}
