// A model folder by its place, in Node: a path, a file address, or an address on the net. folder.browser.ts has the same.
import { fileURLToPath } from 'node:url';
import { fetchFolder } from './fetch-folder.js';
import type { FileReader } from './files.js';
import { folderReader } from './node-files.js';

/** Reads the files of a folder by name. */
export function openFolder(location: string | URL): FileReader {
  const text = String(location);
  if (/^https?:/.test(text)) return fetchFolder(text);
  return folderReader(text.startsWith('file:') ? fileURLToPath(text) : text);
}
