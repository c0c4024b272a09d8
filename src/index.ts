// The public face of fovea's core: attention, its map, engines, errors.
export type { AttentionPart, MergedAttention, MergeOptions } from './attention/merge.js';
export type { AttentionOptions, CausalOption, DropoutOption } from './attention/options.js';
export { type Configuration, configure, createEngine, defaultEngine } from './engine/engine.js';
export type { Engine, EngineOptions, Tensor } from './engine/types.js';
export {
  type AttentionCallOptions,
  type AttentionFloat,
  type AttentionOutput,
  attention,
} from './map/attention.js';
export {
  AttentionMap,
  type ReadingPlace,
  type RowPlace,
  type TilePlace,
  type TopKeys,
} from './map/attention-map.js';
export {
  type AttentionBackwardInputs,
  type AttentionGradients,
  attentionBackward,
  mergeAttention,
} from './map/backward.js';
export {
  type CachedAttention,
  type CachedAttentionOptions,
  createKeyValueCache,
  type KeyValueCache,
  type KeyValueCacheOptions,
} from './map/key-value-cache.js';
export { type AttentionMapOptions, attentionMap } from './map/map-of.js';
export type { PooledWeights, PoolPlace } from './map/pooling.js';
export type { Watch } from './map/progress.js';
export type { ByteSource, RandomAccess } from './map/random-access.js';
export type { RefinePlace } from './map/refine.js';
export {
  createTrace,
  openTrace,
  saveTrace,
  type TokenText,
  Trace,
  TraceEntry,
  type TraceInput,
  type TraceOptions,
  type TraceValues,
} from './map/trace.js';
export type { DType, TypedArrayOf } from './tensor/dtype.js';
export * from './tensor/errors.js';
export type { HostTensor, TensorLike } from './tensor/host.js';
export { parseSafetensors, type SafetensorsFile, serializeSafetensors } from './tensor/safetensors.js';
