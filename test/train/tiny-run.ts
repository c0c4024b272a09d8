// A training run that takes a second: a few sentences, a model of one small layer a side, in a folder of its own.
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEngine } from '../../dist/engine/engine.js';
import { type TrainResult, type TrainRunOptions, trainFromConfig } from '../../dist/tasks/train.js';
import { type Checkpoint, parseCheckpoint } from '../../dist/train/index.js';

export const SENTENCES: [string, string][] = [
  ['I see the red house.', 'Je vois la maison rouge.'],
  ['You see a small cat.', 'Tu vois un petit chat.'],
  ['We do not see it.', 'Nous ne le voyons pas.'],
  ['The cat sleeps.', 'Le chat dort.'],
  ['Who sees the house?', 'Qui voit la maison ?'],
  ['The small house is red.', 'La petite maison est rouge.'],
  ['It is a cat.', "C'est un chat."],
  ['You sleep in the house.', 'Tu dors dans la maison.'],
  ['I do not sleep.', 'Je ne dors pas.'],
  ['The red cat sees you.', 'Le chat rouge te voit.'],
  ['We are here.', 'Nous sommes ici.'],
  ['Where is the cat?', 'Où est le chat ?'],
];

const CONFIG = {
  format: 'fovea-train',
  version: 1,
  data: { train: 'train.tsv', valid: 'valid.tsv' },
  tokenizer: { vocabulary: 300 },
  model: { width: 16, heads: 2, feedForward: 32, encoderLayers: 1, decoderLayers: 1, maximumLength: 128 },
  schedule: { kind: 'inverse-square-root', peakRate: 5e-3, warmupSteps: 4 },
  batch: { tokens: 80, pool: 8 },
  averaging: { kind: 'ema', decay: 0.9 },
  epochs: 2,
  seed: 3,
  logEvery: 1,
  saveEvery: 2,
  weights: 'float32',
};

/** Writes the files of a run; `change` overwrites fields of its configuration. Returns the configuration's path. */
export async function makeRun(change: object = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fovea-run-'));
  const tsv = (lines: [string, string][]) => lines.map((line) => `${line.join('\t')}\n`).join('');
  await writeFile(join(folder, 'train.tsv'), tsv(SENTENCES));
  await writeFile(join(folder, 'valid.tsv'), tsv(SENTENCES.slice(0, 2)));
  return addConfig(join(folder, 'config.json'), { output: 'out', ...change });
}

/** Writes another configuration. */
export async function addConfig(path: string, change: object): Promise<string> {
  await writeFile(path, JSON.stringify({ ...CONFIG, ...change }));
  return path;
}

/** Trains with an engine of its own, of one thread unless told. */
export async function train(
  configPath: string,
  { threads = 1, ...options }: Partial<TrainRunOptions> & { threads?: number } = {},
): Promise<TrainResult> {
  const engine = await createEngine({ threads });
  try {
    const result = await trainFromConfig({ engine, configPath, ...options });
    if (engine.memory.tensors !== 0) throw new Error(`${engine.memory.tensors} tensors are left over`);
    return result;
  } finally {
    await engine.dispose();
  }
}

export const outputOf = (configPath: string, ...names: string[]): string =>
  join(configPath, '../out', ...names);

export async function checkpointOf(configPath: string): Promise<Checkpoint> {
  return parseCheckpoint(await readFile(outputOf(configPath, 'checkpoint.safetensors')));
}

/** Every number that a run has come to, as hashes of its bits: parameters, moments, average, and the counters. */
export function bitsOf({ state, tensors }: Checkpoint): unknown {
  const { seconds, ...counters } = state;
  const bits = Array.from(tensors, ([name, { data }]) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return [name, createHash('sha256').update(bytes).digest('hex')];
  });
  return { counters, bits };
}
