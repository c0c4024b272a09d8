// A file read in pieces, under Node. random-access.browser.ts has the same export.
import { open } from 'node:fs/promises';
import { FileFormatError } from '../tensor/errors.js';
import type { RandomAccess } from './random-access.js';

/** Opens a file; it stays open until `close`. */
export async function openPath(path: string): Promise<RandomAccess> {
  const file = await open(path, 'r');
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new FileFormatError(`${path}: expected a file`);
    return {
      size: found.size,
      async read(offset, length) {
        const bytes = new Uint8Array(length);
        let done = 0;
        while (done < length) {
          const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
          if (bytesRead === 0) break;
          done += bytesRead;
        }
        return bytes.subarray(0, done);
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}
