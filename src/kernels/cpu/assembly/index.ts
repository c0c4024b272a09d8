// Entry of the WebAssembly build: re-exports every kernel. No managed objects, no static data.

export { attentionForward, attentionWeights } from './attention';
export { attentionBackward } from './attention-backward';
export { attentionBias } from './attention-bias';
export { attentionDecode } from './attention-decode';
export { attentionDelta, attentionGather, attentionSinks } from './attention-gradients';
export {
  attentionCells,
  attentionDiagonal,
  attentionMoments,
  attentionPool,
  attentionStatistics,
} from './attention-readings';
export { cacheRows } from './cache';
export { dropout, reluDropout } from './dropout';
export {
  add,
  addInto,
  copy2d,
  fill,
  gelu,
  geluBackward,
  geluTanh,
  geluTanhBackward,
  lerpInto,
  relu,
  reluBackward,
  reluDropoutBackward,
  scale,
} from './elementwise';
export { embedding, embeddingBackward } from './embedding';
export { gemm, gemmPeak } from './gemm';
export { gemmDot } from './gemm-dot';
export { gemmPack } from './gemm-pack';
export { gemmSplit, gemmSum } from './gemm-split';
export { crossEntropy, logSoftmax, logSoftmaxBackward } from './loss';
export { maskCombine } from './mask';
export { columnReduce, columnSum, layerNorm, layerNormBackward } from './norm';
export { adamStep, clipFactor, finishSum, squareParts, sumParts } from './optimizer';
export { init } from './runtime';
