// Scores of a translation model on parallel text: BLEU and chrF of its own decoding, loss per target token.
import { OptionError } from '../tensor/errors.js';
import { cleanSentence } from '../text/index.js';
import { type BleuScore, bleu } from './bleu.js';
import { type ChrfScore, chrf } from './chrf.js';
import { encodePairs } from './encode-pairs.js';
import type { ParallelLine } from './parallel-text.js';
import type { StreamOptions, Translator } from './translate.js';
import { meanLoss } from './validate.js';

export interface EvaluateOptions extends StreamOptions {
  /** Called after each sentence. */
  onProgress?(done: number, total: number): void;
  signal?: AbortSignal;
}

export interface Evaluation {
  sentences: number;
  bleu: BleuScore;
  chrf: ChrfScore;
  /** Mean cross-entropy in nats per target token, end mark included, on the first references; no smoothing. */
  loss: number;
  /** First references over the model's longest length: no part of the loss. */
  left: number;
  /** Seconds of translation alone. */
  seconds: number;
  translations: string[];
}

/**
 * Translates all sources and compares with the references.
 * @throws as `Translator.stream`, the signal's reason, or OptionError where no pair fits the model.
 */
export async function evaluate(
  translator: Translator,
  lines: readonly ParallelLine[],
  { onProgress, signal, ...options }: EvaluateOptions = {},
): Promise<Evaluation> {
  const { model, tokenizer, config } = translator.loaded;
  const first = lines.map(({ source, references }): [string, string] => [
    cleanSentence(source),
    references[0],
  ]);
  const { pairs, left } = encodePairs(first, tokenizer, config.maximumLength);
  if (pairs.count === 0)
    throw new OptionError(
      `evaluate: expected a pair within the model's longest length, ${config.maximumLength} tokens, got none`,
    );
  const translations: string[] = [];
  const started = performance.now();
  const sources = lines.map(({ source }) => source);
  for await (const { text } of translator.stream(sources, { together: 32, ...options })) {
    signal?.throwIfAborted();
    translations.push(text);
    onProgress?.(translations.length, lines.length);
  }
  const seconds = (performance.now() - started) / 1000;
  const references = lines.map((line) => line.references);
  return {
    sentences: lines.length,
    bleu: bleu(translations, references),
    chrf: chrf(translations, references),
    loss: await meanLoss(model, pairs, config.start, config.end),
    left,
    seconds,
    translations,
  };
}
