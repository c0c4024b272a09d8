// Validation of a translation model: loss per target token in nats (no smoothing, no dropout), and greedy BLEU.
import type { Seq2Seq } from '../models/seq2seq.js';
import { OptionError } from '../tensor/errors.js';
import type { Tokenizer } from '../text/index.js';
import { type EncodedPairs, packBatch, planEpoch } from '../train/index.js';
import { bleu } from './bleu.js';
import { encodePairs } from './encode-pairs.js';
import { decodeGreedy } from './greedy.js';
import { allPairs, type ParallelLine } from './parallel-text.js';

/** Target tokens whose logits are in memory together. */
const LOSS_TOKENS = 2048;

export type ValidationScores = {
  /** What runs are compared by: BLEU. */
  score: number;
  /** Percent, all references. */
  bleu: number;
  /** Nats per target token, end marks included: of the first references, and of all. */
  loss: number;
  lossAll: number;
};

/** Scores a model; every line must fit its longest length (see fittingLines). */
export async function validate(
  model: Seq2Seq,
  tokenizer: Tokenizer,
  lines: readonly ParallelLine[],
): Promise<ValidationScores> {
  const { start, end, maximumLength } = model.config;
  const encode = (pairs: readonly (readonly [string, string])[]) =>
    encodePairs(pairs, tokenizer, maximumLength).pairs;
  const first = lines.map(({ source, references }): [string, string] => [source, references[0]]);
  const loss = await meanLoss(model, encode(first), start, end);
  const lossAll = await meanLoss(model, encode(allPairs(lines)), start, end);
  const sources = lines.map(({ source }) => Int32Array.of(...tokenizer.encodeIds(source), end));
  const translations = (await decodeGreedy(model, sources)).map((ids) => tokenizer.decode(ids));
  const { score } = bleu(
    translations,
    lines.map(({ references }) => references),
  );
  return { score, bleu: score, loss, lossAll };
}

/**
 * Mean cross-entropy per target token of all pairs.
 * @throws OptionError where there is no pair.
 */
export async function meanLoss(
  model: Seq2Seq,
  pairs: EncodedPairs,
  start: number,
  end: number,
): Promise<number> {
  if (pairs.count === 0)
    throw new OptionError('loss: expected at least one pair that fits the model, got none');
  const { engine } = model;
  let sum = 0;
  let tokens = 0;
  for (const members of planEpoch(
    pairs,
    { tokens: Math.max(LOSS_TOKENS, model.config.maximumLength), pool: pairs.count, seed: 0 },
    0,
  )) {
    const batch = packBatch(pairs, members, start, end);
    const { plain, n } = engine.scope(() => {
      const { plain, tokens: n } = model.loss(null, batch, 0);
      return { plain, n };
    });
    sum += ((await plain.read()) as Float32Array)[0];
    plain.dispose();
    tokens += n;
  }
  return sum / tokens;
}
