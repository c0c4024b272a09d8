// Ctrl-C, whenever it comes: one clear line, exit code 130, and no file half written.
import { execFileSync, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { makeTinyModel, SENTENCES } from '../helpers/tiny-model.js';

// A process a check: slow on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const main = join(import.meta.dirname, '../../dist/cli/main.js');
let model: string;
let folder: string;
beforeAll(async () => {
  model = await makeTinyModel();
  folder = await mkdtemp(join(tmpdir(), 'fovea-interrupt-'));
}, 120_000);
afterAll(async () => {
  await rm(model, { recursive: true });
  await rm(folder, { recursive: true });
});

/** A disk that never ends to write. */
const SLOW = `data:text/javascript,${encodeURIComponent(`
  import { open } from 'node:fs/promises';
  const file = await open(process.execPath);
  Object.getPrototypeOf(file).sync = () => new Promise(() => setInterval(() => {}, 1000));
  await file.close();
`)}`;

function start(args: string[], flags: string[] = []) {
  const child = spawn(process.execPath, [...flags, main, ...args]);
  child.stdin.end();
  let err = '';
  child.stderr.on('data', (bytes) => {
    err += bytes;
  });
  child.stdout.resume();
  const ended = new Promise<{ code: number | null; err: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, err })),
  );
  return { child, ended };
}

const interrupted = { code: 130, err: 'fovea: interrupted\n' };

test.each(['--trace', '--svg', '--png', '--html'])(
  'while %s is written: nothing is left of it',
  async (option) => {
    const { child, ended } = start(
      ['translate', '--model', model, SENTENCES[0], option, join(folder, 'figure')],
      ['--import', SLOW],
    );
    await vi.waitFor(async () => expect(await readdir(folder)).toHaveLength(1), { timeout: 60_000 });
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^figure\.\d+-0\.tmp$/)]);
    child.kill('SIGINT');
    expect(await ended).toEqual(interrupted);
    expect(await readdir(folder)).toEqual([]);
  },
);

test.skipIf(process.platform === 'win32').each(['SIGINT', 'SIGTERM'] as const)(
  'while a text is encoded: %s ends it at once',
  async (signal) => {
    const pipe = join(folder, 'book.txt');
    execFileSync('mkfifo', [pipe]);
    const { child, ended } = start(['view', '--text', pipe]);
    // Opened where it is read; half a million words take minutes.
    const writer = createWriteStream(pipe);
    writer.end('Was it the cat that saw the mouse, or the mouse that saw the cat? '.repeat(30_000));
    await finished(writer);
    await new Promise((resolve) => setTimeout(resolve, 4000));
    const since = performance.now();
    child.kill(signal);
    expect(await ended).toEqual(interrupted);
    expect(performance.now() - since).toBeLessThan(20_000);
    await rm(pipe);
  },
);
