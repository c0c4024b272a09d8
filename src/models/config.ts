// config.json of a model folder: what the model is. Read from anywhere, so every field is checked.
import { FileFormatError } from '../tensor/errors.js';
import { Fields } from '../tensor/fields.js';

export const MODEL_FORMAT = 'fovea-model';
export const MODEL_VERSION = 1;

/** What is chosen before a model is trained. */
export interface Architecture {
  width: number;
  heads: number;
  feedForward: number;
  encoderLayers: number;
  decoderLayers: number;
  activation: 'relu' | 'gelu';
  normEps: number;
  /** Longest source or target in tokens, marks included: as many positions are tabulated. */
  maximumLength: number;
}

/** An encoder–decoder transformer, pre-norm, with final norms, one embedding table and sinusoidal positions. */
export interface Seq2SeqConfig extends Architecture {
  /** Tokens in the one table that source, target and output share. */
  vocabulary: number;
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
  const fields = new Fields(json, '', (message) => new FileFormatError(`config.json: ${message}`));
  fields.choice('format', [MODEL_FORMAT]);
  const version = fields.number('version', 1, Number.MAX_VALUE);
  if (Math.floor(version) > MODEL_VERSION) {
    fail(`version ${version} is newer than this program's ${MODEL_VERSION}: update fovea to read it`);
  }
  fields.choice('architecture', ['seq2seq']);
  const vocabulary = fields.whole('vocabulary', 4, 1 << 20);
  return {
    vocabulary,
    ...readArchitecture(fields),
    pad: fields.whole('pad', 0, vocabulary - 1),
    start: fields.whole('start', 0, vocabulary - 1),
    end: fields.whole('end', 0, vocabulary - 1),
    task: fields.optionalText('task'),
    source: fields.optionalText('source'),
    target: fields.optionalText('target'),
  };
}

/** The fields of an architecture, each as it may be; those not given are the defaults', where there are any. */
export function readArchitecture(fields: Fields, defaults?: Architecture): Architecture {
  const whole = (name: keyof Architecture, low: number, high: number) =>
    fields.whole(name, low, high, defaults?.[name] as number | undefined);
  const width = whole('width', 2, 8192);
  const heads = whole('heads', 1, 512);
  if (width % heads !== 0 || width % 2 !== 0) {
    fields.fail('width', `an even multiple of the ${heads} heads`, width);
  }
  if (width / heads > 512) fields.fail('width', 'heads of at most 512', width / heads);
  return {
    width,
    heads,
    feedForward: fields.whole('feedForward', 1, 65536, defaults && 4 * width),
    encoderLayers: whole('encoderLayers', 1, 128),
    decoderLayers: whole('decoderLayers', 1, 128),
    activation: fields.choice('activation', ['relu', 'gelu'], defaults?.activation),
    normEps: fields.number('normEps', 0, 1, defaults?.normEps, true),
    maximumLength: whole('maximumLength', 2, 65536),
  };
}

/** The text of config.json. */
export function formatModelConfig(config: ModelConfig): string {
  const head = { format: MODEL_FORMAT, version: MODEL_VERSION, architecture: 'seq2seq' };
  return `${JSON.stringify({ ...head, ...config }, null, 2)}\n`;
}
