// Word alignment from the attention of a decoder over its source: which source word each target word was read from.
import { OptionError, ShapeError } from '../tensor/errors.js';
import { aggregateByWord, type Span, type WordMatrix } from '../text/words.js';

/** The part of an encoding that alignment needs (see Encoding in the room of text). */
export interface Words {
  text: string;
  words: readonly number[];
  wordSpans: readonly Span[];
}

/** One weight matrix of cross-attention, row-major [queries, keys]. Query t reads the target shifted by one: it
 * stands on token t−1 (query 0 on the start mark) and predicts token t. The query after the last token predicts the
 * end mark. Keys are the source tokens, an end mark last where the model has one. */
export interface CrossWeights {
  queries: number;
  keys: number;
  values: ArrayLike<number>;
}

/** The mean of matrices of one size: of heads, of layers. */
export function averageWeights(matrices: readonly CrossWeights[]): CrossWeights {
  if (matrices.length === 0) throw new OptionError('averageWeights: no matrix given');
  const [{ queries, keys }] = matrices;
  const values = new Float64Array(queries * keys);
  for (const matrix of matrices) {
    if (matrix.queries !== queries || matrix.keys !== keys)
      throw new ShapeError(
        `averageWeights: a matrix is [${matrix.queries}, ${matrix.keys}], the first [${queries}, ${keys}]`,
      );
    for (let i = 0; i < values.length; i++) values[i] += matrix.values[i] / matrices.length;
  }
  return { queries, keys, values };
}

export interface WordAlignment {
  sourceWords: string[];
  targetWords: string[];
  /** [target words, source words]: attention to marks is left out, so a row may sum to less than 1. */
  matrix: WordMatrix;
  /** For each target word the source word it looked at most, and its share; source -1 if it looked at none. */
  pairs: { target: number; source: number; weight: number }[];
}

/** Aligns the words of a translation. `source` and `target` hold the tokens without marks.
 * @throws ShapeError if the weights have fewer queries than target tokens, or fewer keys than source tokens. */
export function alignWords(source: Words, target: Words, weights: CrossWeights): WordAlignment {
  const { queries, keys, values } = weights;
  if (queries < target.words.length || keys < source.words.length)
    throw new ShapeError(
      `alignWords: weights are [${queries}, ${keys}], tokens ${target.words.length} target and ${source.words.length} source`,
    );
  // Query t predicts token t, so rows and target tokens share their numbers; queries and keys of marks have no word.
  const marked = (words: readonly number[], length: number) => [
    ...words,
    ...new Array<number>(length - words.length).fill(-1),
  ];
  const matrix = aggregateByWord(
    values,
    marked(target.words, queries),
    marked(source.words, keys),
    target.wordSpans.length,
    source.wordSpans.length,
  );
  const spell = ({ text, wordSpans }: Words) => wordSpans.map(([start, end]) => text.slice(start, end));
  return { sourceWords: spell(source), targetWords: spell(target), matrix, pairs: strongest(matrix) };
}

function strongest({ rows, columns, values }: WordMatrix): WordAlignment['pairs'] {
  return Array.from({ length: rows }, (_, target) => {
    const row = values.subarray(target * columns, (target + 1) * columns);
    const weight = Math.max(0, ...row);
    return { target, source: weight > 0 ? row.indexOf(weight) : -1, weight };
  });
}

/** Cross-attention of a translation in every layer and head, as `Translation.attention()` gives it. */
export interface AllCrossWeights {
  layers: number;
  heads: number;
  targetLength: number;
  sourceLength: number;
  /** [layers, heads, targetLength, sourceLength] */
  weights: Float32Array;
}

/** Which of them to read; what is not named is averaged over. Layers and heads count from 0. */
export interface Selection {
  layer?: number;
  head?: number;
}

/** The weights of one layer and head, or means.
 * @throws OptionError if there is no such layer or head. */
export function crossWeights(all: AllCrossWeights, { layer, head }: Selection = {}): CrossWeights {
  const { layers, heads, targetLength: queries, sourceLength: keys, weights } = all;
  const pick = (name: string, chosen: number | undefined, count: number): number[] => {
    if (chosen === undefined) return Array.from({ length: count }, (_, i) => i);
    if (!Number.isInteger(chosen) || chosen < 0 || chosen >= count)
      throw new OptionError(`${name}: expected 0 to ${count - 1}, got ${chosen}`);
    return [chosen];
  };
  const size = queries * keys;
  return averageWeights(
    pick('layer', layer, layers).flatMap((l) =>
      pick('head', head, heads).map((h) => {
        const from = (l * heads + h) * size;
        return { queries, keys, values: weights.subarray(from, from + size) };
      }),
    ),
  );
}
