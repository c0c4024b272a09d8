// Files under Node: reading a model folder, and writing so that a crash leaves the old file or the new, never half.
import { open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileFormatError } from '../tensor/errors.js';
import { CONFIG_FILE, type FileReader, TOKENIZER_FILE, WEIGHTS_FILE } from './files.js';

const isMissing = (error: unknown) =>
  ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');

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

const TEMPORARY = '.tmp';
let counter = 0;

/**
 * Writes a file under a temporary name beside it, flushes it to the disk, then renames it: the name `path` holds the
 * old bytes or all of the new. The old file lives on as `previous`, if that is named: killed between the two renames
 * leaves that one alone. A failed write removes the temporary file and leaves all else as it was.
 */
export async function writeAtomically(
  path: string,
  data: Uint8Array | string,
  previous?: string,
): Promise<void> {
  const temporary = `${path}.${process.pid}-${counter++}${TEMPORARY}`;
  try {
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    if (previous !== undefined) {
      await rename(path, previous).catch((error) => {
        if (!isMissing(error)) throw error;
      });
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    // What a person knows is the file's own name; a full disk is reported without any.
    if (error instanceof Error) Object.assign(error, { path });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Removes what writes to `path` left behind when their process was killed. Nobody else may be writing it. */
export async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder)) {
    const rest = name.startsWith(basename(path)) ? name.slice(basename(path).length) : '';
    if (/^\.\d+-\d+\.tmp$/.test(rest)) await unlink(join(folder, name)).catch(() => {});
  }
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
