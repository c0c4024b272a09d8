// config.json of a model folder: what the model is. Read from anywhere, so every field is checked.
import { FileFormatError } from '../tensor/errors.js';
import { describe as describeValue } from '../tensor/host.js';

export const MODEL_FORMAT = 'fovea-model';
export const MODEL_VERSION = 1;

/** An encoder–decoder transformer, pre-norm, with final norms, one embedding table and sinusoidal positions. */
export interface Seq2SeqConfig {
  /** Tokens in the one table that source, target and output share. */
  vocabulary: number;
  width: number;
  heads: number;
  feedForward: number;
  encoderLayers: number;
  decoderLayers: number;
  activation: 'relu' | 'gelu';
  normEps: number;
  /** Longest source or target in tokens, marks included: as many positions are tabulated. */
  maximumLength: number;
  /** Ids of the marks. */
  pad: number;
  start: number;
  end: number;
}

/** What config.json adds for people: it changes no number. */
export interface ModelDescription {
  task?: string;
  source?: string;
  target?: string;
}

export type ModelConfig = Seq2SeqConfig & ModelDescription;

const LIMITS: Readonly<Record<string, readonly [number, number]>> = {
  vocabulary: [4, 1 << 20],
  width: [2, 8192],
  heads: [1, 512],
  feedForward: [1, 65536],
  encoderLayers: [1, 128],
  decoderLayers: [1, 128],
  maximumLength: [2, 65536],
};

const describe = (value: unknown) => (value === undefined ? 'nothing' : describeValue(value));

function fail(message: string, cause?: unknown): never {
  throw new FileFormatError(`config.json: ${message}`, cause === undefined ? undefined : { cause });
}

/** The text of a config.json. Throws FileFormatError naming the field, what was expected and what came. */
export function parseModelConfig(text: string): ModelConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    fail(`not JSON (${(error as Error).message})`, error);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) fail('expected a JSON object');
  const given = json as Record<string, unknown>;
  if (given.format !== MODEL_FORMAT)
    fail(`format: expected "${MODEL_FORMAT}", got ${describe(given.format)}`);
  const { version } = given;
  if (typeof version !== 'number' || !(version >= 1))
    fail(`version: expected a number, got ${describe(version)}`);
  if (Math.floor(version) > MODEL_VERSION) {
    fail(`version ${version} is newer than this program's ${MODEL_VERSION}: update fovea to read it`);
  }
  if (given.architecture !== 'seq2seq') {
    fail(`architecture: expected "seq2seq", got ${describe(given.architecture)}`);
  }
  return readFields(given);
}

function readFields(given: Record<string, unknown>): ModelConfig {
  const whole = (name: string, [low, high]: readonly [number, number]): number => {
    const value = given[name];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
      fail(`${name}: expected a whole number from ${low} to ${high}, got ${describe(value)}`);
    }
    return value;
  };
  const numbers = Object.fromEntries(
    Object.entries(LIMITS).map(([name, limits]) => [name, whole(name, limits)]),
  );
  const { vocabulary, width, heads } = numbers;
  if (width % heads !== 0 || width % 2 !== 0) {
    fail(`width: expected an even multiple of the ${heads} heads, got ${width}`);
  }
  if (width / heads > 512) fail(`width: expected heads of at most 512, got ${width / heads}`);
  const marks = Object.fromEntries(
    ['pad', 'start', 'end'].map((name) => [name, whole(name, [0, vocabulary - 1])]),
  );
  const { activation, normEps } = given;
  if (activation !== 'relu' && activation !== 'gelu') {
    fail(`activation: expected "relu" or "gelu", got ${describe(activation)}`);
  }
  if (typeof normEps !== 'number' || !(normEps > 0 && normEps < 1)) {
    fail(`normEps: expected a number between 0 and 1, got ${describe(normEps)}`);
  }
  const text = (name: string) => {
    const value = given[name];
    if (value !== undefined && typeof value !== 'string')
      fail(`${name}: expected a string, got ${describe(value)}`);
    return value as string | undefined;
  };
  return {
    ...numbers,
    ...marks,
    activation,
    normEps,
    task: text('task'),
    source: text('source'),
    target: text('target'),
  } as ModelConfig;
}

/** The text of config.json. */
export function formatModelConfig(config: ModelConfig): string {
  const head = { format: MODEL_FORMAT, version: MODEL_VERSION, architecture: 'seq2seq' };
  return `${JSON.stringify({ ...head, ...config }, null, 2)}\n`;
}
