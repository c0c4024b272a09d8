// A model folder by its address, in browsers. folder.node.ts has the same export.
import { fetchFolder } from './fetch-folder.js';
import type { FileReader } from './files.js';

/** Fetches the files of a folder by name; the address may be relative to the page's. */
export function openFolder(location: string | URL): FileReader {
  return fetchFolder(location, globalThis.location?.href);
}
