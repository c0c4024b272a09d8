// Contextual vectors of a text's words, from a translator's encoder: unit vectors whose directions compare.
import { Progress, type Watch } from '../map/progress.js';
import type { LoadedModel } from '../models/files.js';
import { LimitError } from '../tensor/errors.js';
import type { Encoding, RunningText } from '../text/index.js';

/** Most tokens of a piece that the encoder reads at once: the model learned from short sentences. */
const PIECE = 64;
/** Most rows encoded together. */
const TOGETHER = 2048;
/** Fewest tokens whose mean stands for their position. */
const FEWEST = 64;

/** Tokens that are read together, and the word of the text that each belongs to (−1: none). */
interface Piece {
  readonly ids: Int32Array;
  readonly words: readonly number[];
}

/**
 * float32 [words, width]. Sentences are encoded in pieces of at most 64 tokens; the mean over all tokens of the same
 * position in their piece is taken away (neighbouring positions share one where they have fewer than 64 tokens); a word
 * is the mean of its tokens, at length 1. A word that shares its only token with another is 0.
 */
export async function encodeWords(
  { model, tokenizer, config }: LoadedModel,
  { text, sentences }: RunningText,
  words: number,
  watch: Watch,
): Promise<Float32Array> {
  const progress = new Progress(text.length, watch);
  const sums = new WordSums(words, config.width);
  let group: Piece[] = [];
  let rows = 0;
  let [firstWord, done] = [0, 0];
  const flush = async (end: number) => {
    await progress.next();
    const vectors = await model.encode(group.map(({ ids }) => Int32Array.of(...ids, config.end)));
    sums.add(group, vectors);
    progress.advance(end - done);
    done = end;
    group = [];
    rows = 0;
  };
  for (const [start, end] of sentences) {
    const encoding = tokenizer.encode(text.slice(start, end));
    for (const piece of cut(encoding, firstWord)) {
      if (rows + piece.ids.length + 1 > TOGETHER) await flush(start);
      group.push(piece);
      rows += piece.ids.length + 1;
    }
    firstWord += encoding.wordSpans.length;
  }
  await flush(text.length);
  return sums.directions();
}

/** Cuts a sentence into pieces: after punctuation in a piece's second half, else between words, else anywhere. */
function* cut({ ids, tokens, words }: Encoding, firstWord: number): Generator<Piece> {
  for (let from = 0; from < ids.length; ) {
    const to = pieceEnd(tokens, words, from);
    const own = words.slice(from, to).map((word) => (word < 0 ? -1 : firstWord + word));
    yield { ids: ids.subarray(from, to), words: own };
    from = to;
  }
}

function pieceEnd(tokens: readonly string[], words: readonly number[], from: number): number {
  const most = from + PIECE;
  if (most >= tokens.length) return tokens.length;
  let between = -1;
  for (let i = most; i > from; i--) {
    if (words[i] === words[i - 1]) continue;
    if (i > from + PIECE / 2 && /[,;:]/.test(tokens[i - 1])) return i;
    if (between < 0) between = i;
  }
  return between < 0 ? most : between;
}

/** Sums of vectors, by word and by position. */
class WordSums {
  private readonly sums: Float32Array;
  private readonly positions: Float64Array;
  private readonly counts = new Int32Array(PIECE);
  /** Of each token. */
  private readonly words: number[] = [];
  private readonly places: number[] = [];

  constructor(
    words: number,
    private readonly width: number,
  ) {
    this.sums = allocate(words, width);
    this.positions = new Float64Array(PIECE * width);
  }

  /** Adds a group's vectors [T, width]; those of the end marks are left out. */
  add(group: readonly Piece[], vectors: Float32Array): void {
    const { width, sums, positions, counts } = this;
    let row = 0;
    for (const { words } of group) {
      words.forEach((word, place) => {
        if (word >= 0) {
          counts[place]++;
          this.words.push(word);
          this.places.push(place);
          for (let d = 0; d < width; d++) {
            const x = vectors[(row + place) * width + d];
            positions[place * width + d] += x;
            sums[word * width + d] += x;
          }
        }
      });
      row += words.length + 1;
    }
  }

  /** The words' vectors. To be called once: it is made of the sums themselves. */
  directions(): Float32Array {
    const { width, sums } = this;
    const means = this.means();
    this.words.forEach((word, t) => {
      const mean = this.places[t] * width;
      for (let d = 0; d < width; d++) sums[word * width + d] -= means[mean + d];
    });
    for (let at = 0; at < sums.length; at += width) {
      let square = 0;
      for (let d = at; d < at + width; d++) square += sums[d] * sums[d];
      const factor = square > 0 ? 1 / Math.sqrt(square) : 0;
      for (let d = at; d < at + width; d++) sums[d] *= factor;
    }
    return sums;
  }

  /** The mean vector of each position [PIECE, width]. */
  private means(): Float64Array {
    const { width, positions, counts } = this;
    const means = new Float64Array(PIECE * width);
    let left = counts.reduce((sum, n) => sum + n, 0);
    for (let from = 0; from < PIECE && left > 0; ) {
      let to = from;
      let count = 0;
      while (to < PIECE && (count < FEWEST || left < FEWEST)) {
        count += counts[to];
        left -= counts[to++];
      }
      for (let d = 0; d < width; d++) {
        let sum = 0;
        for (let p = from; p < to; p++) sum += positions[p * width + d];
        for (let p = from; p < to; p++) means[p * width + d] = sum / count;
      }
      from = to;
    }
    return means;
  }
}

function allocate(words: number, width: number): Float32Array {
  try {
    return new Float32Array(words * width);
  } catch {
    throw new LimitError(`traceText: there is no memory for ${words} vectors, ${words * width * 4} bytes`);
  }
}
