// Parallel text in TSV: a source sentence, then one or more references, tab-separated, one example a line, UTF-8.
import { FileFormatError } from '../tensor/errors.js';

export interface ParallelLine {
  readonly source: string;
  readonly references: readonly string[];
}

/**
 * Reads a TSV. Blank lines are skipped; a line with fewer than two columns, an empty column, or bytes that are not
 * UTF-8 text is a FileFormatError that names file and line. `columns` demands an exact number.
 */
export function parseParallelText(name: string, bytes: Uint8Array, columns?: number): ParallelLine[] {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FileFormatError(`${name}: expected UTF-8 text, got other bytes`, { cause });
  }
  if (text.includes('\0')) throw new FileFormatError(`${name}: expected text, got a binary file`);
  const out: ParallelLine[] = [];
  text.split('\n').forEach((raw, i) => {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (line.trim() === '') return;
    const cells = line.split('\t');
    const expected = columns ?? 'two or more';
    if (columns === undefined ? cells.length < 2 : cells.length !== columns) {
      throw new FileFormatError(
        `${name}:${i + 1}: expected ${expected} tab-separated columns, got ${cells.length}`,
      );
    }
    const blank = cells.findIndex((cell) => cell.trim() === '');
    if (blank >= 0) throw new FileFormatError(`${name}:${i + 1}: column ${blank + 1} is empty`);
    out.push({ source: cells[0], references: cells.slice(1) });
  });
  if (out.length === 0)
    throw new FileFormatError(`${name}: expected at least one line of parallel text, got none`);
  return out;
}

/** Every (source, reference) pair. */
export function allPairs(lines: readonly ParallelLine[]): [string, string][] {
  return lines.flatMap(({ source, references }) => references.map((r): [string, string] => [source, r]));
}
