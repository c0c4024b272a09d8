// Files under Node: reading a model folder, and writing so that a crash leaves the old file or the new, never half.
import { rmSync } from 'node:fs';
import {
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
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
/** Files that are being written. */
const unfinished = new Set<string>();

/** Removes what this process has not written to its end, before it ends early. */
export function removeUnfinished(): void {
  for (const path of unfinished) rmSync(path, { force: true });
}

/**
 * Writes a file under a temporary name beside it, flushes it to the disk, then renames it: the name `path` holds the
 * old bytes or all of the new. The old file lives on as `previous`, if that is named: killed between the two renames
 * leaves that one alone. A failed write removes the temporary file and leaves all else as it was. A link stays one: what it
 * names is written. What is there and no file, a pipe or a device, is written to as it is.
 */
export async function writeAtomically(
  path: string,
  data: Uint8Array | string,
  previous?: string,
): Promise<void> {
  const own = await realpath(path).catch(() => path);
  const found = await stat(own).catch(() => undefined);
  if (found && !found.isFile() && !found.isDirectory()) return writeTo(own, data);
  const temporary = `${own}.${process.pid}-${counter++}${TEMPORARY}`;
  unfinished.add(temporary);
  try {
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    if (previous !== undefined) {
      await rename(own, previous).catch((error) => {
        if (!isMissing(error)) throw error;
      });
    }
    await rename(temporary, own);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    // What a person knows is the file's own name; a full disk is reported without any.
    if (error instanceof Error) Object.assign(error, { path });
    throw error;
  } finally {
    unfinished.delete(temporary);
  }
  await syncFolder(dirname(own));
}

async function writeTo(path: string, data: Uint8Array | string): Promise<void> {
  try {
    await writeFile(path, data);
  } catch (error) {
    throw Object.assign(error as Error, { path });
  }
}

/** Removes what writes to `path` left behind when their process was killed. Nobody else may be writing it. */
export async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder).catch(() => [])) {
    const rest = name.startsWith(basename(path)) ? name.slice(basename(path).length) : '';
    if (/^\.\d+-\d+\.tmp$/.test(rest)) await unlink(join(folder, name)).catch(() => {});
  }
}

const draftOf = (folder: string) => `${folder}.draft`;
const formerOf = (folder: string) => `${folder}.former`;
const removeFolder = (folder: string) => rm(folder, { recursive: true, force: true });

/**
 * Makes a folder of these files, in the place of the one that is there: at any moment the name `folder` holds all of
 * the old files or all of the new, or, between two renames, nothing. restoreFolder() mends what a kill there left.
 */
export async function replaceFolder(
  folder: string,
  files: ReadonlyMap<string, Uint8Array | string>,
): Promise<void> {
  const [draft, former] = [draftOf(folder), formerOf(folder)];
  await removeFolder(draft);
  await mkdir(draft);
  try {
    for (const [name, data] of files) await writeAtomically(join(draft, name), data);
    await removeFolder(former);
    await rename(folder, former).catch((error) => {
      if (!isMissing(error)) throw error;
    });
    await rename(draft, folder);
  } catch (error) {
    await restoreFolder(folder);
    if (error instanceof Error) Object.assign(error, { path: folder });
    throw error;
  }
  await syncFolder(dirname(folder));
  await removeFolder(former);
}

/** After a replaceFolder() that did not end: the folder is the old one or the new, and nothing is beside it. */
export async function restoreFolder(folder: string): Promise<void> {
  if ((await stat(folder).catch(() => null)) === null) await rename(formerOf(folder), folder).catch(() => {});
  for (const left of [draftOf(folder), formerOf(folder)]) await removeFolder(left);
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
