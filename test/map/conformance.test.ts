// attention() and attentionBackward(), through the kernels, against every case that other software computed.
import { afterAll, describe, expect, test } from 'vitest';
import { validateAttention } from '../../dist/attention/validate.js';
import { attention, attentionBackward, createEngine } from '../../dist/index.js';
import { fromFloats, toFloat64 } from '../../dist/tensor/host.js';
import {
  maxError,
  missing,
  numbers,
  onnxCall,
  onnxCases,
  torchCall,
  torchCases,
} from '../attention/conformance.js';
import { plainAttention } from '../attention/plain.js';

const GRADIENTS = { q: 'dq', k: 'dk', v: 'dv', bias: 'dBias', sink: 'dSinks' } as const;
const builds = ['strict', 'auto'] as const;

describe.skipIf(missing).each(builds)('%s build', async (simd) => {
  const engine = await createEngine({ threads: 2, simd });
  afterAll(() => engine.dispose());

  describe('ONNX Attention, error ≤ 1e-5 (float16 1e-3)', () => {
    test.each(onnxCases())('$name', async ({ load }) => {
      const one = load();
      const { q, k, v, options, expected, tolerance } = onnxCall(one);
      const { output, map, backend } = await attention(q, k, v, { ...options, engine });
      expect(backend).toBe(engine.backend);
      expect(output.dtype).toBe(q.dtype);
      expect(maxError(toFloat64(output), expected)).toBeLessThanOrEqual(tolerance);
      if (one.attributes.qk_matmul_output_mode === 3) {
        const weights = await map.toTensor();
        const scores = numbers(one.tensors.get('out.qk_matmul_output'));
        expect(maxError(weights.data, scores)).toBeLessThanOrEqual(tolerance);
      }
      map.dispose();
    });
  });

  describe('torch float64 attention, error ≤ twice plain float32 + 1e-6', () => {
    test.each(torchCases())('$name', async ({ load }) => {
      const { tensors, ...rest } = load();
      const { q, k, v, options } = torchCall({ tensors, ...rest });
      const own = { ...options, engine };
      const dOutput = tensors.get('in.dout')!;
      const dLogSumExp = tensors.get('in.dlse');
      const plain = plainAttention(validateAttention(q, k, v, options), numbers(dOutput));
      const close = (got: ArrayLike<number>, yardstick: ArrayLike<number>, name: string) => {
        const truth = numbers(tensors.get(name));
        expect(maxError(got, truth), name).toBeLessThanOrEqual(2 * maxError(yardstick, truth) + 1e-6);
      };
      const { output, logSumExp, map } = await attention(q, k, v, own);
      expect(output.dtype).toBe('float64');
      close(output.data as Float64Array, plain.output, 'out.out');
      close(logSumExp.data, plain.logSumExp, 'out.lse');
      if (tensors.has('out.weights')) {
        const weights = await map.toTensor();
        expect(maxError(weights.data, numbers(tensors.get('out.weights')))).toBeLessThanOrEqual(4e-6);
      }
      map.dispose();
      const gradients = await attentionBackward({ q, k, v, options: own, output, logSumExp, dOutput });
      for (const [name, mine] of Object.entries(GRADIENTS)) {
        if (!tensors.has(`grad.${name}`)) continue;
        expect(gradients[mine]!.shape).toEqual(tensors.get(`grad.${name}`)!.shape);
        close(gradients[mine]!.data as Float64Array, plain[mine]!, `grad.${name}`);
      }
      if (dLogSumExp === undefined) return;
      const zero = new Float64Array(dOutput.data.length);
      const plainOnly = plainAttention(validateAttention(q, k, v, options), zero, numbers(dLogSumExp));
      const none = { data: zero, shape: dOutput.shape };
      // A copied logSumExp brings no statistics along.
      const copied = {
        shape: logSumExp.shape,
        data: fromFloats('float32', new Float64Array(logSumExp.data)),
      };
      const inputs = { q, k, v, options: own, output, logSumExp: copied, dOutput: none, dLogSumExp };
      const only = await attentionBackward(inputs);
      for (const [name, mine] of Object.entries(GRADIENTS)) {
        if (tensors.has(`grad_lse.${name}`)) {
          close(only[mine]!.data as Float64Array, plainOnly[mine]!, `grad_lse.${name}`);
        }
      }
    });
  });
});
