// The float64 reference against every case of ONNX's Attention node.
import { describe, expect, test } from 'vitest';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { validateAttention } from '../../dist/attention/validate.js';
import { maxError, missing, numbers, onnxCall, onnxCases, onnxScores } from './conformance.js';

describe.skipIf(missing)('ONNX Attention, error ≤ 1e-5 (float16 1e-3)', () => {
  test('there are at least 76 cases', () => expect(onnxCases().length).toBeGreaterThanOrEqual(76));

  test.each(onnxCases())('$name', ({ load }) => {
    const one = load();
    const call = onnxCall(one);
    const problem = validateAttention(call.q, call.k, call.v, call.options);
    const { output } = attentionReference(problem);
    expect(maxError(output, call.expected)).toBeLessThanOrEqual(call.tolerance);
    for (const [name, present] of [
      ['out.present_key', call.k],
      ['out.present_value', call.v],
    ] as const) {
      const expected = one.tensors.get(name);
      if (expected) expect(maxError(numbers(present), numbers(expected))).toBe(0);
    }
    const scores = one.tensors.get('out.qk_matmul_output');
    if (scores === undefined) return;
    const mode = (one.attributes.qk_matmul_output_mode as number | undefined) ?? 0;
    const { B, H, Lq, Lk } = problem;
    const weights: number[] = [];
    for (let b = 0; b < B; b++) {
      for (let h = 0; h < H; h++) weights.push(...weightsReference(problem, b, h, [0, Lq], [0, Lk]));
    }
    const allowed = ([b, h, i, j]: number[]) => weights[((b * H + h) * Lq + i) * Lk + j] > 0;
    const got = mode === 3 ? weights : onnxScores(call, mode, allowed);
    expect(maxError(got, numbers(scores))).toBeLessThanOrEqual(call.tolerance);
  });
});
