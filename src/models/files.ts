// A model folder: config.json, model.safetensors, tokenizer.json. Knows no file system: a reader hands in the files.
import type { Engine } from '../engine/types.js';
import { FileFormatError } from '../tensor/errors.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';
import { formatModelConfig, type ModelConfig, parseModelConfig } from './config.js';
import { Seq2Seq } from './seq2seq.js';
import { seq2SeqShapes } from './shapes.js';
import { parseWeights, serializeWeights, type WeightDType } from './weights.js';

/** Gives a file of the model folder by name; rejects where there is none. */
export type FileReader = (name: string) => Promise<Uint8Array>;

export const CONFIG_FILE = 'config.json';
export const WEIGHTS_FILE = 'model.safetensors';
export const TOKENIZER_FILE = 'tokenizer.json';

export interface LoadedModel {
  readonly model: Seq2Seq;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
}

function decodeText(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FileFormatError(`${name}: expected UTF-8 text, got other bytes`, { cause });
  }
}

/** Loads a model; throws FileFormatError naming file, what was expected and what came. */
export async function loadModel(engine: Engine, read: FileReader): Promise<LoadedModel> {
  const [configBytes, weightBytes, tokenizerBytes] = await Promise.all(
    [CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE].map(read),
  );
  const config = parseModelConfig(decodeText(CONFIG_FILE, configBytes));
  const tokenizer = loadTokenizer(decodeText(TOKENIZER_FILE, tokenizerBytes));
  if (tokenizer.vocabularySize !== config.vocabulary) {
    throw new FileFormatError(
      `${TOKENIZER_FILE}: expected the ${config.vocabulary} tokens of ${CONFIG_FILE}, got ${tokenizer.vocabularySize}`,
    );
  }
  // The weights are checked before the engine is asked for memory.
  const weights = parseWeights(weightBytes, seq2SeqShapes(config));
  const model = new Seq2Seq(engine, config, { random: null });
  try {
    model.load(weights);
  } catch (error) {
    model.dispose();
    throw error;
  }
  return { model, config, tokenizer };
}

/** The files of a model folder, without the tokenizer. */
export async function modelFiles(
  model: Seq2Seq,
  config: ModelConfig,
  dtype: WeightDType,
): Promise<Map<string, Uint8Array>> {
  const parameters = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  for (const [name, { value }] of model.parameters()) {
    parameters.set(name, { shape: value.shape, data: (await value.read()) as Float32Array });
  }
  return new Map([
    [WEIGHTS_FILE, serializeWeights(parameters, dtype)],
    [CONFIG_FILE, new TextEncoder().encode(formatModelConfig(config))],
  ]);
}
