// The room of text: tokenizers, their training, words.
export { type BpeOptions, trainBpe } from './bpe.js';
export { cleanSentence } from './clean.js';
export {
  END,
  PAD,
  SPLIT_PATTERNS,
  type SplitPattern,
  START,
  type TokenizerFile,
  UNKNOWN,
} from './layout.js';
export { type RunningText, splitSentences } from './sentences.js';
export { type Encoding, loadTokenizer, type Tokenizer } from './tokenizer.js';
export { aggregateByWord, type Span, splitWords, type WordMatrix, wordsOfTokens } from './words.js';
