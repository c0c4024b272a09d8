// The tokenizer layout this library writes: NFC, a space before the text, words split by one of two patterns,
// byte-pair merges inside words, bytes for characters outside the alphabet. In the tokenizer.json of Hugging Face.

/** Special tokens, at the head of every vocabulary: their ids are 0, 1, 2, 3. */
export const SPECIAL_TOKENS = ['<pad>', '<s>', '</s>', '<unk>'] as const;
export const PAD = 0;
export const START = 1;
export const END = 2;
export const UNKNOWN = 3;

/** Name of the token of one byte, as SentencePiece and Llama write it. */
export const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;

const letters = '[\\p{L}\\p{M}]+';
/** English contractions stay with their apostrophe (don + 't), unless more letters follow. */
export const CONTRACTION = "['\u2019](?:s|t|re|ve|m|ll|d)(?![\\p{L}\\p{M}])";

/**
 * Where merges may not cross. `words`: elisions (l' + homme), words, contractions, digits one by one, punctuation,
 * spaces. `gpt2`: as in Radford et al. (2019), where an elision's apostrophe stands alone (l + ' + homme).
 */
export const PATTERNS = {
  words: [
    ` ?${letters}(?!${CONTRACTION})['\u2019](?=\\p{L})`,
    ` ?${letters}`,
    CONTRACTION,
    ' ?\\p{N}',
    ' ?[^\\s\\p{L}\\p{M}\\p{N}]+',
    '\\s',
  ].join('|'),
  gpt2: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
} as const;
/** A name of `PATTERNS`. */
export type SplitPattern = keyof typeof PATTERNS;
export const SPLIT_PATTERNS = Object.keys(PATTERNS) as SplitPattern[];

/** Everything of a tokenizer.json but its vocabulary and merges. */
export const layoutOf = (pattern: SplitPattern) =>
  ({
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Prepend', prepend: ' ' }] },
    pre_tokenizer: {
      type: 'Split',
      pattern: { Regex: PATTERNS[pattern] },
      behavior: 'Isolated',
      invert: false,
    },
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
  }) as const;
type Layout = ReturnType<typeof layoutOf>;

/** A tokenizer.json as written here. */
export interface TokenizerFile {
  version: '1.0';
  truncation: null;
  padding: null;
  added_tokens: { id: number; content: string; special: boolean }[];
  normalizer: Layout['normalizer'];
  pre_tokenizer: Layout['pre_tokenizer'];
  post_processor: null;
  decoder: Layout['decoder'];
  model: {
    type: 'BPE';
    dropout: null;
    unk_token: string;
    continuing_subword_prefix: null;
    end_of_word_suffix: null;
    fuse_unk: boolean;
    byte_fallback: true;
    ignore_merges: false;
    vocab: Record<string, number>;
    merges: [string, string][];
  };
}

/** What splits a text (NFC, with its leading space) into the pieces merges stay inside of; they join to the text. */
export function pieceSplitter(pattern: SplitPattern): (prepared: string) => string[] {
  const splitter = new RegExp(PATTERNS[pattern], 'gu');
  return (prepared) => prepared.match(splitter) ?? [];
}

/** A text as the splitter takes it. */
export const prepare = (text: string): string => ` ${text.normalize('NFC')}`;
