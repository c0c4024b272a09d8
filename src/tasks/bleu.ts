// BLEU (Papineni et al. 2002) of a corpus, equal to sacreBLEU (Post 2018) with its defaults: the tokenisation of
// mteval-v13a, four orders, exponential smoothing, case kept, of several references the closest length.
import { OptionError } from '../tensor/errors.js';

export interface BleuScore {
  /** 0 to 100. */
  score: number;
  /** Of orders 1 to 4, in percent. */
  precisions: number[];
  brevityPenalty: number;
  hypothesisLength: number;
  referenceLength: number;
  /** How the score was made, as sacreBLEU writes it, less its version. */
  signature: string;
  /** e.g. `BLEU = 48.53 82.4/50.0/45.5/37.5 (BP = 0.943 ratio = 0.944 hyp_len = 17 ref_len = 18)` */
  text: string;
}

const ORDERS = 4;

/** @param hypotheses one a sentence
 * @param references for each sentence one or more; empty ones are left out
 * @throws OptionError if the numbers of sentences differ, or a sentence has no reference. */
export function bleu(hypotheses: readonly string[], references: readonly (readonly string[])[]): BleuScore {
  const kept = checkReferences('bleu', hypotheses, references);
  const matches = new Array<number>(ORDERS).fill(0);
  const totals = new Array<number>(ORDERS).fill(0);
  let hypothesisLength = 0;
  let referenceLength = 0;
  hypotheses.forEach((hypothesis, i) => {
    const words = tokenize13a(hypothesis);
    const others = kept[i].map(tokenize13a);
    hypothesisLength += words.length;
    referenceLength += closest(
      words.length,
      others.map((other) => other.length),
    );
    for (let order = 1; order <= ORDERS; order++) {
      totals[order - 1] += Math.max(0, words.length - order + 1);
      matches[order - 1] += clippedMatches(words, others, order);
    }
  });
  return { ...combine(matches, totals, hypothesisLength, referenceLength), signature: signature(kept) };
}

/** References per sentence, empty ones left out. */
export function checkReferences(
  name: string,
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
): string[][] {
  if (hypotheses.length !== references.length)
    throw new OptionError(
      `${name}: ${hypotheses.length} hypotheses, but references for ${references.length}`,
    );
  return references.map((list, i) => {
    const kept = list.filter((reference) => reference !== '');
    if (kept.length === 0) throw new OptionError(`${name}: sentence ${i + 1} has no reference`);
    return kept;
  });
}

/** `nrefs` of a signature: a number, or `var`. */
export function referenceCount(references: readonly (readonly string[])[]): string {
  const counts = new Set(references.map((list) => list.length));
  return counts.size === 1 ? String([...counts][0]) : 'var';
}

const signature = (references: string[][]): string =>
  `nrefs:${referenceCount(references)}|case:mixed|eff:no|tok:13a|smooth:exp`;

/** What Python takes for white space. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: four separators are white space to Python
export const WHITE_SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;

/** The words of a line as mteval-v13a cuts them: punctuation apart, but for points and commas between digits. */
export function tokenize13a(line: string): string[] {
  const text = line
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>');
  return ` ${text} `
    .replace(/[ -&(-+/:-@[-`{-~]/gu, ' $& ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/gu, '$1 $2 ')
    .split(WHITE_SPACE)
    .filter((word) => word !== '');
}

function closest(length: number, others: number[]): number {
  return others.reduce((best, other) => {
    const gain = Math.abs(best - length) - Math.abs(other - length);
    return gain > 0 || (gain === 0 && other < best) ? other : best;
  });
}

/** Runs of `order` words and how often each stands. Words hold no space, so a space may join them. */
function countRuns(words: string[], order: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + order <= words.length; i++) {
    const run = words.slice(i, i + order).join(' ');
    counts.set(run, (counts.get(run) ?? 0) + 1);
  }
  return counts;
}

function clippedMatches(words: string[], references: string[][], order: number): number {
  const allowed = references.map((reference) => countRuns(reference, order));
  let matches = 0;
  for (const [run, count] of countRuns(words, order))
    matches += Math.min(count, Math.max(...allowed.map((counts) => counts.get(run) ?? 0)));
  return matches;
}

/** The score of counts; an order without a match counts as 1/2, 1/4, … of one match, in turn. */
function combine(matches: number[], totals: number[], hypothesisLength: number, referenceLength: number) {
  const brevityPenalty =
    hypothesisLength >= referenceLength
      ? 1
      : hypothesisLength === 0
        ? 0
        : Math.exp(1 - referenceLength / hypothesisLength);
  const precisions = new Array<number>(ORDERS).fill(0);
  let score = 0;
  if (matches.some((count) => count > 0)) {
    let smoothing = 1;
    for (let i = 0; i < ORDERS && totals[i] > 0; i++) {
      if (matches[i] === 0) smoothing /= 2;
      precisions[i] = (100 * (matches[i] || smoothing)) / totals[i];
    }
    score = brevityPenalty * Math.exp(precisions.reduce((sum, p) => sum + Math.log(p), 0) / ORDERS);
  }
  const ratio = referenceLength === 0 ? 0 : hypothesisLength / referenceLength;
  const text =
    `BLEU = ${score.toFixed(2)} ${precisions.map((p) => p.toFixed(1)).join('/')} (BP = ${brevityPenalty.toFixed(3)} ` +
    `ratio = ${ratio.toFixed(3)} hyp_len = ${hypothesisLength} ref_len = ${referenceLength})`;
  return { score, precisions, brevityPenalty, hypothesisLength, referenceLength, text };
}
