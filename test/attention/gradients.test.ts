// The reference's gradients against central differences, for random calls of every option.
import { describe, expect, test } from 'vitest';
import { attentionReference } from '../../dist/attention/reference.js';
import { attentionBackwardReference } from '../../dist/attention/reference-backward.js';
import { validateAttention } from '../../dist/attention/validate.js';
import type { HostTensor } from '../../dist/tensor/host.js';
import { randomCall, randomTensor, seeded } from './calls.js';

/** Σ output·dO + Σ logSumExp·dL, over finite logSumExp. */
function loss(problem: ReturnType<typeof validateAttention>, dO: Float64Array, dL: Float64Array): number {
  const { output, logSumExp } = attentionReference(problem);
  let sum = 0;
  for (let n = 0; n < output.length; n++) sum += output[n] * dO[n];
  for (let n = 0; n < dL.length; n++) if (Number.isFinite(logSumExp[n])) sum += logSumExp[n] * dL[n];
  return sum;
}

const step = 1e-5;

describe('gradients equal central differences of step 1e-5 within 2e-8', () => {
  test.each(Array.from({ length: 150 }, (_, seed) => [seed]))('random call %i', (seed) => {
    const random = seeded(seed + 1000);
    const { q, k, v, options } = randomCall(random, { dtype: 'float64', most: 6, widest: 4 });
    const problem = validateAttention(q, k, v, options);
    const dO = randomTensor(random, [...problem.output.shape], 'float64').data as Float64Array;
    const dL = randomTensor(random, [...problem.statistics.shape], 'float64').data as Float64Array;
    const gradients = attentionBackwardReference(problem, { dOutput: dO, dLogSumExp: dL });
    const inputs: [string, HostTensor | undefined, Float64Array | undefined][] = [
      ['q', q, gradients.dq],
      ['k', k, gradients.dk],
      ['v', v, gradients.dv],
      ['bias', options.bias as HostTensor | undefined, gradients.dBias],
      ['sinks', options.sinks as HostTensor | undefined, gradients.dSinks],
    ];
    for (const [name, tensor, gradient] of inputs) {
      expect(gradient === undefined, name).toBe(tensor === undefined);
      const data = tensor?.data as Float64Array | undefined;
      for (let t = 0; data && data.length > 0 && t < 6; t++) {
        const n = Math.floor(random() * data.length);
        const x = data[n];
        if (!Number.isFinite(x)) {
          expect(gradient![n]).toBe(0);
          continue;
        }
        data[n] = x + step;
        const above = loss(problem, dO, dL);
        data[n] = x - step;
        const below = loss(problem, dO, dL);
        data[n] = x;
        expect(Math.abs((above - below) / (2 * step) - gradient![n]), `${name}[${n}]`).toBeLessThan(2e-8);
      }
    }
  });
});
