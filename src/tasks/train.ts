// `fovea train`: one run of a translation model from a configuration file, under Node. Ties files, text, model and
// the training loop together; the loop itself is in train/, the verb in cli/.
// The output folder holds tokenizer.json, checkpoint.safetensors (and .previous), log.jsonl, and best/: a model folder.
import { createHash } from 'node:crypto';
import { appendFile, mkdir, readFile, rename } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Engine } from '../engine/types.js';
import type { ModelConfig } from '../models/config.js';
import { CONFIG_FILE, loadModel, modelFiles, TOKENIZER_FILE, WEIGHTS_FILE } from '../models/files.js';
import { folderReader, writeAtomically } from '../models/node-files.js';
import { Seq2Seq } from '../models/seq2seq.js';
import { Random } from '../nn/random.js';
import { FileFormatError, OptionError } from '../tensor/errors.js';
import { END, loadTokenizer, PAD, START, type Tokenizer, trainBpe } from '../text/index.js';
import {
  Adam,
  type Checkpoint,
  type EncodedPairs,
  packBatch,
  parseCheckpoint,
  planEpoch,
  type RunIdentity,
  restoreCheckpoint,
  serializeCheckpoint,
  Trainer,
  type TrainingEvent,
  type TrainingState,
  WeightAverage,
} from '../train/index.js';
import { encodePairs } from './encode-pairs.js';
import { allPairs, type ParallelLine, parseParallelText } from './parallel-text.js';
import { parseTrainConfig, type TrainConfig } from './train-config.js';
import { validate } from './validate.js';

const CHECKPOINT = 'checkpoint.safetensors';
const PREVIOUS = 'checkpoint.previous.safetensors';

export interface TrainRunOptions {
  readonly engine: Engine;
  /** Path of the configuration file. */
  readonly configPath: string;
  /** Ignore what the output folder holds, and begin anew. */
  readonly restart?: boolean;
  readonly signal?: AbortSignal;
  /** Stop, saved, once this many steps are done in all. For tests and trials. */
  readonly stopAfter?: number;
  onEvent?(event: TrainingEvent | TrainMessage): void;
}

/** Something to tell the person who waits. */
export interface TrainMessage {
  readonly type: 'message' | 'warning';
  readonly text: string;
}

export interface TrainResult {
  readonly state: TrainingState;
  /** Folder of the best model. */
  readonly best: string;
  readonly parameters: number;
}

const sha256 = (...parts: (Uint8Array | string)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** Runs, or goes on with, the training that the configuration describes. */
export async function trainFromConfig(options: TrainRunOptions): Promise<TrainResult> {
  const run = new TrainRun(options, parseTrainConfig(await readFile(options.configPath, 'utf8')));
  try {
    return await run.run();
  } finally {
    run.dispose();
  }
}

class TrainRun {
  readonly #o: TrainRunOptions;
  readonly #config: TrainConfig;
  readonly #output: string;
  #disposables: { dispose(): void }[] = [];

  constructor(options: TrainRunOptions, config: TrainConfig) {
    this.#o = options;
    this.#config = config;
    this.#output = this.#path(config.output);
  }

  #path(path: string): string {
    return resolve(dirname(this.#o.configPath), path);
  }

  #say(text: string, type: TrainMessage['type'] = 'message'): void {
    this.#o.onEvent?.({ type, text });
  }

  async run(): Promise<TrainResult> {
    const { engine } = this.#o;
    const config = this.#config;
    await mkdir(this.#output, { recursive: true });
    const trainBytes = await readFile(this.#path(config.data.train));
    const validBytes = await readFile(this.#path(config.data.valid));
    const pairs = allPairs(parseParallelText(config.data.train, trainBytes));
    const valid = parseParallelText(config.data.valid, validBytes);
    const tokenizerText = await this.#tokenizer(pairs);
    const tokenizer = loadTokenizer(tokenizerText);
    const identity: RunIdentity = {
      config: sha256(JSON.stringify(whatMatters(config))),
      data: sha256(trainBytes, validBytes),
      tokenizer: sha256(tokenizerText),
      build: await buildOf(engine),
    };
    const encoded = encodePairs(pairs, tokenizer, config.model.maximumLength);
    if (encoded.left > 0)
      this.#say(`left out ${encoded.left} pairs over ${config.model.maximumLength} tokens`, 'warning');
    const modelConfig = describeModel(config, tokenizer);
    const model = await this.#model(modelConfig);
    const adam = this.#own(new Adam(model.parameters(), config.optimizer));
    const average = config.averaging
      ? this.#own(new WeightAverage(adam.parameters, config.averaging))
      : undefined;
    const buffers = { adam, average };
    const found = this.#o.restart ? null : await this.#findCheckpoint();
    if (found) this.#resume(found, identity, buffers);
    this.#say(
      `${model.parameterCount} parameters, ${encoded.pairs.count} pairs, ${engine.backend}, ${engine.threads} threads`,
    );
    const state = await this.#loop(
      model,
      modelConfig,
      tokenizerText,
      tokenizer,
      encoded.pairs,
      valid,
      buffers,
      identity,
      found,
    );
    return { state, best: join(this.#output, 'best'), parameters: model.parameterCount };
  }

  #own<T extends { dispose(): void }>(thing: T): T {
    this.#disposables.push(thing);
    return thing;
  }

  async #loop(
    model: Seq2Seq,
    modelConfig: ModelConfig,
    tokenizerText: string,
    tokenizer: Tokenizer,
    pairs: EncodedPairs,
    valid: readonly ParallelLine[],
    buffers: { adam: Adam; average?: WeightAverage },
    identity: RunIdentity,
    found: Checkpoint | null,
  ): Promise<TrainingState> {
    const config = this.#config;
    const { engine } = this.#o;
    const stop = new AbortController();
    const signal = this.#o.signal ? AbortSignal.any([this.#o.signal, stop.signal]) : stop.signal;
    const batching = { ...config.batch, seed: config.seed };
    const trainer = new Trainer({
      engine,
      ...buffers,
      schedule: config.schedule,
      epochs: config.epochs,
      seed: config.seed,
      plan: (epoch) => planEpoch(pairs, batching, epoch),
      pack: (members) => packBatch(pairs, members, START, END),
      loss: (tape, batch) => model.loss(tape, batch, config.labelSmoothing),
      validate: () => validate(model, tokenizer, valid),
      save: async (state) => {
        const bytes = await serializeCheckpoint(buffers, state, identity);
        const path = join(this.#output, CHECKPOINT);
        await rename(path, join(this.#output, PREVIOUS)).catch(ignoreMissing);
        await writeAtomically(path, bytes);
      },
      saveBest: async () => {
        const best = join(this.#output, 'best');
        await mkdir(best, { recursive: true });
        await writeAtomically(join(best, TOKENIZER_FILE), tokenizerText);
        const files = await modelFiles(model, modelConfig, config.weights);
        for (const name of [CONFIG_FILE, WEIGHTS_FILE])
          await writeAtomically(join(best, name), files.get(name)!);
      },
      onEvent: (event) => {
        this.#log(event);
        this.#o.onEvent?.(event);
        if (this.#o.stopAfter !== undefined && trainer.state.step >= this.#o.stopAfter) stop.abort();
      },
      logEvery: this.#o.stopAfter === undefined ? config.logEvery : 1,
      saveEvery: config.saveEvery,
      divergedOver: 1.5 * Math.log(modelConfig.vocabulary),
      signal,
      state: found?.state,
    });
    try {
      return await trainer.run();
    } finally {
      await this.#logged;
    }
  }

  #logged: Promise<void> = Promise.resolve();

  /** Appends to log.jsonl, in order; a full disk must not stop the training. */
  #log(event: TrainingEvent): void {
    const line = `${JSON.stringify({ time: new Date().toISOString(), ...event }, roundNumbers)}\n`;
    this.#logged = this.#logged.then(() => appendFile(join(this.#output, 'log.jsonl'), line)).catch(() => {});
  }

  /** The configuration's tokenizer.json, or the output folder's, or one trained now. */
  async #tokenizer(pairs: readonly (readonly [string, string])[]): Promise<string> {
    const { path, vocabulary } = this.#config.tokenizer;
    if (path) return readFile(this.#path(path), 'utf8');
    const own = join(this.#output, TOKENIZER_FILE);
    const there = this.#o.restart ? null : await readFile(own, 'utf8').catch(ignoreMissing);
    if (there) return there;
    this.#say(`training a tokenizer of ${vocabulary} tokens`);
    const text = JSON.stringify(trainBpe(pairs.flat(), { vocabularySize: vocabulary }));
    await writeAtomically(own, text);
    return text;
  }

  async #model(modelConfig: ModelConfig): Promise<Seq2Seq> {
    const { engine } = this.#o;
    const { seed, dropout, init } = this.#config;
    const model = this.#own(new Seq2Seq(engine, modelConfig, { random: new Random(seed), dropout }));
    if (init === null) return model;
    const from = await loadModel(engine, folderReader(this.#path(init)));
    try {
      const weights = new Map<string, { shape: readonly number[]; data: Float32Array }>();
      for (const [name, { value }] of from.model.parameters()) {
        weights.set(name, { shape: value.shape, data: (await value.read()) as Float32Array });
      }
      model.load(weights);
    } finally {
      from.model.dispose();
    }
    this.#say(`starting from the weights of ${init}`);
    return model;
  }

  /** The newest whole checkpoint: a broken one is passed over for the one before it, with a warning. */
  async #findCheckpoint(): Promise<Checkpoint | null> {
    for (const name of [CHECKPOINT, PREVIOUS]) {
      const bytes = await readFile(join(this.#output, name)).catch(ignoreMissing);
      if (!bytes) continue;
      try {
        return parseCheckpoint(bytes);
      } catch (error) {
        if (!(error instanceof FileFormatError)) throw error;
        this.#say(`${name} cannot be used (${error.message})`, 'warning');
        if (name === PREVIOUS) throw error;
      }
    }
    return null;
  }

  #resume(found: Checkpoint, identity: RunIdentity, buffers: { adam: Adam; average?: WeightAverage }): void {
    for (const what of ['config', 'data', 'tokenizer'] as const) {
      if (found.identity[what] === identity[what]) continue;
      throw new OptionError(
        `${this.#output} holds a run with another ${what}: name another output, or begin anew with --restart`,
      );
    }
    if (found.identity.build !== identity.build) {
      this.#say(
        `the run was made with build ${found.identity.build}, this is ${identity.build}: it goes on, but not to the bit`,
        'warning',
      );
    }
    restoreCheckpoint(buffers, found);
    this.#say(`going on at step ${found.state.step} (epoch ${found.state.epoch + 1})`);
  }

  dispose(): void {
    for (const thing of this.#disposables.reverse()) thing.dispose();
    this.#disposables = [];
  }
}

function ignoreMissing(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw error;
}

const roundNumbers = (_: string, value: unknown) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;

/** The part of a configuration that a run's numbers depend on. */
function whatMatters(config: TrainConfig): object {
  const { output, logEvery, saveEvery, data, epochs, ...rest } = config;
  return config.schedule.cooldown ? { ...rest, epochs } : rest;
}

/** Names what computes, to the bit: the build, and the contents of its kernels. */
async function buildOf(engine: Engine): Promise<string> {
  const file = new URL('../kernels/cpu/kernels.hash', import.meta.url);
  const hash = await readFile(file, 'utf8').catch(ignoreMissing);
  return `${engine.backend}${hash ? `-${hash.slice(0, 12)}` : ''}`;
}

function describeModel(config: TrainConfig, tokenizer: Tokenizer): ModelConfig {
  return {
    task: 'translation',
    ...config.languages,
    vocabulary: tokenizer.vocabularySize,
    ...config.model,
    pad: PAD,
    start: START,
    end: END,
  };
}
