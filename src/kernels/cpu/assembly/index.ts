// Entry of the WebAssembly build: re-exports every kernel. No managed objects, no static data.

export { attentionForward, attentionWeights } from './attention';
export { attentionBackward, attentionDelta, attentionSinks } from './attention-backward';
export { gemm, gemmPeak } from './gemm';
export { gemmDot } from './gemm-dot';
export { gemmPack } from './gemm-pack';
export { gemmSplit, gemmSum } from './gemm-split';
export { init } from './runtime';
