// Bytes from anywhere, read in pieces: a file, a Blob, memory, or what a program gives. Knows no format.
import { openPath } from '#random-access';
import { arrayTag } from '../tensor/dtype.js';
import { FileFormatError, OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';

/** Bytes that are read piece by piece. */
export interface RandomAccess {
  readonly size: number;
  /** Bytes [offset, offset + length). */
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
  /** Called when nothing more will be read. */
  close?(): void | Promise<void>;
}

/** Where bytes may come from: a path (under Node), bytes, a Blob or File, or a reader. */
export type ByteSource = string | Uint8Array | Blob | RandomAccess;

/** A reader of checked size; `bytes` where all of it is in memory. */
export interface OpenBytes {
  readonly size: number;
  readonly bytes?: Uint8Array;
  /** Exactly these bytes. Rejects with FileFormatError where there are fewer. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Opens a source. Rejects with OptionError for what is none. */
export async function openBytes(source: ByteSource): Promise<OpenBytes> {
  if (isBytes(source)) {
    const read = async (offset: number, length: number) => source.subarray(offset, offset + length);
    return { size: source.length, bytes: source, read, close: async () => {} };
  }
  const access = typeof source === 'string' ? await openPath(source) : readerOf(source);
  const { size } = access;
  if (!Number.isSafeInteger(size) || size < 0)
    throw new OptionError(`source: size is a whole number of bytes, got ${describe(size)}`);
  return {
    size,
    async read(offset, length) {
      const bytes = await access.read(offset, length);
      if (!isBytes(bytes) || bytes.length !== length) {
        const got = isBytes(bytes) ? bytes.length : describe(bytes);
        throw new FileFormatError(`expected ${length} bytes at ${offset}, got ${got}`);
      }
      return bytes;
    },
    close: async () => access.close?.(),
  };
}

function readerOf(source: Blob | RandomAccess): RandomAccess {
  if (typeof source === 'object' && source !== null) {
    if ('read' in source && typeof source.read === 'function') return source;
    if ('arrayBuffer' in source && typeof source.slice === 'function') {
      const read = async (offset: number, length: number) =>
        new Uint8Array(await source.slice(offset, offset + length).arrayBuffer());
      return { size: source.size, read };
    }
  }
  throw new OptionError(
    `source: expected a path, a Uint8Array, a Blob or { size, read }, got ${describe(source)}`,
  );
}

const isBytes = (value: unknown): value is Uint8Array => arrayTag(value) === 'Uint8Array';
