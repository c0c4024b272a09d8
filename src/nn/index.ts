// Layers of the library: parameters carry the names of torch's state_dict, so that its files load as they are.
export { type DropoutKey, DropoutStream } from '../autograd/dropout-stream.js';
export type { Activation, AttentionRecord, CrossEntropy, CrossEntropyOptions } from '../autograd/ops.js';
export * as ops from '../autograd/ops.js';
export { Parameter, ParameterRows, type Weight } from '../autograd/parameter.js';
export { Tape, type TapeOptions } from '../autograd/tape.js';
export type { AttentionLimits, Causal } from './attention-inputs.js';
export { Decoder, type DecoderForwardOptions, DecoderLayer } from './decoder.js';
export { type DecodingOptions, DecodingState } from './decoding.js';
export {
  Embedding,
  LearnedPositions,
  type Positions,
  SinusoidalPositions,
  sinusoidalPositions,
} from './embedding.js';
export { Encoder, type EncoderForwardOptions, EncoderLayer, type StackOptions } from './encoder.js';
export type { AttentionObserver, TransformerLayerOptions } from './feed-forward.js';
export { normal, resetTransformer, uniform, xavierNormal, xavierUniform } from './init.js';
export { type Init, LayerNorm, Linear } from './linear.js';
export { Module, type ParameterData } from './module.js';
export {
  type AttentionForwardOptions,
  type AttentionResult,
  MultiHeadAttention,
  type MultiHeadAttentionOptions,
} from './multi-head-attention.js';
export { type PackedSequences, packedPositions, packSequences } from './packed.js';
export { Random } from './random.js';
