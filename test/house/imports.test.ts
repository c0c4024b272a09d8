// The house's one rule: imports point only towards the top of this list.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';

const ROOMS = [
  'tensor',
  'attention',
  'kernels',
  'engine',
  'map',
  'autograd',
  'nn',
  'train',
  'text',
  'models',
  'tasks',
  'inspect',
  'cli',
];
const root = join(import.meta.dirname, '../..');
const src = join(root, 'src');

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

function imports(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((match) => join(file, '..', match[1]));
}

/** Imports that point down the list, as `from -> to`. */
function violations(): string[] {
  const room = (path: string) => relative(src, path).split('/')[0];
  return files(src).flatMap((file) =>
    imports(file)
      .filter(
        (target) => ROOMS.indexOf(room(target)) > ROOMS.indexOf(room(file)) && ROOMS.includes(room(file)),
      )
      .map((target) => `${relative(src, file)} -> ${relative(src, target)}`),
  );
}

describe('the house', () => {
  test('every folder of src is a room of the list', () => {
    const folders = readdirSync(src, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map((entry) => entry.name).filter((name) => !ROOMS.includes(name))).toEqual([]);
  });

  test('imports point only towards the top', () => {
    expect(violations()).toEqual([]);
  });

  test('a file has at most 400 lines, or says in its head why not', () => {
    const long = [src, join(root, 'viewer')].flatMap(files).filter((file) => {
      const lines = readFileSync(file, 'utf8').split('\n');
      return lines.length > 401 && !/long because/i.test(lines.slice(0, 12).join(' '));
    });
    expect(long.map((file) => relative(root, file))).toEqual([]);
  });
});
