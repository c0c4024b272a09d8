// Browsers have no paths. random-access.node.ts has the same export.
import { OptionError } from '../tensor/errors.js';
import type { RandomAccess } from './random-access.js';

/** Refuses. */
export async function openPath(_path: string): Promise<RandomAccess> {
  throw new OptionError('source: a path is read under Node only; give a File, bytes or { size, read }');
}
