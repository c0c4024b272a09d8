// onnxruntime-node: ONNX Runtime native, with the machine's widest vectors.
import * as ort from 'onnxruntime-node';
import { openRuntime } from './onnxruntime.mjs';

export const name = 'onnxruntime-node';

export async function open({ threads }) {
  return openRuntime(ort, { intraOpNumThreads: threads, executionMode: 'sequential', logSeverityLevel: 3 });
}
