// The room of tasks: translation, evaluation, metrics.
export type { ModelConfig } from '../models/config.js';
export type { FileReader, LoadedModel } from '../models/files.js';
export type { CrossAttention, Seq2Seq } from '../models/seq2seq.js';
export {
  type BpeOptions,
  cleanSentence,
  type Encoding,
  loadTokenizer,
  type Tokenizer,
  type TokenizerFile,
  trainBpe,
} from '../text/index.js';
export { type BeamOptions, beamSearch, type Hypothesis, type Steps } from './beam.js';
export { type BleuScore, bleu, tokenize13a } from './bleu.js';
export { type ChrfOptions, type ChrfScore, chrf } from './chrf.js';
export { type EvaluateOptions, type Evaluation, evaluate } from './evaluate.js';
export { type ParallelLine, parseParallelText } from './parallel-text.js';
export { traceText } from './text-trace.js';
export {
  loadTranslator,
  type StreamOptions,
  type TranslateOptions,
  type Translation,
  Translator,
} from './translate.js';
