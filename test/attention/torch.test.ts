// The float64 reference against every scaled dot-product attention case of the torch reference, gradients included.
import { describe, expect, test } from 'vitest';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { attentionBackwardReference } from '../../dist/attention/reference-backward.js';
import { validateAttention } from '../../dist/attention/validate.js';
import { maxError, missing, numbers, torchCall, torchCases } from './conformance.js';

const GRADIENTS = { q: 'dq', k: 'dk', v: 'dv', bias: 'dBias', sink: 'dSinks' } as const;

describe.skipIf(missing)('torch float64 attention, error ≤ 1e-10', () => {
  test('there are at least 33 cases', () => expect(torchCases().length).toBeGreaterThanOrEqual(33));

  test.each(torchCases())('$name', ({ load }) => {
    const { tensors, ...rest } = load();
    const { q, k, v, options } = torchCall({ tensors, ...rest });
    const problem = validateAttention(q, k, v, options);
    const forward = attentionReference(problem);
    const close = (got: ArrayLike<number>, name: string) =>
      expect(maxError(got, numbers(tensors.get(name))), name).toBeLessThanOrEqual(1e-10);
    close(forward.output, 'out.out');
    close(forward.logSumExp, 'out.lse');
    expect(problem.output.shape).toEqual(tensors.get('out.out')!.shape);
    expect(problem.statistics.shape).toEqual(tensors.get('out.lse')!.shape);
    if (tensors.has('out.weights')) {
      const { B, H, Lq, Lk } = problem;
      const weights: number[] = [];
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < H; h++) weights.push(...weightsReference(problem, b, h, [0, Lq], [0, Lk]));
      }
      close(weights, 'out.weights');
    }
    const dOutput = numbers(tensors.get('in.dout'));
    const gradients = attentionBackwardReference(problem, { dOutput });
    for (const [name, own] of Object.entries(GRADIENTS)) {
      if (tensors.has(`grad.${name}`)) close(gradients[own]!, `grad.${name}`);
    }
    if (!tensors.has('in.dlse')) return;
    const only = attentionBackwardReference(problem, {
      dOutput: new Float64Array(dOutput.length),
      dLogSumExp: numbers(tensors.get('in.dlse')),
    });
    for (const [name, own] of Object.entries(GRADIENTS)) {
      if (tensors.has(`grad_lse.${name}`)) close(only[own]!, `grad_lse.${name}`);
    }
    expect(maxError(only.dv, new Float64Array(only.dv.length))).toBe(0);
  });
});
