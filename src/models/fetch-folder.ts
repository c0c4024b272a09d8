// A model folder on the net.
import { FileFormatError } from '../tensor/errors.js';
import type { FileReader } from './files.js';

/** Fetches the files of the folder at an address, with or without its last slash. */
export function fetchFolder(address: string): FileReader {
  const base = new URL(address);
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  return async (name) => {
    const url = new URL(name, base);
    const response = await fetch(url);
    if (!response.ok)
      throw new FileFormatError(`model ${address}: ${name} gives HTTP status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };
}
