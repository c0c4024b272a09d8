// The configuration file of `fovea train`: read, checked field by field, completed with defaults.
import { type Architecture, readArchitecture } from '../models/config.js';
import { FileFormatError, OptionError } from '../tensor/errors.js';
import { Fields } from '../tensor/fields.js';
import { SPLIT_PATTERNS, type SplitPattern } from '../text/index.js';
import type { AveragingOptions, ScheduleOptions } from '../train/index.js';

export const TRAIN_FORMAT = 'fovea-train';
export const TRAIN_VERSION = 1;

export interface TrainConfig {
  /** Paths, relative to the configuration file. */
  data: { train: string; valid: string };
  languages: { source: string; target: string };
  /** A tokenizer.json to use (`path`), or size and splitting pattern of the one to train on the training text. */
  tokenizer: { vocabulary: number; pattern: SplitPattern; path?: string };
  model: Architecture;
  optimizer: { beta1: number; beta2: number; eps: number; weightDecay: number; clip: number };
  schedule: ScheduleOptions;
  /** `tokens`: most pairs × longest, a side. `pool`: pairs sorted by length together. */
  batch: { tokens: number; pool: number };
  epochs: number;
  labelSmoothing: number;
  dropout: number;
  averaging: AveragingOptions | null;
  seed: number;
  /**
   * Where the run starts, with a schedule of its own: the output folder of another run (parameters, Adam's moments,
   * tokenizer), or a model folder (weights, tokenizer).
   */
  init: string | null;
  /** Folder for checkpoint, log, and the best model; relative to the configuration file. */
  output: string;
  /** Steps between log lines, and between checkpoints. */
  logEvery: number;
  saveEvery: number;
  /** Precision of the model written. */
  weights: 'float16' | 'float32';
}

/** Throws FileFormatError where it is not a train configuration, OptionError naming a field that does not fit. */
export function parseTrainConfig(text: string): TrainConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FileFormatError(`train configuration: not JSON (${(cause as Error).message})`, { cause });
  }
  const root = new Fields(json, '', (message) => new OptionError(message));
  root.choice('format', [TRAIN_FORMAT]);
  const version = root.get('version');
  if (typeof version === 'number' && version > TRAIN_VERSION) {
    throw new FileFormatError(
      `train configuration: version ${version} is newer than this program's ${TRAIN_VERSION}`,
    );
  }
  root.whole('version', 1, TRAIN_VERSION);
  root.optionalText('about');
  const config: TrainConfig = {
    data: pick(root.section('data', false), (s) => ({ train: s.text('train'), valid: s.text('valid') })),
    languages: pick(root.section('languages'), (s) => ({
      source: s.text('source', 'source'),
      target: s.text('target', 'target'),
    })),
    tokenizer: pick(root.section('tokenizer'), (s) => ({
      vocabulary: s.whole('vocabulary', 300, 65536, 6000),
      pattern: s.choice('pattern', SPLIT_PATTERNS, 'words'),
      path: s.optionalText('path'),
    })),
    model: pick(root.section('model'), (s) => readArchitecture(s, DEFAULTS)),
    optimizer: pick(root.section('optimizer'), (s) => ({
      beta1: s.number('beta1', 0, 0.9999, 0.9),
      beta2: s.number('beta2', 0, 0.99999, 0.98),
      eps: s.number('eps', 0, 1, 1e-9, true),
      weightDecay: s.number('weightDecay', 0, 10, 0),
      clip: s.number('clip', 0, 1e6, 0),
    })),
    schedule: pick(root.section('schedule'), readSchedule),
    batch: pick(root.section('batch'), (s) => ({
      tokens: s.whole('tokens', 16, 1 << 20, 4096),
      pool: s.whole('pool', 1, 1e9, 5000),
    })),
    epochs: root.whole('epochs', 1, 100000, 10),
    labelSmoothing: root.number('labelSmoothing', 0, 0.999, 0.1),
    dropout: root.number('dropout', 0, 0.95, 0.1),
    averaging: pickMaybe(root.maybe('averaging'), (s) => ({
      kind: s.choice('kind', ['ema', 'mean'], 'ema'),
      decay: s.number('decay', 0, 0.999999, 0.999),
      fromStep: s.whole('fromStep', 1, 2 ** 31, 1),
      every: s.whole('every', 1, 1e6, 1),
    })),
    seed: root.whole('seed', 0, 2 ** 32 - 1, 1),
    init: root.optionalText('init') ?? null,
    output: root.text('output'),
    logEvery: root.whole('logEvery', 1, 1e6, 20),
    saveEvery: root.whole('saveEvery', 1, 1e6, 200),
    weights: root.choice('weights', ['float16', 'float32'], 'float16'),
  };
  root.done();
  return config;
}

function pick<T>(section: Fields, read: (section: Fields) => T): T {
  const value = read(section);
  section.done();
  return value;
}

function pickMaybe<T>(section: Fields | null, read: (section: Fields) => T): T | null {
  return section && pick(section, read);
}

const DEFAULTS: Architecture = {
  width: 128,
  heads: 4,
  feedForward: 512,
  encoderLayers: 4,
  decoderLayers: 4,
  activation: 'relu',
  normEps: 1e-5,
  maximumLength: 1024,
};

function readSchedule(s: Fields): ScheduleOptions {
  return {
    kind: s.choice('kind', ['inverse-square-root', 'constant'], 'inverse-square-root'),
    peakRate: s.number('peakRate', 0, 10, 2e-3, true),
    warmupSteps: s.whole('warmupSteps', 0, 1e9, 2000),
    cooldown:
      pickMaybe(s.maybe('cooldown'), (c) => ({
        shape: c.choice('shape', ['linear', 'cosine'], 'linear'),
        steps: c.whole('steps', 1, 1e9),
      })) ?? undefined,
  };
}
