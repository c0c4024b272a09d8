// `fovea train`: one run of a translation model from a configuration file, under Node. Ties files, text, model and
// the training loop together; the loop itself is in train/, the verb in cli/, the output folder in run-folder.ts.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Engine } from '../engine/types.js';
import type { ModelConfig } from '../models/config.js';
import { loadModel, modelFiles } from '../models/files.js';
import { folderReader } from '../models/node-files.js';
import { Seq2Seq } from '../models/seq2seq.js';
import { Random } from '../nn/random.js';
import { FileFormatError, OptionError } from '../tensor/errors.js';
import { END, loadTokenizer, PAD, START, type Tokenizer, trainBpe } from '../text/index.js';
import {
  Adam,
  type Checkpoint,
  type EncodedPairs,
  INITIAL_STATE,
  packBatch,
  planEpoch,
  type RunIdentity,
  restoreCheckpoint,
  serializeCheckpoint,
  Trainer,
  type TrainingEvent,
  type TrainingState,
  WeightAverage,
} from '../train/index.js';
import { encodePairs, fittingLines } from './encode-pairs.js';
import { allPairs, type ParallelLine, parseParallelText } from './parallel-text.js';
import { ignoreMissing, RunFolder } from './run-folder.js';
import { parseTrainConfig, type TrainConfig } from './train-config.js';
import { validate } from './validate.js';

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

/** What a run reads before it begins. */
interface Material {
  readonly tokenizerText: string;
  readonly tokenizer: Tokenizer;
  readonly pairs: EncodedPairs;
  readonly valid: readonly ParallelLine[];
  readonly modelConfig: ModelConfig;
  readonly identity: RunIdentity;
}

interface Buffers {
  readonly adam: Adam;
  readonly average?: WeightAverage;
}

const sha256 = (...parts: (Uint8Array | string)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/**
 * Runs, or goes on with, the training that the configuration describes.
 * @throws OptionError for a field that does not fit, FileFormatError for a file that is not what it should be,
 * InterruptedError once a stop is saved, DivergenceError where the loss leaves the numbers.
 */
export async function trainFromConfig(options: TrainRunOptions): Promise<TrainResult> {
  const run = new TrainRun(options, await readConfig(options.configPath));
  try {
    return await run.run();
  } finally {
    run.dispose();
  }
}

/** A file's bytes. Rejects with FileFormatError for a folder, which Node refuses without its name. */
async function readWhole(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
    throw new FileFormatError(`${path}: is a folder, expected a file`, { cause: error });
  }
}

/** Errors name the file. */
async function readConfig(path: string): Promise<TrainConfig> {
  const text = new TextDecoder().decode(await readWhole(path));
  try {
    return parseTrainConfig(text);
  } catch (cause) {
    if (cause instanceof OptionError) throw new OptionError(`${path}: ${cause.message}`);
    if (cause instanceof FileFormatError) throw new FileFormatError(`${path}: ${cause.message}`, { cause });
    throw cause;
  }
}

class TrainRun {
  readonly #o: TrainRunOptions;
  readonly #config: TrainConfig;
  readonly #folder: RunFolder;
  /** The folder that `init` names. */
  readonly #init: RunFolder | null;
  #disposables: { dispose(): void }[] = [];

  constructor(options: TrainRunOptions, config: TrainConfig) {
    this.#o = options;
    this.#config = config;
    const warn = (text: string) => this.#say(text, 'warning');
    this.#folder = new RunFolder(this.#path(config.output), warn);
    this.#init = config.init === null ? null : new RunFolder(this.#path(config.init), warn);
  }

  #path(path: string): string {
    return resolve(dirname(this.#o.configPath), path);
  }

  #say(text: string, type: TrainMessage['type'] = 'message'): void {
    this.#o.onEvent?.({ type, text });
  }

  #own<T extends { dispose(): void }>(thing: T): T {
    this.#disposables.push(thing);
    return thing;
  }

  async run(): Promise<TrainResult> {
    const { engine, restart } = this.#o;
    const { seed, dropout, optimizer, averaging } = this.#config;
    await this.#folder.prepare();
    const found = restart ? null : await this.#folder.findCheckpoint();
    const material = await this.#material(found !== null);
    const { modelConfig, pairs } = material;
    const model = this.#own(new Seq2Seq(engine, modelConfig, { random: new Random(seed), dropout }));
    const adam = this.#own(new Adam(model.parameters(), optimizer));
    const average = averaging ? this.#own(new WeightAverage(adam.parameters, averaging)) : undefined;
    const state = found
      ? this.#resume(found, material.identity, { adam, average })
      : await this.#begin(model, adam);
    const numbers = `${model.parameterCount} parameters, ${pairs.count} pairs`;
    this.#say(`${numbers}, ${engine.backend}, ${engine.threads} threads`);
    const end = await this.#loop(model, material, { adam, average }, state);
    return { state: end, best: this.#folder.best, parameters: model.parameterCount };
  }

  async #material(goesOn: boolean): Promise<Material> {
    const config = this.#config;
    const { data, model } = config;
    const trainBytes = await readWhole(this.#path(data.train));
    const validBytes = await readWhole(this.#path(data.valid));
    const text = allPairs(parseParallelText(data.train, trainBytes));
    const allValid = parseParallelText(data.valid, validBytes);
    const tokenizerText = await this.#tokenizer(text, goesOn);
    const tokenizer = loadTokenizer(tokenizerText);
    const { pairs, left } = encodePairs(text, tokenizer, model.maximumLength);
    if (pairs.count === 0)
      throw new OptionError(
        `${data.train}: every pair is over model.maximumLength, ${model.maximumLength} tokens`,
      );
    if (left > 0) this.#say(`left out ${left} pairs over ${model.maximumLength} tokens`, 'warning');
    const valid = fittingLines(allValid, tokenizer, model.maximumLength);
    if (valid.length === 0)
      throw new OptionError(
        `${data.valid}: every line is over model.maximumLength, ${model.maximumLength} tokens`,
      );
    const long = allValid.length - valid.length;
    if (long > 0)
      this.#say(`left out ${long} lines of ${data.valid} over ${model.maximumLength} tokens`, 'warning');
    const identity: RunIdentity = {
      config: sha256(JSON.stringify(whatMatters(config))),
      data: sha256(trainBytes, validBytes),
      tokenizer: sha256(tokenizerText),
      build: await buildOf(this.#o.engine),
    };
    return {
      tokenizerText,
      tokenizer,
      pairs,
      valid,
      modelConfig: describeModel(config, tokenizer),
      identity,
    };
  }

  /**
   * The configuration's tokenizer.json; or the output folder's, if a run goes on there (one without a checkpoint may
   * be another configuration's); or that of `init`; or one trained now.
   */
  async #tokenizer(pairs: readonly (readonly [string, string])[], goesOn: boolean): Promise<string> {
    const { path, vocabulary, pattern } = this.#config.tokenizer;
    if (path) return new TextDecoder().decode(await readWhole(this.#path(path)));
    const own = goesOn ? await this.#folder.readTokenizer() : null;
    if (own !== null) return own;
    let text = (await this.#init?.readTokenizer()) ?? null;
    if (text === null) {
      this.#say(`training a tokenizer of ${vocabulary} tokens`);
      text = JSON.stringify(trainBpe(pairs.flat(), { vocabularySize: vocabulary, pattern }));
    }
    await this.#folder.writeTokenizer(text);
    return text;
  }

  async #loop(
    model: Seq2Seq,
    material: Material,
    buffers: Buffers,
    state: TrainingState,
  ): Promise<TrainingState> {
    const { batch, seed, epochs, schedule, labelSmoothing, logEvery, saveEvery, weights } = this.#config;
    const { engine, signal, stopAfter } = this.#o;
    const { tokenizer, pairs, valid, modelConfig, identity } = material;
    const trainer = new Trainer({
      engine,
      ...buffers,
      schedule,
      epochs,
      seed,
      logEvery,
      saveEvery,
      signal,
      stopAfter,
      state,
      divergedOver: 1.5 * Math.log(modelConfig.vocabulary),
      plan: (epoch) => planEpoch(pairs, { ...batch, seed }, epoch),
      pack: (members) => packBatch(pairs, members, START, END),
      loss: (tape, packed) => model.loss(tape, packed, labelSmoothing),
      validate: () => validate(model, tokenizer, valid),
      save: async (now) => this.#folder.saveCheckpoint(await serializeCheckpoint(buffers, now, identity)),
      saveBest: async () =>
        this.#folder.saveBest(await modelFiles(model, modelConfig, weights), material.tokenizerText),
      onEvent: (event) => {
        this.#folder.log(event);
        this.#o.onEvent?.(event);
      },
    });
    try {
      return await trainer.run();
    } finally {
      await this.#folder.flush();
    }
  }

  /**
   * The start of a run: with the numbers that the model has, or those of `init`. From a run's checkpoint come exact
   * parameters and Adam's moments, from a model folder its weights.
   */
  async #begin(model: Seq2Seq, adam: Adam): Promise<TrainingState> {
    const { init } = this.#config;
    if (this.#init === null) return INITIAL_STATE;
    const checkpoint = await this.#init.findCheckpoint();
    if (checkpoint) {
      restoreCheckpoint({ adam }, checkpoint);
      const { step, epoch, earlierSteps } = checkpoint.state;
      this.#say(`starting from step ${step} of ${init} (after epoch ${epoch}), with its moments`);
      return { ...INITIAL_STATE, earlierSteps: earlierSteps + step };
    }
    const { engine } = this.#o;
    const from = (await loadModel(engine, folderReader(this.#init.path))).model;
    try {
      const weights = new Map<string, { shape: readonly number[]; data: Float32Array }>();
      for (const [name, { value }] of from.parameters()) {
        weights.set(name, { shape: value.shape, data: (await value.read()) as Float32Array });
      }
      model.load(weights);
    } finally {
      from.dispose();
    }
    this.#say(`starting from the weights of ${init}`);
    return INITIAL_STATE;
  }

  #resume(found: Checkpoint, identity: RunIdentity, buffers: Buffers): TrainingState {
    for (const what of ['config', 'data', 'tokenizer'] as const) {
      if (found.identity[what] === identity[what]) continue;
      throw new OptionError(
        `${this.#folder.path} holds a run with another ${what}: name another output, or begin anew with --restart`,
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
    return found.state;
  }

  dispose(): void {
    for (const thing of this.#disposables.reverse()) thing.dispose();
    this.#disposables = [];
  }
}

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
