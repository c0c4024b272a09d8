// `fovea train`, driven as a process.
import { spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import { addConfig, makeRun } from '../train/tiny-run.js';

// Several processes: slow on a busy machine.
vi.setConfig({ testTimeout: 300_000 });

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the verb; Ctrl-C comes once standard output has a line that fits `interruptAt`. */
function train(args: string[], interruptAt?: RegExp): Promise<Outcome> {
  const child = spawn(process.execPath, [main, 'train', '--threads', '1', ...args]);
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text;
    if (interruptAt?.test(out)) {
      interruptAt = undefined;
      child.kill('SIGINT');
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

const events = (out: string) =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

test('Ctrl-C saves, exits with 130 and says how to go on; the same command finishes', async () => {
  const path = await makeRun({ epochs: 2_000, saveEvery: 1_000_000 });
  const stopped = await train([path, '--json'], /"type":"step"/);
  expect(stopped.code).toBe(130);
  expect(stopped.err).toContain('saving a checkpoint first');
  expect(stopped.err.trimEnd()).toMatch(/To go on: fovea train \S*config\.json$/);
  expect(stopped.err.trimEnd().endsWith(path)).toBe(true);
  const saved = events(stopped.out).findLast(({ type }) => type === 'checkpoint');
  expect(saved.step).toBeGreaterThanOrEqual(1);
  const { epoch } = events(stopped.out).findLast(({ type }) => type === 'step');

  // How many epochs there are is no part of what the numbers depend on.
  await addConfig(path, { output: 'out', epochs: epoch + 1, saveEvery: 1_000_000 });
  const resumed = await train([path, '--json']);
  expect(resumed.code).toBe(0);
  expect(resumed.out).toContain(`going on at step ${saved.step} `);
  expect(resumed.err).toMatch(/done after \d+ steps; the best model is in .*best\n$/);
  expect(events(resumed.out).findLast(({ type }) => type === 'epoch').epoch).toBe(epoch + 1);
});

test('a field that does not fit, and data that is missing: one line, exit 1', async () => {
  const path = await makeRun({ epochs: 0 });
  const bad = await train([path]);
  expect(bad).toEqual({
    code: 1,
    out: '',
    err: `fovea: ${path}: epochs: expected a whole number from 1 to 100000, got 0\n`,
  });
  await writeFile(path, '{');
  const broken = await train([path]);
  expect(broken.code).toBe(1);
  expect(broken.err).toMatch(/^fovea: .*config\.json: train configuration: not JSON .*\n$/);
  const folder = join(path, '..');
  expect(await train([folder])).toEqual({
    code: 1,
    out: '',
    err: `fovea: ${folder}: is a folder, expected a file\n`,
  });
  await addConfig(path, { output: 'out', data: { train: '.', valid: 'valid.tsv' } });
  expect((await train([path])).err).toContain(`${folder}: is a folder, expected a file`);
  await addConfig(path, { output: 'out' });
  await rm(join(path, '../train.tsv'));
  const missing = await train([path]);
  expect(missing).toEqual({
    code: 1,
    out: '',
    err: `fovea: ${join(path, '../train.tsv')}: no such file or folder\n`,
  });
});
