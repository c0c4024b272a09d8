// Trains byte-pair encoding (Sennrich et al. 2016) and writes it as tokenizer.json. Deterministic: equal texts in
// any order give the same file. Counts of pairs are kept up to date merge by merge; a heap finds the most frequent.
import { OptionError } from '../tensor/errors.js';
import {
  byteToken,
  layoutOf,
  pieceSplitter,
  prepare,
  SPECIAL_TOKENS,
  type SplitPattern,
  type TokenizerFile,
} from './layout.js';

export interface BpeOptions {
  /** Number of tokens in all: special tokens, 256 bytes, alphabet and merges. Fewer only if no pair repeats. */
  vocabularySize: number;
  /** Characters seen less often are left to bytes; default 5. */
  minimumCharacterCount?: number;
  /** At most so many characters in the alphabet, the most frequent ones; default 2,000. */
  alphabetLimit?: number;
  /** Where merges may not cross: `words` (default), or `gpt2`, for comparison with tokenizers that split as GPT-2's. */
  pattern?: SplitPattern;
}

/** Trains on texts (one sentence each).
 * @throws OptionError if the vocabulary has no room for bytes and alphabet, or no text holds a character. */
export function trainBpe(texts: Iterable<string>, options: BpeOptions): TokenizerFile {
  const { vocabularySize, minimumCharacterCount = 5, alphabetLimit = 2000, pattern = 'words' } = options;
  if (!Number.isInteger(vocabularySize) || vocabularySize > 65536)
    throw new OptionError(`trainBpe: vocabularySize is an integer up to 65536, got ${vocabularySize}`);
  const counts = countPieces(texts, pieceSplitter(pattern));
  if (counts.size === 0) throw new OptionError('trainBpe: no text holds a character');
  const tokens: string[] = [...SPECIAL_TOKENS];
  for (let byte = 0; byte < 256; byte++) tokens.push(byteToken(byte));
  const reserved = new Set(tokens);
  tokens.push(...chooseAlphabet(counts, minimumCharacterCount, alphabetLimit));
  if (tokens.length > vocabularySize)
    throw new OptionError(
      `trainBpe: vocabularySize is ${vocabularySize}, bytes and alphabet alone take ${tokens.length}`,
    );
  const merges = new MergeTrainer(tokens, reserved, counts).run(vocabularySize);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({ id, content, ...plainToken })),
    ...layoutOf(pattern),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

const plainToken = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };

function countPieces(texts: Iterable<string>, split: (text: string) => string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    if (text === '') continue;
    for (const piece of split(prepare(text))) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  }
  return counts;
}

function chooseAlphabet(pieces: Map<string, number>, minimum: number, limit: number): string[] {
  const counts = new Map<string, number>([[' ', Number.POSITIVE_INFINITY]]);
  for (const [piece, count] of pieces)
    for (const character of piece) counts.set(character, (counts.get(character) ?? 0) + count);
  return [...counts]
    .filter(([character, count]) => count >= minimum && !/\p{Surrogate}/u.test(character))
    .sort((a, b) => b[1] - a[1] || byCodePoint(a[0], b[0]))
    .slice(0, limit)
    .map(([character]) => character)
    .sort(byCodePoint);
}

const byCodePoint = (a: string, b: string): number => a.codePointAt(0)! - b.codePointAt(0)!;

/** Pairs are numbers: left * 65536 + right. */
const PAIR = 65536;

class MergeTrainer {
  private readonly ids: Map<string, number>;
  /** Distinct pieces as token ids (-1: a character outside the alphabet, never merged) and how often each stands. */
  private readonly words: number[][] = [];
  private readonly weights: number[] = [];
  private readonly pairCounts = new Map<number, number>();
  /** Words in which a pair stood at some time; may be out of date, checked when used. */
  private readonly pairWords = new Map<number, Set<number>>();
  private readonly heap = new PairHeap();

  constructor(
    private readonly tokens: string[],
    private readonly reserved: ReadonlySet<string>,
    pieces: Map<string, number>,
  ) {
    this.ids = new Map(tokens.map((token, id) => [token, id]));
    // Sorted, so that the order of the texts leaves no trace.
    for (const piece of [...pieces.keys()].sort()) {
      const word = Array.from(piece, (character) => this.ids.get(character) ?? -1);
      if (word.length > 1) {
        this.words.push(word);
        this.weights.push(pieces.get(piece)!);
      }
    }
    this.words.forEach((word, index) => {
      for (let i = 0; i + 1 < word.length; i++) this.change(word[i], word[i + 1], this.weights[index], index);
    });
    for (const [pair, count] of this.pairCounts) this.heap.push(count, pair);
  }

  /** Merges until there are `size` tokens or no pair stands twice; returns the merges in order. */
  run(size: number): [string, string][] {
    const merges: [string, string][] = [];
    while (this.tokens.length < size) {
      const pair = this.mostFrequent();
      if (pair === undefined) break;
      const left = this.tokens[Math.floor(pair / PAIR)];
      const right = this.tokens[pair % PAIR];
      if (this.reserved.has(left + right)) {
        this.pairCounts.delete(pair);
        continue;
      }
      let id = this.ids.get(left + right);
      if (id === undefined) {
        id = this.tokens.push(left + right) - 1;
        this.ids.set(left + right, id);
      }
      merges.push([left, right]);
      this.merge(pair, id);
    }
    return merges;
  }

  private mostFrequent(): number | undefined {
    for (let entry = this.heap.pop(); entry !== undefined; entry = this.heap.pop()) {
      const count = this.pairCounts.get(entry.pair) ?? 0;
      if (count === entry.count) return count >= 2 ? entry.pair : undefined;
      if (count > 0 && count < entry.count) this.heap.push(count, entry.pair);
    }
    return undefined;
  }

  private merge(pair: number, id: number): void {
    const left = Math.floor(pair / PAIR);
    const right = pair % PAIR;
    const grown = new Set<number>();
    for (const index of this.pairWords.get(pair) ?? []) {
      const word = this.words[index];
      const weight = this.weights[index];
      let length = 0;
      for (let i = 0; i < word.length; i++) {
        if (word[i] !== left || word[i + 1] !== right) {
          word[length++] = word[i];
          continue;
        }
        const before = length > 0 ? word[length - 1] : -1;
        const after = i + 2 < word.length ? word[i + 2] : -1;
        this.change(before, left, -weight, index);
        this.change(right, after, -weight, index);
        grown.add(this.change(before, id, weight, index));
        grown.add(this.change(id, after, weight, index));
        word[length++] = id;
        i++;
      }
      word.length = length;
    }
    this.pairCounts.delete(pair);
    this.pairWords.delete(pair);
    for (const key of grown) {
      const count = this.pairCounts.get(key);
      if (count !== undefined && count > 0) this.heap.push(count, key);
    }
  }

  /** Adds to the count of a pair in a word; returns the pair, or -1 at a word's edge. */
  private change(left: number, right: number, by: number, word: number): number {
    if (left < 0 || right < 0) return -1;
    const pair = left * PAIR + right;
    this.pairCounts.set(pair, (this.pairCounts.get(pair) ?? 0) + by);
    if (by > 0) {
      const words = this.pairWords.get(pair);
      if (words === undefined) this.pairWords.set(pair, new Set([word]));
      else words.add(word);
    }
    return pair;
  }
}

interface PairEntry {
  count: number;
  pair: number;
}

/** Binary heap: highest count first, of equal counts the lower pair, so that the order is total. */
class PairHeap {
  private readonly entries: PairEntry[] = [];

  push(count: number, pair: number): void {
    const entry = { count, pair };
    let i = this.entries.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(entry, this.entries[parent])) break;
      this.entries[i] = this.entries[parent];
      i = parent;
    }
    this.entries[i] = entry;
  }

  pop(): PairEntry | undefined {
    const { entries } = this;
    const top = entries[0];
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= entries.length) break;
      if (child + 1 < entries.length && before(entries[child + 1], entries[child])) child++;
      if (!before(entries[child], last)) break;
      entries[i] = entries[child];
      i = child;
    }
    entries[i] = last;
    return top;
  }
}

const before = (a: PairEntry, b: PairEntry): boolean =>
  a.count !== b.count ? a.count > b.count : a.pair < b.pair;
