// Work that several test files need, done once a run by whichever asks first; the others wait for it.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';

/** Enough for packing, installing or bundling on a busy machine, in milliseconds. */
export const PATIENCE = 600_000;

/** Calls `make` with an empty folder of that name, once a run; returns the folder and what `make` returned (JSON). */
export async function once<T>(
  name: string,
  make: (folder: string) => Promise<T>,
): Promise<{ folder: string; result: T }> {
  const folder = join(inject('sharedFolder'), name);
  const outcome = `${folder}.json`;
  if (await claim(folder)) {
    const made = await make(folder).then(
      (result) => ({ result }),
      (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
    );
    await writeFile(`${outcome}.part`, JSON.stringify(made));
    await rename(`${outcome}.part`, outcome);
  }
  while (!existsSync(outcome)) await sleep(50);
  const { result, error } = JSON.parse(await readFile(outcome, 'utf8'));
  if (error !== undefined) throw new Error(`${name}: ${error}`);
  return { folder, result };
}

/** Whether this caller is the first. */
async function claim(folder: string): Promise<boolean> {
  try {
    await mkdir(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
