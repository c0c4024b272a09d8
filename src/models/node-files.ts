// Files under Node: reading a model folder, and writing so that a crash leaves the old file or the new, never half.
import { open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileFormatError } from '../tensor/errors.js';
import { CONFIG_FILE, type FileReader, TOKENIZER_FILE, WEIGHTS_FILE } from './files.js';

const isMissing = (error: unknown) => ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');

/** Reads the files of a model folder. */
export function folderReader(folder: string): FileReader {
  return async (name) => {
    try {
      return await readFile(join(folder, name));
    } catch (cause) {
      if (!isMissing(cause)) throw cause;
      const found = await stat(folder).catch(() => undefined);
      const files = `${CONFIG_FILE}, ${WEIGHTS_FILE} and ${TOKENIZER_FILE}`;
      throw new FileFormatError(
        found?.isDirectory()
          ? `model folder ${folder}: expected ${files}, found no ${name}`
          : `model ${folder}: expected a folder with ${files}, found ${found ? 'a file' : 'nothing'}`,
        { cause },
      );
    }
  };
}

let counter = 0;

/**
 * Writes a file under a temporary name beside it, flushes it to the disk, then renames it: the name `path` holds the
 * old bytes or all of the new. A failed write removes the temporary file and leaves `path` as it was.
 */
export async function writeAtomically(path: string, data: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${process.pid}-${counter++}.tmp`;
  try {
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes a rename last through a power cut; not every system can. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    // Windows opens no folders, and some file systems flush none.
  }
}
