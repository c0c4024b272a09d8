// Whole runs from a configuration file: interrupted, killed, on other threads, with broken or unwritable folders.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { removeLeftovers, writeAtomically } from '../../dist/models/node-files.js';
import { RunFolder } from '../../dist/tasks/run-folder.js';
import { FileFormatError, OptionError } from '../../dist/tensor/errors.js';
import { trainBpe } from '../../dist/text/index.js';
import { InterruptedError } from '../../dist/train/index.js';
import { addConfig, bitsOf, checkpointOf, makeRun, outputOf, train } from './tiny-run.js';

// On a machine that does much else, threads wait long for each other.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

/** The same run, uninterrupted, with two threads: what all others must come to. */
let whole: { path: string; bits: unknown; step: number };
beforeAll(async () => {
  const path = await makeRun();
  await train(path, { threads: 2 });
  const checkpoint = await checkpointOf(path);
  whole = { path, bits: bitsOf(checkpoint), step: checkpoint.state.step };
});

describe('to the bit', () => {
  test('the run is long enough to be interrupted, and wrote its best model', async () => {
    expect(whole.step).toBeGreaterThanOrEqual(8);
    expect((await readdir(outputOf(whole.path))).sort()).toEqual([
      'best',
      'checkpoint.previous.safetensors',
      'checkpoint.safetensors',
      'log.jsonl',
      'tokenizer.json',
    ]);
    expect((await readdir(outputOf(whole.path, 'best'))).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
  });

  test('interrupted twice, amid an epoch and at its end = uninterrupted', async () => {
    const path = await makeRun();
    for (const stopAfter of [3, whole.step / 2]) {
      await expect(train(path, { stopAfter })).rejects.toThrow(InterruptedError);
      expect((await checkpointOf(path)).state.step).toBe(stopAfter);
    }
    await train(path);
    expect(bitsOf(await checkpointOf(path))).toEqual(whole.bits);
  });

  test.each([1, 3])('%d threads = 2 threads', async (threads) => {
    const path = await makeRun();
    await train(path, { threads });
    expect(bitsOf(await checkpointOf(path))).toEqual(whole.bits);
  });

  test('another seed is another run', async () => {
    const path = await makeRun({ seed: 4 });
    await train(path);
    expect(bitsOf(await checkpointOf(path))).not.toEqual(whole.bits);
  });

  test('killed while it trains and writes: the run goes on to the same bits', async () => {
    const path = await makeRun({ saveEvery: 1 });
    const url = (file: string) =>
      JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../dist', file)).href);
    const script = `
      import { createEngine } from ${url('engine/engine.js')};
      import { trainFromConfig } from ${url('tasks/train.js')};
      const engine = await createEngine({ threads: 1 });
      const onEvent = (e) => e.type === 'checkpoint' && console.log(e.step);
      await trainFromConfig({ engine, configPath: ${JSON.stringify(path)}, onEvent });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise<void>((resolve, reject) => {
      // Some steps on, whatever it is doing.
      child.stdout.on('data', (text) => /^[3-9]$/m.test(String(text)) && child.kill('SIGKILL'));
      child.on('exit', (code, signal) =>
        signal === 'SIGKILL' ? resolve() : reject(new Error(`ended with ${code} before it was killed`)),
      );
    });
    expect((await checkpointOf(path)).state.step).toBeGreaterThanOrEqual(3);
    // saveEvery is no part of what the numbers depend on.
    await train(await addConfig(path, { output: 'out' }));
    expect(bitsOf(await checkpointOf(path))).toEqual(whole.bits);
  });
});

describe('checkpoints that a kill or a fault left', () => {
  /** A run stopped after 5 steps, with checkpoints after 4 and 5; and how it went on. */
  async function stopped(): Promise<string> {
    const path = await makeRun();
    await expect(train(path, { stopAfter: 5 })).rejects.toThrow(InterruptedError);
    return path;
  }
  const goOn = async (path: string) => {
    const said: string[] = [];
    await train(path, { onEvent: (e) => 'text' in e && said.push(e.text) });
    expect(bitsOf(await checkpointOf(path))).toEqual(whole.bits);
    return said.join('\n');
  };
  const file = 'checkpoint.safetensors';

  test('half a temporary file beside a whole checkpoint: it goes on from that, and tidies up', async () => {
    const path = await stopped();
    const bytes = await readFile(outputOf(path, file));
    await writeFile(outputOf(path, `${file}.123-0.tmp`), bytes.subarray(0, bytes.length / 2));
    expect(await goOn(path)).toContain('going on at step 5 ');
    expect((await readdir(outputOf(path))).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('between the two renames: the previous one is used', async () => {
    const path = await stopped();
    await rename(outputOf(path, file), outputOf(path, 'checkpoint.previous.safetensors'));
    expect(await goOn(path)).toContain('going on at step 5 ');
  });

  test('truncated: a warning that says why, and the previous one is used', async () => {
    const path = await stopped();
    const bytes = await readFile(outputOf(path, file));
    await writeFile(outputOf(path, file), bytes.subarray(0, bytes.length - 100));
    const said = await goOn(path);
    expect(said).toMatch(/checkpoint\.safetensors cannot be used \(safetensors: .*within \d+ bytes/);
    expect(said).toContain('going on at step 4 ');
  });

  test('none is whole: FileFormatError, and nothing is overwritten', async () => {
    const path = await stopped();
    for (const name of [file, 'checkpoint.previous.safetensors'])
      await writeFile(outputOf(path, name), 'junk');
    await expect(train(path)).rejects.toThrow(FileFormatError);
    await rm(outputOf(path, 'checkpoint.previous.safetensors'));
    await expect(train(path)).rejects.toThrow(/cannot be used/);
    expect(await readFile(outputOf(path, file), 'utf8')).toBe('junk');
    // Unless that is asked for.
    await train(path, { restart: true });
    expect(bitsOf(await checkpointOf(path))).toEqual(whole.bits);
  });

  test('none, but a tokenizer of another configuration: one is trained anew', async () => {
    const path = await makeRun();
    await mkdir(outputOf(path));
    const other = trainBpe(['Some other text.'], { vocabularySize: 300 });
    await writeFile(outputOf(path, 'tokenizer.json'), JSON.stringify(other));
    expect(await goOn(path)).toContain('training a tokenizer of 300 tokens');
  });

  test('another configuration, or other data, in the same folder: OptionError', async () => {
    const path = await stopped();
    await addConfig(path, { output: 'out', dropout: 0.3 });
    await expect(train(path)).rejects.toThrow(OptionError);
    await expect(train(path)).rejects.toThrow(/another config: .*--restart/);
    await addConfig(path, { output: 'out' });
    await copyFile(join(path, '../valid.tsv'), join(path, '../train.tsv'));
    await expect(train(path)).rejects.toThrow(/another data/);
  });
});

describe('a run that starts from another', () => {
  test("from its checkpoint: parameters, moments, tokenizer, and Adam's count of steps", async () => {
    const change = {
      schedule: { kind: 'constant', peakRate: 1e-12, warmupSteps: 0 },
      epochs: 1,
      averaging: null,
    };
    const path = await addConfig(join(whole.path, '../next.json'), {
      ...change,
      init: 'out',
      output: 'next',
    });
    const said: string[] = [];
    await expect(
      train(path, { stopAfter: 1, onEvent: (e) => 'text' in e && said.push(e.text) }),
    ).rejects.toThrow(InterruptedError);
    expect(said.join()).toContain(
      `starting from step ${whole.step} of out (after epoch 2), with its moments`,
    );
    expect(said.join()).not.toContain('training a tokenizer');
    const folder = new RunFolder(join(path, '../next'), () => {});
    const next = (await folder.findCheckpoint())!;
    expect(next.state).toMatchObject({ step: 1, earlierSteps: whole.step, epoch: 0 });
    const first = await checkpointOf(whole.path);
    for (const [name, { data }] of next.tensors) {
      const before = first.tensors.get(name)!.data;
      // At this rate one step moves no parameter by more than 1e-9; second moments keep 98%.
      for (let i = 0; i < data.length; i++) {
        if (name.startsWith('values.')) expect(Math.abs(data[i] - before[i])).toBeLessThan(1e-9);
        if (name.startsWith('adam.v.')) expect(data[i]).toBeGreaterThanOrEqual(0.979 * before[i]);
      }
    }
    // And it goes on by itself, though `init` be gone.
    await rename(outputOf(whole.path), join(whole.path, '../gone'));
    try {
      await train(path);
    } finally {
      await rename(join(whole.path, '../gone'), outputOf(whole.path));
    }
  });

  test('from a model folder: its weights; a folder with neither is one clear error', async () => {
    const path = join(whole.path, '../weights.json');
    const said: string[] = [];
    await addConfig(path, { init: 'out/best', output: 'weights', epochs: 1 });
    await train(path, { onEvent: (e) => 'text' in e && said.push(e.text) });
    expect(said).toContain('starting from the weights of out/best');
    await addConfig(path, { init: 'nothing', output: 'none' });
    await expect(train(path)).rejects.toThrow(/nothing: expected a folder with config.json.*found nothing/);
    await addConfig(path, { init: 'out', output: 'wide', model: { width: 32, heads: 2 } });
    await expect(train(path)).rejects.toThrow(
      /values\.embedding\.weight: expected shape \[\d+, 32\], got \[\d+, 16\]/,
    );
  });

  test('configs/en-fr.json is what it should be: it starts on other paths, from such a run', async () => {
    const shipped = JSON.parse(await readFile(join(import.meta.dirname, '../../configs/en-fr.json'), 'utf8'));
    const { data, output, init, model, tokenizer, ...rest } = shipped;
    const path = await addConfig(join(whole.path, '../en-fr.json'), {
      ...rest,
      init: 'out',
      output: 'en-fr',
      epochs: 1,
    });
    const { state } = await train(path);
    expect(state.earlierSteps).toBe(whole.step);
    expect(state.averageSamples).toBe(state.step);
  });
});

describe('validation text over the longest length', () => {
  const scores = async (path: string) => {
    const log = (await readFile(outputOf(path, 'log.jsonl'), 'utf8')).trim().split('\n');
    return log.map((line) => JSON.parse(line).scores).filter((x) => x !== undefined);
  };
  const long = `I see ${'the red house and '.repeat(60)}you.`;

  test('in part: left out with a warning, and the scores are those without', async () => {
    const path = await makeRun();
    const valid = await readFile(join(path, '../valid.tsv'), 'utf8');
    await writeFile(join(path, '../valid.tsv'), `${long}\tOui.\n${valid}Yes.\t${long}\n`);
    const said: string[] = [];
    await train(path, { onEvent: (e) => 'text' in e && said.push(e.text) });
    expect(said).toContain('left out 2 lines of valid.tsv over 128 tokens');
    expect(await scores(path)).toHaveLength(2);
    expect(await scores(path)).toEqual(await scores(whole.path));
  });

  test('all of it: OptionError before the first step', async () => {
    const path = await makeRun();
    await writeFile(join(path, '../valid.tsv'), `${long}\tOui.\n`);
    const types: string[] = [];
    const error = await train(path, { onEvent: (e) => types.push(e.type) }).catch((e) => e);
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toMatch(/^valid\.tsv: every line is over model\.maximumLength, 128 tokens/);
    expect(types).not.toContain('step');
  });
});

describe('files that cannot be read or written', () => {
  test('a wrong number of columns: FileFormatError with file and line', async () => {
    const path = await makeRun();
    await writeFile(join(path, '../train.tsv'), 'a\tb\nc\n');
    await expect(train(path)).rejects.toThrow(
      /^train\.tsv:2: expected two or more tab-separated columns, got 1/,
    );
  });

  test('a configuration that does not fit: errors of their types name it and the field', async () => {
    const path = await makeRun({ epochs: 'two' });
    const option = await train(path).catch((e) => e);
    expect(option).toBeInstanceOf(OptionError);
    expect(option.message).toContain(`${path}: epochs: expected a whole number`);
    await writeFile(path, '{');
    const format = await train(path).catch((e) => e);
    expect(format).toBeInstanceOf(FileFormatError);
    expect(format.message).toContain(`${path}: train configuration: not JSON`);
  });

  test('an output below a file: an error with its path', async () => {
    const path = await makeRun({ output: 'train.tsv/out' });
    const error = await train(path).catch((e) => e);
    expect(error).toMatchObject({ code: 'ENOTDIR', path: join(path, '../train.tsv/out') });
  });

  test('no configuration, no data: an error with its path', async () => {
    await expect(train('/nowhere/config.json')).rejects.toMatchObject({
      code: 'ENOENT',
      path: '/nowhere/config.json',
    });
    const path = await makeRun();
    await rm(join(path, '../valid.tsv'));
    await expect(train(path)).rejects.toMatchObject({ code: 'ENOENT', path: join(path, '../valid.tsv') });
  });

  test.skipIf(!existsSync('/dev/full'))(
    'a full disk: the error names the file, both checkpoints stay',
    async () => {
      // A fresh module counts its temporary files from 0.
      vi.resetModules();
      const { RunFolder } = await import('../../dist/tasks/run-folder.js');
      const folder = new RunFolder(outputOf(await makeRun(), 'full'), () => {});
      await folder.prepare();
      await folder.saveCheckpoint(Uint8Array.of(1));
      await folder.saveCheckpoint(Uint8Array.of(2));
      const path = join(folder.path, 'checkpoint.safetensors');
      // The next temporary files lead to a device without space.
      for (let n = 2; n < 9; n++) await symlink('/dev/full', `${path}.${process.pid}-${n}.tmp`);
      await expect(folder.saveCheckpoint(new Uint8Array(1 << 16))).rejects.toMatchObject({
        code: 'ENOSPC',
        path,
      });
      await removeLeftovers(path);
      expect((await readdir(folder.path)).sort()).toEqual([
        'checkpoint.previous.safetensors',
        'checkpoint.safetensors',
      ]);
      expect([...(await readFile(path))]).toEqual([2]);
      expect([...(await readFile(join(folder.path, 'checkpoint.previous.safetensors')))]).toEqual([1]);
    },
  );

  test('a failed write leaves the old file and no temporary one', async () => {
    const folder = outputOf(await makeRun(), 'busy');
    await mkdir(join(folder, 'taken'), { recursive: true });
    // A folder stands where the file should go: the last rename fails. (Root may write anywhere, so no permission is tried.)
    await expect(writeAtomically(join(folder, 'taken'), 'x')).rejects.toMatchObject({
      path: join(folder, 'taken'),
    });
    expect(await readdir(folder)).toEqual(['taken']);
  });
});
