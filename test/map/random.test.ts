// attention() and attentionBackward() through the kernels against the float64 reference, for random calls that combine
// every option, in both builds, and the same bits for any number of threads.
import { afterAll, describe, expect, test } from 'vitest';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { attentionBackwardReference } from '../../dist/attention/reference-backward.js';
import { validateAttention } from '../../dist/attention/validate.js';
import { attention, attentionBackward, createEngine } from '../../dist/index.js';
import type { HostTensor } from '../../dist/tensor/host.js';
import { randomCall, randomTensor, seeded } from '../attention/calls.js';
import { maxError } from '../attention/conformance.js';
import { plainAttention } from '../attention/plain.js';

const GRADIENTS = ['dq', 'dk', 'dv', 'dBias', 'dSinks'] as const;
/** Small sizes in plenty, and a few that straddle the kernels' tiles of 64. */
const sizes = [
  ...Array.from({ length: 60 }, (_, n) => ({ seed: n + 1, most: 12, widest: 12 })),
  ...Array.from({ length: 12 }, (_, n) => ({ seed: n + 101, most: 150, widest: 40 })),
];

describe.each(['strict', 'auto'] as const)('%s build, error ≤ twice plain float32 + 1e-6', async (simd) => {
  const engine = await createEngine({ threads: 2, simd });
  afterAll(() => engine.dispose());

  test.each(sizes)('call %o', async ({ seed, most, widest }) => {
    const random = seeded(seed);
    const { q, k, v, options } = randomCall(random, { most, widest });
    const problem = validateAttention(q, k, v, options);
    const dOutput = randomTensor(random, [...problem.output.shape]);
    const dLogSumExp = randomTensor(random, [...problem.statistics.shape]);
    const truth = attentionReference(problem);
    const upstream = {
      dOutput: new Float64Array(dOutput.data as Float32Array),
      dLogSumExp: new Float64Array(dLogSumExp.data as Float32Array),
    };
    const gradientTruth = attentionBackwardReference(problem, upstream);
    const plain = plainAttention(problem, upstream.dOutput, upstream.dLogSumExp);
    const close = (got: ArrayLike<number>, yard: ArrayLike<number>, exact: ArrayLike<number>, name: string) =>
      expect(maxError(got, exact), name).toBeLessThanOrEqual(2 * maxError(yard, exact) + 1e-6);
    const own = { ...options, engine };
    const { output, logSumExp, map } = await attention(q, k, v, own);
    expect(output.shape).toEqual([...q.shape.slice(0, -1), v.shape.at(-1)]);
    close(output.data as Float32Array, plain.output, truth.output, 'output');
    close(logSumExp.data, plain.logSumExp, truth.logSumExp, 'logSumExp');
    const gradients = await attentionBackward({
      q,
      k,
      v,
      options: own,
      output,
      logSumExp,
      dOutput,
      dLogSumExp,
    });
    for (const name of GRADIENTS) {
      const exact = gradientTruth[name];
      expect(gradients[name] === undefined, name).toBe(exact === undefined);
      if (exact) close(gradients[name]!.data as Float32Array, plain[name]!, exact, name);
    }
    const [b, h] = [problem.B - 1, problem.H - 1];
    const [rows, keys] = [problem.queryCounts[b], problem.packed ? problem.keyCounts[b] : problem.Lk];
    const tile = await map.tile({ batch: b, head: h });
    expect(tile.shape).toEqual([rows, keys]);
    const exact = weightsReference(problem, b, h, [0, rows], [0, keys]);
    expect(maxError(tile.data, exact), 'weights').toBeLessThanOrEqual(4e-6);
    map.dispose();
  });

  test('no tensor is left in the engine', () => {
    expect(engine.memory.tensors).toBe(0);
  });
});

test('the same bits for 1, 2 and 3 threads, forward and backward', async () => {
  const engines = await Promise.all([1, 2, 3].map((threads) => createEngine({ threads })));
  for (const seed of [101, 104, 107, 33]) {
    const { q, k, v, options } = randomCall(seeded(seed), { most: 200, widest: 30 });
    const problem = validateAttention(q, k, v, options);
    const dOutput = randomTensor(seeded(5), [...problem.output.shape]);
    const results = await Promise.all(
      engines.map(async (engine) => {
        const own = { ...options, engine };
        const { output, logSumExp } = await attention(q, k, v, own);
        const gradients = await attentionBackward({ q, k, v, options: own, output, logSumExp, dOutput });
        const tensors: (HostTensor | undefined)[] = [
          output,
          logSumExp,
          ...GRADIENTS.map((name) => gradients[name]),
        ];
        return tensors.map((tensor) => tensor?.data);
      }),
    );
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  }
  await Promise.all(engines.map((engine) => engine.dispose()));
});
