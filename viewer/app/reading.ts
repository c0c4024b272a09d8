// What the views read of a trace: weights of a selection over words or tokens, and the names of both sides.
import type { TokenText, Trace, TraceEntry } from 'fovea';
import { alignWords, averageWeights, type CrossWeights, valueWeightedNorms } from 'fovea/inspect';
import type { Selection } from './groups.js';
import type { PageState } from './state.js';

export interface WordWeights {
  readonly queries: readonly string[];
  readonly keys: readonly string[];
  /** [queries, keys] */
  readonly weights: ArrayLike<number>;
  /** False where norms were asked for and the trace holds no values. */
  readonly asAsked: boolean;
}

/** The text whose tokens name the rows: what a decoder's queries led to, else what they stand on. */
export const rowText = (trace: Trace, entry: TraceEntry): TokenText | undefined =>
  trace.texts[entry.predicts ?? entry.queries ?? ''];

export const columnText = (trace: Trace, entry: TraceEntry): TokenText | undefined =>
  trace.texts[entry.keys ?? ''];

/** Rows' and columns' tokens without the spaces at their ends, or their numbers. */
function tokensOf(text: TokenText | undefined, length: number): readonly string[] {
  return text
    ? text.tokens.map((token) => token.trim() || token)
    : Array.from({ length }, (_, i) => String(i));
}

/** Weights of a selection, its layers and heads averaged, over words where the texts have them. */
export async function readWords(
  trace: Trace,
  selection: Selection,
  { units, measure }: Pick<PageState, 'units' | 'measure'>,
): Promise<WordWeights> {
  const { entries, heads } = selection;
  const norms = measure === 'norms' ? await Promise.all(entries.map((e) => readNorms(e, heads))) : [];
  const asAsked = norms.every((matrix) => matrix !== undefined);
  const matrix = averageWeights(
    measure === 'norms' && asAsked
      ? (norms as CrossWeights[])
      : (await Promise.all(entries.map((entry) => readWeights(entry, heads)))).flat(),
  );
  const [rows, columns] = [rowText(trace, entries[0]), columnText(trace, entries[0])];
  if (units === 'words' && rows && columns && rows.wordSpans.length > 0 && columns.wordSpans.length > 0) {
    const { targetWords, sourceWords, matrix: words } = alignWords(columns, rows, matrix);
    return { queries: targetWords, keys: sourceWords, weights: words.values, asAsked };
  }
  return {
    queries: tokensOf(rows, matrix.queries),
    keys: tokensOf(columns, matrix.keys),
    weights: matrix.values,
    asAsked,
  };
}

async function readWeights(entry: TraceEntry, heads: readonly number[]): Promise<CrossWeights[]> {
  const map = await entry.map();
  const [, queries, keys] = entry.shape;
  const tiles = await Promise.all(heads.map((head) => map.tile({ batch: 0, head })));
  return tiles.map(({ data }) => ({ queries, keys, values: data }));
}

/** ‖Σ α·v·W‖ of the heads together, each row scaled to sum to 1; undefined without values. */
async function readNorms(entry: TraceEntry, heads: readonly number[]): Promise<CrossWeights | undefined> {
  const [map, values] = await Promise.all([entry.map(), entry.values()]);
  if (!values) return undefined;
  const [, queries, keys] = entry.shape;
  const head = heads.length === 1 ? heads[0] : undefined;
  const { data } = await valueWeightedNorms(map, { ...values, batch: 0, head });
  for (let i = 0; i < queries; i++) {
    const row = data.subarray(i * keys, (i + 1) * keys);
    const sum = row.reduce((a, x) => a + x, 0);
    for (let j = 0; j < keys; j++) row[j] /= sum > 0 ? sum : 1;
  }
  return { queries, keys, values: data };
}

/** The words of a text around one of its tokens: what stands before, the token itself, what follows. */
export function contextOf(
  text: TokenText | undefined,
  token: number,
  words = 10,
): { before: string; own: string; after: string } | undefined {
  if (!text || token < 0 || token >= text.tokens.length) return undefined;
  const [from, to] = text.offsets[token];
  const [own, space] = apart(from < to ? text.text.slice(from, to) : text.tokens[token]);
  const word = nearestWord(text, token);
  const start = text.wordSpans[Math.max(0, word - words)]?.[0] ?? from;
  const end = text.wordSpans[Math.min(text.wordSpans.length - 1, word + words)]?.[1] ?? to;
  return {
    before: text.text.slice(Math.min(start, from), from) + space,
    own,
    after: text.text.slice(to, Math.max(end, to)),
  };
}

/** A token and the space before it. */
function apart(token: string): [own: string, space: string] {
  const own = token.trimStart();
  return own === '' ? [token, ''] : [own, token.slice(0, token.length - own.length)];
}

/** The word of a token, or of the nearest that has one. */
function nearestWord({ words }: TokenText, token: number): number {
  for (let step = 0; step < words.length; step++) {
    if ((words[token - step] ?? -1) >= 0) return words[token - step];
    if ((words[token + step] ?? -1) >= 0) return words[token + step];
  }
  return 0;
}
