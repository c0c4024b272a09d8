// The room of tasks: translation, evaluation, metrics.
export { type BeamOptions, beamSearch, type Hypothesis, type Steps } from './beam.js';
export { type BleuScore, bleu, tokenize13a } from './bleu.js';
export { type ChrfOptions, type ChrfScore, chrf } from './chrf.js';
export { type EvaluateOptions, type Evaluation, evaluate } from './evaluate.js';
export { type ParallelLine, parseParallelText } from './parallel-text.js';
export {
  loadTranslator,
  type StreamOptions,
  type TranslateOptions,
  type Translation,
  Translator,
} from './translate.js';
