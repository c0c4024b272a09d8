// best/ of a training run's folder: whatever fails or is killed, it holds one whole model, never files of two.
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { RunFolder } from '../../dist/tasks/run-folder.js';
import { makeRun, outputOf } from './tiny-run.js';

/** Model `letter`: each of its files says so. */
const bestOf = (letter: string) => ({
  files: new Map(['config.json', 'model.safetensors'].map((name) => [name, Buffer.from(letter)])),
  tokenizer: letter,
});
const readBest = async (folder: RunFolder) => {
  const names = (await readdir(folder.best)).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(folder.best, name), 'utf8')));
  return Object.fromEntries(names.map((name, i) => [name, texts[i]]));
};
const wholeBest = (letter: string, weights = letter) => ({
  'config.json': letter,
  'model.safetensors': weights,
  'tokenizer.json': letter,
});

test('a best model that cannot be written leaves the one before, whole', async () => {
  const folder = new RunFolder(outputOf(await makeRun(), 'best-fails'), () => {});
  await folder.prepare();
  const { files, tokenizer } = bestOf('A');
  await folder.saveBest(files, tokenizer);
  const bad = bestOf('B');
  bad.files.set('model.safetensors', 7 as never);
  await expect(folder.saveBest(bad.files, bad.tokenizer)).rejects.toMatchObject({ path: folder.best });
  expect(await readBest(folder)).toEqual(wholeBest('A'));
  // Of the same model, the weights alone are new.
  await folder.saveBest(new Map(files).set('model.safetensors', Buffer.from('A2')), tokenizer);
  expect(await readBest(folder)).toEqual(wholeBest('A', 'A2'));
  expect(await readdir(folder.path)).toEqual(['best']);
});

test('killed while it writes a best model of another tokenizer: one of the two, whole', {
  timeout: 60_000,
}, async () => {
  const folder = new RunFolder(outputOf(await makeRun(), 'best-killed'), () => {});
  await folder.prepare();
  const { files, tokenizer } = bestOf('A');
  await folder.saveBest(files, tokenizer);
  const url = pathToFileURL(join(import.meta.dirname, '../../dist/tasks/run-folder.js')).href;
  const script = `
    import { RunFolder } from ${JSON.stringify(url)};
    const folder = new RunFolder(${JSON.stringify(folder.path)}, () => {});
    console.log('begin');
    for (let i = 0; ; i++) {
      const letter = 'BA'[i % 2];
      const data = Buffer.from(letter);
      await folder.saveBest(new Map([['config.json', data], ['model.safetensors', data]]), letter);
    }`;
  for (let round = 0; round < 10; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => {
      child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), 7 * round));
      child.on('exit', resolve);
    });
    await folder.prepare();
    const found = await readBest(folder);
    expect([wholeBest('A'), wholeBest('B')]).toContainEqual(found);
    expect(await readdir(folder.path)).toEqual(['best']);
  }
});

test('between the two renames of a best model: the one before comes back', async () => {
  const folder = new RunFolder(outputOf(await makeRun(), 'best-between'), () => {});
  await folder.prepare();
  const { files, tokenizer } = bestOf('A');
  await folder.saveBest(files, tokenizer);
  await rename(folder.best, `${folder.best}.former`);
  await mkdir(`${folder.best}.draft`);
  await folder.prepare();
  expect(await readBest(folder)).toEqual(wholeBest('A'));
  expect(await readdir(folder.path)).toEqual(['best']);
});
