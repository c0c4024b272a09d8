// Adam, norms and clipping against float64.
import { afterAll, describe, expect, test } from 'vitest';
import { adamStep, clipFactor, squaredNorm } from '../../dist/engine/ops/optimizer.js';
import { anyEngine, disposeEngines, EPS, everywhere, expectClose, normal } from './everywhere.js';

afterAll(disposeEngines);

describe('adamStep', () => {
  const SIZES = [0, 1, 3, 4, 6, 16383, 16385, 2 * 16384 + 7];
  const options = { rate: 1e-2, beta1: 0.9, beta2: 0.98, eps: 1e-9, weightDecay: 0.01 };

  test.each(SIZES)(
    'three steps of AdamW with scaled gradients, error ≤ 2e-6·rate + 2⁻²¹·|param|; %i elements',
    async (n) => {
      const start = normal(n, 1);
      const grads = [2, 3, 4].map((seed) => normal(n, seed));
      const results = await everywhere((engine) => {
        const [param, m, v] = [engine.tensor(start, [n]), engine.zeros([n]), engine.zeros([n])];
        const gradScale = engine.tensor(Float32Array.of(0.25), [1]);
        grads.forEach((grad, k) => {
          adamStep(param, engine.tensor(grad, [n]), m, v, { ...options, step: k + 1, gradScale });
        });
        return [param, m, v];
      });
      const [param, m, v] = [Array.from(start), new Array(n).fill(0), new Array(n).fill(0)];
      grads.forEach((grad, k) => {
        for (let i = 0; i < n; i++) {
          const g = 0.25 * grad[i]!;
          m[i] = 0.9 * m[i] + 0.1 * g;
          v[i] = 0.98 * v[i] + 0.02 * g * g;
          param[i]! *= 1 - 1e-2 * 0.01;
          param[i]! -=
            (1e-2 * (m[i] / (1 - 0.9 ** (k + 1)))) / (Math.sqrt(v[i] / (1 - 0.98 ** (k + 1))) + 1e-9);
        }
      });
      for (const [gotParam, gotM, gotV] of results) {
        expectClose(gotM!, m, () => 4 * EPS, 'm');
        expectClose(gotV!, v, (i) => 8 * EPS * v[i], 'v');
        expectClose(gotParam!, param, (i) => 2e-6 * 1e-2 + 8 * EPS * Math.abs(param[i]!), 'param');
      }
    },
  );

  test('clearGrad sets the gradient to 0, otherwise it stays; without gradScale it counts whole', async () => {
    for (const n of [5, 16384 + 6]) {
      const grad = normal(n, 5);
      const results = await everywhere((engine) => {
        const tensors = [0, 1].map(() => [
          engine.zeros([n]),
          engine.tensor(grad, [n]),
          engine.zeros([n]),
          engine.zeros([n]),
        ]);
        const [keep, clear] = tensors as [(typeof tensors)[0], (typeof tensors)[0]];
        adamStep(keep[0]!, keep[1]!, keep[2]!, keep[3]!, { ...options, step: 1 });
        adamStep(clear[0]!, clear[1]!, clear[2]!, clear[3]!, { ...options, step: 1, clearGrad: true });
        return [keep[1]!, clear[1]!, keep[2]!, clear[2]!];
      });
      for (const [kept, cleared, m, same] of results) {
        expectClose(kept!, grad, () => 0);
        expectClose(cleared!, new Float32Array(n), () => 0);
        expectClose(
          m!,
          Array.from(grad, (g) => 0.1 * g),
          (i) => 2 * EPS * Math.abs(grad[i]!),
        );
        expectClose(same!, m!, () => 0);
      }
    }
  });
});

describe('clipping', () => {
  test.each([0, 1, 3, 65535, 65537, 2 * 65536 + 5])(
    'squaredNorm adds Σx² to out, correctly rounded up to 1e-12 relative; %i elements',
    async (n) => {
      const x = normal(n, 6);
      const want = x.reduce((sum, v) => sum + v * v, 3);
      const results = await everywhere((engine) => {
        const out = engine.tensor(Float32Array.of(3), [1]);
        squaredNorm(engine.tensor(x, [n]), out);
        return [out];
      });
      for (const [out] of results) expectClose(out!, [want], () => (EPS + 1e-12) * want);
    },
  );

  test.each([
    [16, 1, 1, 0.25],
    [16, 1, 0.5, 0.25],
    [16, 5, 1, 1],
    [16, 5, 2, 1.25],
    [0, 1, 0.5, 0.5],
    [Infinity, 1, 1, 0],
    [NaN, 1, 1, NaN],
  ])(
    'squared %d, limit %d, multiply %d: factor %d within 2 roundings',
    async (squared, limit, multiply, factor) => {
      const results = await everywhere((e) => [
        clipFactor(e.tensor(Float32Array.of(squared), [1]), limit, multiply),
      ]);
      for (const [got] of results) expectClose(got!, [factor], () => 2 * EPS * factor);
    },
  );

  test('refusals', async () => {
    const engine = await anyEngine();
    const [a, b] = [engine.zeros([4]), engine.zeros([5])];
    const options = { rate: 1, beta1: 0.9, beta2: 0.9, eps: 1e-8, weightDecay: 0, step: 1 };
    expect(() => adamStep(a, b, a, a, options)).toThrow(/adamStep: grad has shape \[5\], param \[4\]/);
    expect(() => squaredNorm(a, b)).toThrow(/squaredNorm: out has shape \[5\], expected \[1\]/);
    for (const t of [a, b]) t.dispose();
  });
});
