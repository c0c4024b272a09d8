// A model folder on the net.
import { FileFormatError } from '../tensor/errors.js';
import type { FileReader } from './files.js';

/** Fetches the files of the folder at an address, with or without its last slash, relative to `page`.
 * Throws, and the reader rejects with, FileFormatError for a bad address and for what the net does not give. */
export function fetchFolder(address: string | URL, page?: string): FileReader {
  const base = parseAddress(address, page);
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  return async (name) => {
    const url = new URL(name, base);
    try {
      const response = await fetch(url);
      if (response.ok) return new Uint8Array(await response.arrayBuffer());
      throw new FileFormatError(`model ${address}: ${name} gives HTTP status ${response.status}`);
    } catch (cause) {
      if (cause instanceof FileFormatError) throw cause;
      throw new FileFormatError(`model ${address}: ${name} cannot be fetched`, { cause });
    }
  };
}

function parseAddress(address: string | URL, page?: string): URL {
  try {
    return new URL(address, page);
  } catch (cause) {
    throw new FileFormatError(`model ${address}: not an address`, { cause });
  }
}
