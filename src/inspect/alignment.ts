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
