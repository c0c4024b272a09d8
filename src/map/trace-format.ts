// What the file format `fovea-trace` says in JSON: texts, and which attention reads which of them under which options.
// Everything is checked here that needs no tensor; trace-parts.ts checks those.
import { FileFormatError, type FoveaError } from '../tensor/errors.js';
import { Fields } from '../tensor/fields.js';
import { describe } from '../tensor/host.js';

export const TRACE_FORMAT = 'fovea-trace';
export const TRACE_VERSION = 1;

type Span = readonly [start: number, end: number];

/** A text in tokens. */
export interface TokenText {
  readonly text: string;
  /** [T], marks of start and end included. */
  readonly tokens: readonly string[];
  /** [T] [start, end) in `text`, in UTF-16 code units; empty for a mark. */
  readonly offsets: readonly Span[];
  /** [T] the word each token belongs to, an index of `wordSpans`; −1 for none. */
  readonly words: readonly number[];
  /** [start, end) of each word in `text`. */
  readonly wordSpans: readonly Span[];
}

/** Options of an attention, without those that are tensors; as in AttentionOptions, keyLengths as a list of one. */
export interface PlainOptions {
  readonly causal?: boolean | 'upper-left' | 'lower-right' | { readonly offset: number };
  readonly window?: readonly [left: number, right: number];
  readonly keyLengths?: readonly [number];
  readonly scale?: number;
  readonly softcap?: number;
}

export const PLAIN_OPTIONS = [
  'causal',
  'window',
  'keyLengths',
  'scale',
  'softcap',
] as const satisfies readonly (keyof PlainOptions)[];

export interface EntryDescription {
  readonly name: string;
  /** Names of the texts that the queries and the keys stand on, where the trace has them. */
  readonly queries?: string;
  readonly keys?: string;
  /** The text whose token t query t leads to: a decoder's next tokens. */
  readonly predicts?: string;
  readonly options: PlainOptions;
}

export interface TraceDescription {
  /** What computed the attention, in words. */
  readonly model?: string;
  readonly texts: Readonly<Record<string, TokenText>>;
  readonly entries: readonly EntryDescription[];
}

export type ErrorMaker = (message: string) => FoveaError;

/** Reads the JSON of a file. Throws FileFormatError naming the field, what was expected and what came. */
export function parseTraceDescription(text: string | undefined): TraceDescription {
  const error: ErrorMaker = (message) => new FileFormatError(`trace: ${message}`);
  if (text === undefined) throw error('expected metadata "fovea", found none: not a trace');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FileFormatError(`trace: metadata "fovea" is not JSON (${(cause as Error).message})`, { cause });
  }
  const fields = new Fields(json, '', error);
  fields.choice('format', [TRACE_FORMAT]);
  const version = fields.number('version', 1, Number.MAX_VALUE);
  if (Math.floor(version) > TRACE_VERSION)
    throw error(`version ${version} is newer than this program's ${TRACE_VERSION}: update fovea to read it`);
  return readDescription(json, error);
}

/** The JSON of a file. */
export function formatTraceDescription({ model, texts, entries }: TraceDescription): string {
  const list = entries.map(({ name, queries, keys, predicts, options }) => ({
    name,
    queries,
    keys,
    predicts,
    options,
  }));
  return JSON.stringify({ format: TRACE_FORMAT, version: TRACE_VERSION, model, texts, entries: list });
}

/** Checks a description, from a file or from a program; `error` makes what is thrown. */
export function readDescription(value: unknown, error: ErrorMaker): TraceDescription {
  const fields = new Fields(value, '', error);
  const texts = readTexts(fields.get('texts') ?? {}, error);
  const list = fields.get('entries');
  if (!Array.isArray(list)) fields.fail('entries', 'a list', list);
  const names = new Set<string>();
  const entries = (list as unknown[]).map((item, i) => {
    const entry = readEntry(new Fields(item, `entries[${i}]`, error), texts);
    if (names.has(entry.name)) throw error(`entries[${i}].name: ${describe(entry.name)} is given twice`);
    names.add(entry.name);
    return entry;
  });
  return { model: fields.optionalText('model'), texts, entries };
}

function readEntry(fields: Fields, texts: TraceDescription['texts']): EntryDescription {
  const textOf = (side: string) => {
    const name = fields.optionalText(side);
    if (name !== undefined && !Object.hasOwn(texts, name)) fields.fail(side, 'the name of a text', name);
    return name;
  };
  return {
    name: fields.text('name'),
    queries: textOf('queries'),
    keys: textOf('keys'),
    predicts: textOf('predicts'),
    options: readPlainOptions(fields.section('options')),
  };
}

/** Names and kinds alone: ranges are attention's own to check. An option that is not known would change weights. */
function readPlainOptions(fields: Fields): PlainOptions {
  const options: Record<string, unknown> = {};
  for (const name of PLAIN_OPTIONS) {
    const value = fields.get(name);
    if (value !== undefined) options[name] = value;
  }
  fields.done();
  const { keyLengths } = options;
  if (keyLengths !== undefined && !(isList(keyLengths, isCount) && keyLengths.length === 1))
    fields.fail('keyLengths', 'a list of one whole number from 0', keyLengths);
  return options;
}

function readTexts(value: unknown, error: ErrorMaker): Record<string, TokenText> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw error(`texts: expected an object, got ${describe(value)}`);
  const texts = Object.entries(value).map(
    ([name, text]) => [name, readText(new Fields(text, `texts.${name}`, error))] as const,
  );
  return Object.fromEntries(texts);
}

/** A text; given as tokens alone, each is a word, and the text has a space between them. */
function readText(fields: Fields): TokenText {
  const tokens = fields.get('tokens');
  if (!isList(tokens, (token): token is string => typeof token === 'string'))
    fields.fail('tokens', 'a list of strings', tokens);
  const count = tokens.length;
  const [text, offsets, words, wordSpans] = ['text', 'offsets', 'words', 'wordSpans'].map((name) =>
    fields.get(name),
  );
  if ([text, offsets, words, wordSpans].every((part) => part === undefined)) return wordPerToken(tokens);
  if (typeof text !== 'string') fields.fail('text', 'a string beside offsets, words and wordSpans', text);
  const isSpan = (span: unknown): span is Span =>
    isList(span, isCount) && span.length === 2 && span[0] <= span[1] && span[1] <= text.length;
  const spans = `[start, end) within the text's ${text.length} code units`;
  if (!isList(offsets, isSpan) || offsets.length !== count)
    fields.fail('offsets', `a list of ${count} ${spans}`, offsets);
  if (!isList(wordSpans, isSpan)) fields.fail('wordSpans', `a list of ${spans}`, wordSpans);
  const isWord = (word: unknown): word is number => word === -1 || (isCount(word) && word < wordSpans.length);
  if (!isList(words, isWord) || words.length !== count)
    fields.fail('words', `a list of ${count} numbers from -1 to below ${wordSpans.length}`, words);
  return { text, tokens, offsets, words, wordSpans };
}

function wordPerToken(tokens: readonly string[]): TokenText {
  let at = 0;
  const offsets = tokens.map((token): Span => {
    const start = at;
    at += token.length + 1;
    return [start, start + token.length];
  });
  return { text: tokens.join(' '), tokens, offsets, words: tokens.map((_, i) => i), wordSpans: offsets };
}

const isCount = (n: unknown): n is number =>
  typeof n === 'number' && Number.isInteger(n) && n >= 0 && n < 2 ** 31;

function isList<T>(value: unknown, is: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every(is);
}
