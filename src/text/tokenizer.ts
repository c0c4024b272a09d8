// Text → token ids and back, with the place of every token in the text. The merges are done by
// @huggingface/tokenizers; the file is checked here first, since it may come from anywhere.
import * as library from '@huggingface/tokenizers';
import { FileFormatError, OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';
import {
  byteToken,
  layoutOf,
  pieceSplitter,
  prepare,
  SPECIAL_TOKENS,
  SPLIT_PATTERNS,
  type SplitPattern,
  type TokenizerFile,
} from './layout.js';
import { type Span, splitWords, wordsOfTokens } from './words.js';

/** The part of the library used here; its own declarations do not resolve under Node's module resolution. */
interface Merger {
  bpe(piece: string): string[];
}
const { BPE } = library as unknown as { BPE: new (model: object) => Merger };

/** A text in tokens. All offsets refer to `text`, which is the NFC form of what was given. */
export interface Encoding {
  text: string;
  /** int32 [T] */
  ids: Int32Array;
  /** [T] as the vocabulary spells them: a leading space belongs to its word, `<0xE2>` is one byte. */
  tokens: string[];
  /** [T] [start, end) in `text`; bytes of one character all have that character's. */
  offsets: Span[];
  /** [T] the word each token belongs to: an index of `wordSpans`. */
  words: number[];
  wordSpans: Span[];
}

export interface Tokenizer {
  readonly vocabularySize: number;
  /** Most code units that a token covers: a text of n in NFC has at least n / longestToken tokens. */
  readonly longestToken: number;
  /** The text's tokens, without start or end mark; special tokens spelled out in a text stay text. */
  encode(text: string): Encoding;
  /** The ids alone: the same, faster. */
  encodeIds(text: string): Int32Array;
  /** Text of ids; special tokens are left out. `decode(encode(text).ids)` is the text's NFC form.
   * @throws OptionError if an id is outside the vocabulary. */
  decode(ids: ArrayLike<number>): string;
  /** What `encode` gives, for ids that a model made. Special tokens get an empty offset and word -1. */
  describe(ids: ArrayLike<number>): Encoding;
}

/** Reads the contents of a tokenizer.json of the layout that `trainBpe` writes.
 * @throws FileFormatError if it is not one. */
export function loadTokenizer(file: string | object): Tokenizer {
  const json = typeof file === 'string' ? parse(file) : file;
  return new BpeTokenizer(check(json));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FileFormatError(`tokenizer.json: not JSON (${(error as Error).message})`, { cause: error });
  }
}

const MAXIMUM_VOCABULARY = 1 << 20;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The file as a TokenizerFile, each part looked at. */
function check(json: unknown): TokenizerFile {
  const fail = (what: string): never => {
    throw new FileFormatError(`tokenizer.json: ${what}`);
  };
  if (!isObject(json) || !isObject(json.model)) return fail('no model in it');
  const { model } = json;
  if (model.type !== 'BPE') return fail(`model type is ${describe(model.type)}, expected "BPE"`);
  const layout = layoutOf(patternOf(json) ?? 'words');
  for (const part of ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder'] as const)
    if (canonical(json[part]) !== canonical(layout[part])) fail(`${part} is not the one Fovea writes`);
  for (const [key, value] of [
    ['unk_token', '<unk>'],
    ['byte_fallback', true],
  ] as const)
    if (model[key] !== value) fail(`model.${key} is ${describe(model[key])}, expected ${describe(value)}`);
  for (const key of ['ignore_merges', 'continuing_subword_suffix', 'end_of_word_suffix'])
    if (model[key]) fail(`model.${key} is set`);
  checkVocabulary(model, fail);
  return json as unknown as TokenizerFile;
}

/** The pattern that splits the file's text, if it is one of ours. */
function patternOf({ pre_tokenizer: given }: { pre_tokenizer?: unknown }): SplitPattern | undefined {
  return SPLIT_PATTERNS.find((pattern) => canonical(given) === canonical(layoutOf(pattern).pre_tokenizer));
}

/** JSON with sorted keys: the order of a file's keys means nothing. '' where it is nested too deeply to write. */
function canonical(value: unknown): string {
  try {
    return JSON.stringify(value, (_, inner) =>
      isObject(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
    );
  } catch {
    return '';
  }
}

function checkVocabulary(model: Record<string, unknown>, fail: (what: string) => never): void {
  const { vocab, merges } = model;
  if (!isObject(vocab)) throw fail('model.vocab is not an object');
  const entries = Object.entries(vocab);
  const size = entries.length;
  if (size > MAXIMUM_VOCABULARY) fail(`${size} tokens, more than ${MAXIMUM_VOCABULARY}`);
  const known = new Set<string>();
  const taken = new Uint8Array(size);
  for (const [token, id] of entries) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= size || taken[id])
      fail(`ids are not 0 to ${size - 1}, each once: ${describe(token)} has ${describe(id)}`);
    taken[id as number] = 1;
    known.add(token);
  }
  SPECIAL_TOKENS.forEach((token, id) => {
    if (vocab[token] !== id) fail(`${token} has id ${describe(vocab[token])}, expected ${id}`);
  });
  for (let byte = 0; byte < 256; byte++)
    if (!known.has(byteToken(byte))) fail(`${byteToken(byte)} is missing`);
  if (!Array.isArray(merges)) throw fail('model.merges is not an array');
  merges.forEach((merge, i) => {
    const pair =
      Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === 'string');
    if (!pair || !known.has(merge[0]) || !known.has(merge[1]) || !known.has(merge[0] + merge[1]))
      fail(`merge ${i} is not a pair of tokens that make a token: ${describe(merge)}`);
  });
}

/** What one piece of text becomes. */
interface Piece {
  ids: number[];
  /** Code units that each token covers; for bytes, of a character: its length at the first, 0 at the others. */
  lengths: number[];
}

/** Pieces kept; when full, all are forgotten: their number is bounded and the common ones come back at once. */
const CACHE = 1 << 16;

class BpeTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly longestToken: number;
  private readonly model: Merger;
  private readonly split: (prepared: string) => string[];
  private readonly names: string[] = [];
  private readonly ids: Map<string, number>;
  /** Value of a byte token, by id, else -1. */
  private readonly bytes: Int16Array;
  private readonly cache = new Map<string, Piece>();

  constructor(file: TokenizerFile) {
    this.model = new BPE(file.model);
    this.split = pieceSplitter(patternOf(file)!);
    this.ids = new Map(Object.entries(file.model.vocab));
    this.vocabularySize = this.ids.size;
    for (const [token, id] of this.ids) this.names[id] = token;
    this.longestToken = this.names.reduce((most, { length }) => Math.max(most, length), 1);
    this.bytes = new Int16Array(this.vocabularySize).fill(-1);
    for (let byte = 0; byte < 256; byte++) this.bytes[this.ids.get(byteToken(byte))!] = byte;
  }

  encodeIds(text: string): Int32Array {
    const ids: number[] = [];
    if (text !== '')
      for (const piece of this.split(prepare(text))) for (const id of this.piece(piece).ids) ids.push(id);
    return Int32Array.from(ids);
  }

  encode(text: string): Encoding {
    const ids: number[] = [];
    const offsets: Span[] = [];
    const normal = text.normalize('NFC');
    // Offset in the prepared text, which has one more space in front.
    let end = -1;
    if (text !== '')
      for (const piece of this.split(prepare(text))) {
        const { ids: pieceIds, lengths } = this.piece(piece);
        let start = end;
        pieceIds.forEach((id, i) => {
          if (lengths[i] > 0) start = end;
          end += lengths[i];
          ids.push(id);
          offsets.push([Math.max(0, start), end]);
        });
      }
    return this.finish(normal, Int32Array.from(ids), offsets);
  }

  decode(ids: ArrayLike<number>): string {
    return this.spell(ids).text;
  }

  describe(ids: ArrayLike<number>): Encoding {
    const { text, offsets } = this.spell(ids);
    return this.finish(text, Int32Array.from(ids), offsets);
  }

  private finish(text: string, ids: Int32Array, offsets: Span[]): Encoding {
    const wordSpans = splitWords(text);
    const words = wordsOfTokens(text, offsets, wordSpans);
    const tokens = Array.from(ids, (id) => this.names[id]);
    ids.forEach((id, i) => {
      if (id < SPECIAL_TOKENS.length) words[i] = -1;
    });
    return { text, ids, tokens, offsets, words, wordSpans };
  }

  private piece(text: string): Piece {
    let piece = this.cache.get(text);
    if (piece === undefined) {
      piece = this.merge(text);
      if (this.cache.size >= CACHE) this.cache.clear();
      this.cache.set(text, piece);
    }
    return piece;
  }

  private merge(text: string): Piece {
    const ids: number[] = [];
    const lengths: number[] = [];
    for (const part of this.model.bpe(text)) {
      const id = this.ids.get(part);
      if (id !== undefined) {
        ids.push(id);
        lengths.push(part.length);
        continue;
      }
      encoder.encode(part).forEach((byte, i) => {
        ids.push(this.ids.get(byteToken(byte))!);
        lengths.push(i === 0 ? part.length : 0);
      });
    }
    return { ids, lengths };
  }

  /** Text and offsets of ids, without the space that `prepare` put in front. */
  private spell(ids: ArrayLike<number>): { text: string; offsets: Span[] } {
    let text = '';
    const offsets: Span[] = [];
    const skip = this.firstText(ids).startsWith(' ') ? 1 : 0;
    const run: number[] = [];
    const flush = () => {
      if (run.length === 0) return;
      for (const [length, part] of decodeBytes(run)) {
        for (let i = 0; i < length; i++) offsets.push([text.length, text.length + part.length]);
        text += part;
      }
      run.length = 0;
    };
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      if (!(id >= 0 && id < this.vocabularySize) || !Number.isInteger(id))
        throw new OptionError(`tokenizer: id ${id} is outside the vocabulary of ${this.vocabularySize}`);
      if (this.bytes[id] >= 0) {
        run.push(this.bytes[id]);
        continue;
      }
      flush();
      const part = id < SPECIAL_TOKENS.length ? '' : this.names[id];
      offsets.push([text.length, text.length + part.length]);
      text += part;
    }
    flush();
    if (skip === 0) return { text, offsets };
    const shifted = offsets.map(([start, end]) => [Math.max(0, start - 1), Math.max(0, end - 1)] as const);
    return { text: text.slice(1), offsets: shifted };
  }

  /** The first token that spells anything. */
  private firstText(ids: ArrayLike<number>): string {
    let i = 0;
    while (i < ids.length && ids[i] < SPECIAL_TOKENS.length) i++;
    const id = ids[i];
    return this.bytes[id] === 32 ? ' ' : (this.names[id] ?? '');
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** U+FFFD itself, in bytes. */
const REPLACEMENT = encoder.encode('\ufffd').join();

/** Cuts bytes into characters: [number of bytes, text]. A byte that belongs to no character is U+FFFD by itself. */
function decodeBytes(bytes: readonly number[]): [number, string][] {
  const parts: [number, string][] = [];
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i];
    let length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    const slice = bytes.slice(i, i + length);
    let text = decoder.decode(Uint8Array.from(slice));
    if (text.includes('\ufffd') && slice.join() !== REPLACEMENT) {
      length = 1;
      text = '\ufffd';
    }
    parts.push([length, text]);
    i += length;
  }
  return parts;
}
