// onnxruntime-web: ONNX Runtime in WebAssembly. One number of threads per process.
import * as ort from 'onnxruntime-web';
import { openRuntime } from './onnxruntime.mjs';

export const name = 'onnxruntime-web';

export async function open({ threads }) {
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  return openRuntime(ort, { executionProviders: ['wasm'] });
}
