// What the verbs read: sentences line by line, parallel text, model folders by name.
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FileFormatError } from '../tensor/errors.js';
import { UsageError } from './output.js';

/** Longest line read, in characters: what is longer is no sentence. */
const LONGEST_LINE = 1 << 20;

/** Lines of a file or of standard input, as they come, without line ends.
 * @throws FileFormatError if it is not UTF-8 text. */
export async function* readLines(path?: string): AsyncGenerator<string, void, undefined> {
  const name = path ?? 'standard input';
  if (path !== undefined && (await stat(path)).isDirectory())
    throw new FileFormatError(`${path}: is a folder, expected a file`);
  const stream = path === undefined ? process.stdin : createReadStream(path);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  const decode = (bytes?: Uint8Array): string => {
    try {
      const text = decoder.decode(bytes, { stream: bytes !== undefined });
      if (!text.includes('\0')) return text;
    } catch {
      // Said below.
    }
    throw new FileFormatError(`${name}: expected UTF-8 text, got a binary file`);
  };
  const check = (line: string): string => {
    if (line.length > LONGEST_LINE)
      throw new FileFormatError(`${name}: a line of over ${LONGEST_LINE} characters`);
    return line.endsWith('\r') ? line.slice(0, -1) : line;
  };
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    const lines = (rest + decode(chunk)).split('\n');
    rest = lines.pop()!;
    check(rest);
    for (const line of lines) yield check(line);
  }
  rest += decode();
  if (rest !== '') yield check(rest);
}

/** Number of lines of a file, for a progress bar; 0 if it cannot be told. */
export async function countLines(path: string): Promise<number> {
  let lines = 0;
  let last = 10;
  try {
    // A pipe gives its bytes once, a device may never end.
    if (!(await stat(path)).isFile()) return 0;
    for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
      for (const byte of chunk) if (byte === 10) lines++;
      last = chunk.at(-1) ?? last;
    }
  } catch {
    return 0;
  }
  return lines + (last === 10 ? 0 : 1);
}

/** A whole file. */
export async function readBytes(path: string): Promise<Uint8Array> {
  if ((await stat(path)).isDirectory()) throw new FileFormatError(`${path}: is a folder, expected a file`);
  return readFile(path);
}

const shipped = fileURLToPath(new URL('../../models/', import.meta.url));

/** Folder of a model given by the name of a shipped one, or by its path.
 * @throws UsageError if it is neither. */
export async function findModel(nameOrPath: string): Promise<string> {
  const isFolder = async (path: string) => (await stat(path).catch(() => null))?.isDirectory() === true;
  const plain = /^[\w.-]+$/.test(nameOrPath) && !nameOrPath.startsWith('.');
  if (plain && (await isFolder(join(shipped, nameOrPath)))) return join(shipped, nameOrPath);
  if ((await stat(nameOrPath).catch(() => null)) !== null) return nameOrPath;
  const entries = await readdir(shipped, { withFileTypes: true }).catch(() => []);
  const names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const known = names.length > 0 ? ` (shipped: ${names.join(', ')})` : '';
  throw new UsageError(
    `unknown model ${nameOrPath}: expected a model's folder or the name of a shipped one${known}`,
  );
}
