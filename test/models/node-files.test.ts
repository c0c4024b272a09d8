// Files written at once or not at all: what stands at the path already, a link or no file, stays what it is.
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeAtomically } from '../../dist/models/node-files.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fovea-files-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('a link: the file it names is written, though it lies elsewhere', async () => {
  const [link, file] = [join(folder, 'link'), join(folder, 'file')];
  await writeFile(file, 'old');
  await symlink(file, link);
  await writeAtomically(link, 'new');
  expect(await readFile(file, 'utf8')).toBe('new');
  expect(await readlink(link)).toBe(file);
  expect((await readdir(folder)).sort()).toEqual(['file', 'link']);
});

test.skipIf(process.platform === 'win32')('a pipe gets the bytes, and stays a pipe', async () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const got = readFile(pipe, 'utf8');
  await writeAtomically(pipe, 'a figure');
  expect((await stat(pipe)).isFIFO()).toBe(true);
  expect(await got).toBe('a figure');
});
