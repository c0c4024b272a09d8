// From subwords to words: where a text's words are, which word a token belongs to, and attention over words.
import { ShapeError } from '../tensor/errors.js';
import { CONTRACTION } from './layout.js';

/** [start, end) in UTF-16 code units. */
export type Span = readonly [start: number, end: number];

const letters = '[\\p{L}\\p{M}]';
const words = new RegExp(
  [
    "aujourd['\u2019]hui",
    `${letters}+(?!${CONTRACTION})['\u2019](?=\\p{L})`,
    `${letters}+(?:-[\\p{L}\\p{M}\\p{N}]+)*(?:${CONTRACTION})?`,
    '\\p{N}+(?:[.,:]\\p{N}+)*',
    '[^\\s\\p{L}\\p{M}\\p{N}]+',
  ].join('|'),
  'giu',
);

/** The words of a text: separated by white space, punctuation apart, elided articles apart (l' homme), contractions
 * (don't), compounds (Dois-tu) and numbers (3.5) whole. */
export function splitWords(text: string): Span[] {
  return Array.from(text.matchAll(words), (match) => [match.index, match.index + match[0].length] as const);
}

/** For each token the number of its word: the one its first visible character stands in; a token of white space
 * alone goes to the word that follows, or to the last. -1 where the text has no word. */
export function wordsOfTokens(text: string, offsets: readonly Span[], wordSpans: readonly Span[]): number[] {
  let word = 0;
  return offsets.map(([start, end]) => {
    let visible = start;
    while (visible < end && /\s/.test(text[visible])) visible++;
    while (word + 1 < wordSpans.length && wordSpans[word][1] <= visible) word++;
    return wordSpans.length === 0 ? -1 : word;
  });
}

/** A matrix of attention over words: `values` row-major [rows, columns]. */
export interface WordMatrix {
  rows: number;
  columns: number;
  values: Float64Array;
}

/** Attention over subwords → over words: summed over a source word's subwords (they share its attention), averaged
 * over a target word's (each is a distribution of its own), so that rows which sum to 1 still do.
 * @param weights row-major [target tokens, source tokens]
 * @param targetWords word of each target token; a token of word -1 is left out
 * @param sourceWords word of each source token; a token of word -1 (an end mark, say) is left out of the sum */
export function aggregateByWord(
  weights: ArrayLike<number>,
  targetWords: readonly number[],
  sourceWords: readonly number[],
  targetCount = 1 + Math.max(-1, ...targetWords),
  sourceCount = 1 + Math.max(-1, ...sourceWords),
): WordMatrix {
  const width = sourceWords.length;
  if (weights.length !== targetWords.length * width)
    throw new ShapeError(
      `aggregateByWord: ${weights.length} weights, expected ${targetWords.length} target × ${width} source tokens`,
    );
  const values = new Float64Array(targetCount * sourceCount);
  const sizes = new Float64Array(targetCount);
  targetWords.forEach((target, i) => {
    if (target < 0) return;
    sizes[target]++;
    for (let j = 0; j < width; j++)
      if (sourceWords[j] >= 0) values[target * sourceCount + sourceWords[j]] += weights[i * width + j];
  });
  for (let target = 0; target < targetCount; target++)
    for (let j = 0; j < sourceCount; j++) values[target * sourceCount + j] /= Math.max(1, sizes[target]);
  return { rows: targetCount, columns: sourceCount, values };
}
