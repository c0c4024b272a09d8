// Sentence pairs as token ids, flat, as batches are cut from.
import { END, type Tokenizer } from '../text/index.js';
import type { EncodedPairs } from '../train/index.js';
import type { ParallelLine } from './parallel-text.js';

/** Pairs as ids; those with a side over the longest length are left out and counted. */
export function encodePairs(
  pairs: readonly (readonly [string, string])[],
  tokenizer: Tokenizer,
  maximumLength: number,
): { pairs: EncodedPairs; left: number } {
  const sources: Int32Array[] = [];
  const targets: Int32Array[] = [];
  let left = 0;
  for (const [source, target] of pairs) {
    const s = tokenizer.encodeIds(source);
    const t = tokenizer.encodeIds(target);
    if (Math.max(s.length, t.length) + 1 > maximumLength) left++;
    else {
      sources.push(Int32Array.of(...s, END));
      targets.push(t);
    }
  }
  const [sourceIds, sourceStarts] = flatten(sources);
  const [targetIds, targetStarts] = flatten(targets);
  return { pairs: { count: sources.length, sourceIds, sourceStarts, targetIds, targetStarts }, left };
}

/** The lines whose sides all fit the longest length, end mark included. */
export function fittingLines(
  lines: readonly ParallelLine[],
  tokenizer: Tokenizer,
  maximumLength: number,
): ParallelLine[] {
  const fits = (text: string) => tokenizer.encodeIds(text).length + 1 <= maximumLength;
  return lines.filter(({ source, references }) => fits(source) && references.every(fits));
}

function flatten(lists: readonly Int32Array[]): [ids: Int32Array, starts: Int32Array] {
  const starts = new Int32Array(lists.length + 1);
  lists.forEach((list, i) => {
    starts[i + 1] = starts[i] + list.length;
  });
  const ids = new Int32Array(starts[lists.length]);
  lists.forEach((list, i) => {
    ids.set(list, starts[i]);
  });
  return [ids, starts];
}
