// Beam search: at every step the likeliest continuations of each sentence's hypotheses are kept. Knows no model: it
// steps whatever gives log-probabilities row by row, several sentences at once.
import { EngineError, OptionError } from '../tensor/errors.js';

/** What is searched: `beam` rows of hypotheses for each sentence, together, in the order of the sentences. */
export interface Steps {
  /** Reads the last token of every row → log-probabilities of the next, [rows, vocabulary]. */
  step(ids: Int32Array): Promise<Float32Array>;
  /** New row i goes on from old row parents[i]; `beam` rows a sentence, none of one that is done. */
  reorder(parents: Int32Array): void;
}

export interface BeamOptions {
  /** Hypotheses kept per sentence; 1 is greedy decoding. */
  beam: number;
  /** Scores are log-probability / length^penalty, the end mark counted: 0 prefers short, 1 the best mean. */
  lengthPenalty: number;
  /** Most tokens of each sentence's hypotheses, one number a sentence. */
  limits: readonly number[];
  start: number;
  end: number;
  /** Tokens never to choose: other marks. */
  banned: readonly number[];
}

/** One finished hypothesis. */
export interface Hypothesis {
  /** Tokens without marks. */
  ids: number[];
  /** Natural logarithm, the end mark's included. */
  logProbability: number;
  score: number;
  /** Whether it ended by itself, rather than at its limit. */
  ended: boolean;
}

interface Live {
  ids: number[];
  logProbability: number;
  /** Among all rows. */
  row: number;
}

/** A sentence under way: at most `beam` hypotheses; its rows without one repeat the first and are not looked at. */
interface Search {
  sentence: number;
  live: Live[];
}

/** Searches all sentences together; their `beam` rows must be prepared. Gives each sentence's hypotheses, best first, at
 * least one. A search stops when `beam` hypotheses have ended, or no live one is as good as the best that has.
 * @throws OptionError for a beam or penalty out of range, EngineError if the scores are not numbers. */
export async function beamSearch(steps: Steps, options: BeamOptions): Promise<Hypothesis[][]> {
  const { beam, lengthPenalty, limits, start } = options;
  checkBeam(beam, lengthPenalty);
  const finished = limits.map((): Hypothesis[] => []);
  let searches = limits.map(
    (_, sentence): Search => ({
      sentence,
      live: [{ ids: [], logProbability: 0, row: sentence * beam }],
    }),
  );
  /** One value a row; rows without a hypothesis repeat the first of their sentence. */
  const perRow = (value: (hypothesis: Live) => number) =>
    Int32Array.from(
      searches.flatMap(({ live }) => Array.from({ length: beam }, (_, k) => value(live[k] ?? live[0]))),
    );
  while (searches.length > 0) {
    const ids = perRow((hypothesis) => hypothesis.ids.at(-1) ?? start);
    const scores = await steps.step(ids);
    const width = scores.length / ids.length;
    for (const search of searches) {
      const { sentence, live } = search;
      search.live = advance(live, scores, width, finished[sentence], limits[sentence], options);
    }
    searches = searches.filter(({ live }) => live.length > 0);
    if (searches.length > 0) steps.reorder(perRow(({ row }) => row));
    searches.forEach(({ live }, place) => {
      live.forEach((hypothesis, k) => {
        hypothesis.row = place * beam + k;
      });
    });
  }
  return finished.map((list) => list.sort((a, b) => b.score - a.score).slice(0, beam));
}

/** @throws OptionError for a beam or penalty out of range. */
export function checkBeam(beam: number, lengthPenalty: number): void {
  if (!Number.isInteger(beam) || beam < 1 || beam > 64)
    throw new OptionError(`beam: expected a whole number from 1 to 64, got ${beam}`);
  if (!(lengthPenalty >= 0 && lengthPenalty <= 10))
    throw new OptionError(`lengthPenalty: expected a number from 0 to 10, got ${lengthPenalty}`);
}

/** One step of one sentence: ended hypotheses go to `finished`, those that go on are returned. */
function advance(
  hypotheses: Live[],
  scores: Float32Array,
  width: number,
  finished: Hypothesis[],
  limit: number,
  { beam, lengthPenalty, end, banned }: BeamOptions,
): Live[] {
  if (hypotheses.length === 0) return [];
  const finish = (ids: number[], logProbability: number, ended: boolean) => {
    const length = ids.length + (ended ? 1 : 0);
    finished.push({ ids, logProbability, score: logProbability / length ** lengthPenalty, ended });
  };
  // Nothing ends before it began: the first token is never the end mark.
  const forbidden = hypotheses[0].ids.length === 0 ? [...banned, end] : banned;
  // One more than the beam: the end mark may be among them.
  const candidates = hypotheses.flatMap((hypothesis) =>
    topTokens(scores, hypothesis.row * width, width, beam + 1, forbidden).map(([token, score]) => ({
      hypothesis,
      token,
      logProbability: hypothesis.logProbability + score,
    })),
  );
  if (candidates.length === 0) throw new EngineError('beamSearch: the scores are not numbers');
  candidates.sort((a, b) => b.logProbability - a.logProbability);
  const next: Live[] = [];
  for (let rank = 0; rank < candidates.length && next.length < beam; rank++) {
    const { hypothesis, token, logProbability } = candidates[rank];
    if (token !== end) next.push({ ids: [...hypothesis.ids, token], logProbability, row: hypothesis.row });
    else if (rank < beam) finish(hypothesis.ids, logProbability, true);
  }
  if (finished.length >= beam) return [];
  if (next[0]?.ids.length >= limit) {
    for (const { ids, logProbability } of next) finish(ids, logProbability, false);
    return [];
  }
  const best = Math.max(...finished.map(({ score }) => score));
  return next.filter(({ ids, logProbability }) => logProbability / (ids.length + 1) ** lengthPenalty > best);
}

/** The `count` likeliest tokens of a row, best first, of equals the lower id; NaN and −∞ are never chosen. */
function topTokens(
  scores: Float32Array,
  from: number,
  width: number,
  count: number,
  forbidden: readonly number[],
): [token: number, score: number][] {
  const top: [number, number][] = [];
  let lowest = Number.NEGATIVE_INFINITY;
  for (let token = 0; token < width; token++) {
    const score = scores[from + token];
    if (!(score > lowest) || forbidden.includes(token)) continue;
    let at = top.length;
    while (at > 0 && top[at - 1][1] < score) at--;
    top.splice(at, 0, [token, score]);
    if (top.length > count) top.pop();
    if (top.length === count) lowest = top[count - 1][1];
  }
  return top;
}
