// The configuration file of `fovea train`: read, checked field by field, completed with defaults.
import { FileFormatError, OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';
import type { AveragingOptions, ScheduleOptions } from '../train/index.js';

export const TRAIN_FORMAT = 'fovea-train';
export const TRAIN_VERSION = 1;

export interface TrainConfig {
  /** Paths, relative to the configuration file. */
  data: { train: string; valid: string };
  languages: { source: string; target: string };
  /** A tokenizer.json to use (`path`), or the size of the one to train on the training text. */
  tokenizer: { vocabulary: number; path?: string };
  model: {
    width: number;
    heads: number;
    feedForward: number;
    encoderLayers: number;
    decoderLayers: number;
    activation: 'relu' | 'gelu';
    normEps: number;
    maximumLength: number;
  };
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

type Fields = Record<string, unknown>;

const show = (value: unknown) => (value === undefined ? 'nothing' : describe(value));

/** Reads fields of one object, remembers which are known, and names the full path in errors. */
class Section {
  readonly #fields: Fields;
  readonly #path: string;
  readonly #seen = new Set<string>();

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new OptionError(`${path || 'configuration'}: expected an object, got ${show(value)}`);
    }
    this.#fields = value as Fields;
    this.#path = path;
  }

  #get(name: string): unknown {
    this.#seen.add(name);
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
  }

  #fail(name: string, expected: string, got: unknown): never {
    throw new OptionError(
      `${this.#path ? `${this.#path}.` : ''}${name}: expected ${expected}, got ${show(got)}`,
    );
  }

  number(name: string, low: number, high: number, fallback?: number, openLow = false): number {
    const value = this.#get(name) ?? fallback;
    const fits = typeof value === 'number' && (openLow ? value > low : value >= low) && value <= high;
    if (!fits) this.#fail(name, `a number ${openLow ? 'over' : 'from'} ${low} to ${high}`, value);
    return value;
  }

  whole(name: string, low: number, high: number, fallback?: number): number {
    const value = this.#get(name) ?? fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
      this.#fail(name, `a whole number from ${low} to ${high}`, value);
    }
    return value;
  }

  text(name: string, fallback?: string): string {
    const value = this.#get(name) ?? fallback;
    if (typeof value !== 'string' || value === '') this.#fail(name, 'a string', value);
    return value;
  }

  optionalText(name: string): string | undefined {
    const value = this.#get(name);
    return value === undefined || value === null ? undefined : this.text(name);
  }

  choice<T extends string>(name: string, choices: readonly T[], fallback?: T): T {
    const value = this.#get(name) ?? fallback;
    if (!choices.includes(value as T)) this.#fail(name, choices.map((c) => `"${c}"`).join(' or '), value);
    return value as T;
  }

  section(name: string, optional = true): Section {
    const value = this.#get(name);
    if (value === undefined && !optional) this.#fail(name, 'an object', value);
    return new Section(value ?? {}, this.#path ? `${this.#path}.${name}` : name);
  }

  maybe(name: string): Section | null {
    const value = this.#get(name);
    return value === undefined || value === null ? null : this.section(name);
  }

  /** Refuses fields that nobody asked for: a misspelt name must not be ignored. */
  done(): void {
    for (const name of Object.keys(this.#fields)) {
      if (!this.#seen.has(name)) this.#fail(name, `one of ${[...this.#seen].join(', ')}`, 'an unknown field');
    }
  }
}

/** Throws FileFormatError where it is not a train configuration, OptionError naming a field that does not fit. */
export function parseTrainConfig(text: string): TrainConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FileFormatError(`train configuration: not JSON (${(cause as Error).message})`, { cause });
  }
  const root = new Section(json, '');
  const { version } = json as Fields;
  root.choice('format', [TRAIN_FORMAT]);
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
      path: s.optionalText('path'),
    })),
    model: pick(root.section('model'), readModel),
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

function pick<T>(section: Section, read: (section: Section) => T): T {
  const value = read(section);
  section.done();
  return value;
}

function pickMaybe<T>(section: Section | null, read: (section: Section) => T): T | null {
  return section && pick(section, read);
}

function readModel(s: Section): TrainConfig['model'] {
  const width = s.whole('width', 2, 8192, 128);
  const heads = s.whole('heads', 1, 512, 4);
  if (width % heads !== 0 || width % 2 !== 0) {
    throw new OptionError(`model.width: expected an even multiple of the ${heads} heads, got ${width}`);
  }
  return {
    width,
    heads,
    feedForward: s.whole('feedForward', 1, 65536, 4 * width),
    encoderLayers: s.whole('encoderLayers', 1, 128, 4),
    decoderLayers: s.whole('decoderLayers', 1, 128, 4),
    activation: s.choice('activation', ['relu', 'gelu'], 'relu'),
    normEps: s.number('normEps', 0, 0.1, 1e-5, true),
    maximumLength: s.whole('maximumLength', 2, 65536, 1024),
  };
}

function readSchedule(s: Section): ScheduleOptions {
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
