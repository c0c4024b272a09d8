// chrF (Popović 2015) of a corpus, equal to sacreBLEU with its defaults: character runs of 1 to 6 without white
// space, recall weighted β² = 4 times, of several references the best one of each sentence.
import { checkReferences, referenceCount, WHITE_SPACE } from './bleu.js';

export interface ChrfScore {
  /** 0 to 100. */
  score: number;
  signature: string;
  /** e.g. `chrF2 = 59.73` */
  text: string;
}

export interface ChrfOptions {
  /** Weight of recall; default 2. */
  beta?: number;
  /** Count all orders, those longer than the texts with a tiny value (chrF++.py, NLTK), instead of the orders that
   * stand on both sides (sacreBLEU's default). Default false. */
  epsilonSmoothing?: boolean;
}

const ORDERS = 6;

/** Runs of each order: in the hypothesis, in the reference, in both. */
type Counts = [hypothesis: number, reference: number, both: number][];

/** @param hypotheses one a sentence
 * @param references for each sentence one or more; empty ones are left out
 * @throws OptionError if the numbers of sentences differ, or a sentence has no reference. */
export function chrf(
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
  { beta = 2, epsilonSmoothing = false }: ChrfOptions = {},
): ChrfScore {
  const kept = checkReferences('chrf', hypotheses, references);
  const fScore = (counts: Counts) =>
    epsilonSmoothing ? smoothedScore(counts, beta) : effectiveScore(counts, beta);
  const sums: Counts = Array.from({ length: ORDERS }, () => [0, 0, 0]);
  hypotheses.forEach((hypothesis, i) => {
    const own = countRuns(hypothesis);
    let best: Counts | undefined;
    let bestScore = -1;
    for (const reference of kept[i]) {
      const counts = compare(own, countRuns(reference));
      const score = fScore(counts);
      if (score > bestScore) {
        best = counts;
        bestScore = score;
      }
    }
    best!.forEach((counts, order) => {
      for (let k = 0; k < 3; k++) sums[order][k] += counts[k];
    });
  });
  const score = fScore(sums);
  const order = epsilonSmoothing ? 'no' : 'yes';
  return {
    score,
    signature: `nrefs:${referenceCount(kept)}|case:mixed|eff:${order}|nc:${ORDERS}|nw:0|space:no`,
    text: `chrF${beta} = ${score.toFixed(2)}`,
  };
}

function countRuns(text: string): Map<string, number>[] {
  const characters = Array.from(text.split(WHITE_SPACE).join(''));
  return Array.from({ length: ORDERS }, (_, i) => {
    const counts = new Map<string, number>();
    for (let start = 0; start + i < characters.length; start++) {
      const run = characters.slice(start, start + i + 1).join('');
      counts.set(run, (counts.get(run) ?? 0) + 1);
    }
    return counts;
  });
}

const total = (counts: Map<string, number>): number => {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
};

function compare(hypothesis: Map<string, number>[], reference: Map<string, number>[]): Counts {
  return hypothesis.map((own, i) => {
    const other = reference[i];
    let both = 0;
    for (const [run, count] of own) both += Math.min(count, other.get(run) ?? 0);
    // Where the reference is too short for an order, the hypothesis is not blamed for being longer.
    return [other.size === 0 ? 0 : total(own), total(other), both];
  });
}

/** F of the mean precision and recall over the orders that stand on both sides. */
function effectiveScore(counts: Counts, beta: number): number {
  const present = counts.filter(([hypothesis, reference]) => hypothesis > 0 && reference > 0);
  if (present.length === 0) return 0;
  const precision =
    present.reduce((sum, [hypothesis, , both]) => sum + both / hypothesis, 0) / present.length;
  const recall = present.reduce((sum, [, reference, both]) => sum + both / reference, 0) / present.length;
  if (precision + recall === 0) return 0;
  return (100 * (1 + beta ** 2) * precision * recall) / (beta ** 2 * precision + recall);
}

/** Mean of F over all orders. */
function smoothedScore(counts: Counts, beta: number): number {
  const epsilon = 1e-16;
  let sum = 0;
  for (const [hypothesis, reference, both] of counts) {
    const precision = hypothesis > 0 ? both / hypothesis : epsilon;
    const recall = reference > 0 ? both / reference : epsilon;
    const denominator = beta ** 2 * precision + recall;
    sum += denominator > 0 ? ((1 + beta ** 2) * precision * recall) / denominator : epsilon;
  }
  return (100 * sum) / counts.length;
}
