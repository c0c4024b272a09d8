// Properties of attention's numbers: large scores, NaN and infinities where they may and may not be seen, empty rows,
// order of keys, and what does not depend on how the work is cut.
import assert from 'node:assert/strict';
import type { AttentionOptions } from '../../../dist/attention/options.js';
import { type Case, generator, makeCase, normals, type Results, runKernels } from '../attention-cases.js';
import { assertSame, assertTrue, caseStep, cleanAndPoisoned, known, once, type Step } from './lab.js';

const numbersOf = (x: { tensor: { data: ArrayLike<number> } }) => x.tensor.data as Float32Array;
const BAD = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

/** A case of [1,H,L,D] with changed operands. */
function changed(
  [H, Lq, Lk, D, Dv]: number[],
  options: AttentionOptions,
  seed: number,
  change: (one: Case) => void,
): Case {
  const shapes = { q: [1, H, Lq, D], k: [1, H, Lk, D], v: [1, H, Lk, Dv] };
  const one = makeCase(shapes, options, generator(seed));
  change(one);
  return one;
}

/** Operands of NaN: whatever a kernel keeps between calls is NaN afterwards. */
const spoiled = once(() =>
  changed(
    [1, 70, 70, 70, 70],
    { softcap: 1, dropout: { rate: 0.5, seed: 1 } },
    1,
    ({ problem: { q, k, v } }) => {
      for (const x of [q, k, v]) numbersOf(x).fill(Number.NaN);
    },
  ),
);

export const spoilStep: Step = {
  name: 'NaN everywhere',
  run: async ({ engine }) => {
    const { output, logSumExp, dq, dk } = await runKernels(engine, spoiled());
    for (const x of [output, logSumExp, dq, dk]) assert.ok(x.every(Number.isNaN));
  },
};

export const largeSteps: Step[] = [
  ...[512, -512].map((scale) =>
    caseStep(
      `scores of about ±10000, scale ${scale}`,
      () => makeCase({ q: [1, 1, 20, 64], k: [1, 1, 90, 64], v: [1, 1, 90, 64] }, { scale }, generator(4)),
      1e-2,
    ),
  ),
  caseStep('q·k beyond float32, scale·q·k within', () =>
    changed([1, 9, 70, 8, 8], { scale: 1e-38 }, 21, ({ problem: { q, k } }) => {
      for (const x of [q, k].map(numbersOf)) for (let n = 0; n < x.length; n++) x[n] *= 2e19;
    }),
  ),
  caseStep(
    'q near the end of float32, a scale above 1',
    () =>
      changed([1, 9, 70, 8, 8], { scale: 4 }, 24, ({ problem: { q, k } }) => {
        for (const [x, factor] of [
          [q, 2 ** 125],
          [k, 2 ** -125],
        ] as const)
          for (let n = 0; n < numbersOf(x).length; n++) numbersOf(x)[n] *= factor;
      }),
    1e-5,
  ),
  ...[2, -2].map((scale) =>
    caseStep(
      `more keys than are summed in float64, forbidden ones among them, scale ${scale}`,
      () => changed([1, 9, 270, 4, 8], { scale, causal: 'lower-right' }, 26, () => {}),
      1e-5,
    ),
  ),
  caseStep('a scale that is subnormal', () => changed([1, 9, 70, 8, 8], { scale: 1e-40 }, 22, () => {})),
  caseStep('bias at the ends of float32', () => {
    const ends = [-3.3e38, 3.3e38, 1, Number.NEGATIVE_INFINITY];
    const data = Float32Array.from({ length: 12 * 70 }, (_, n) => ends[(n >> (n % 3)) & 3]);
    data.fill(ends[0], 0, 70);
    data.fill(ends[3], 70, 140);
    return changed([1, 12, 70, 8, 8], { bias: { data, shape: [12, 70] } }, 23, () => {});
  }),
  caseStep('few heads of long sequences, split by chunks and tiles', () =>
    makeCase(
      { q: [1, 2, 150, 16], k: [1, 1, 140, 16], v: [1, 1, 140, 8] },
      { causal: 'lower-right', dropout: { rate: 0.1, seed: 7 } },
      generator(5),
    ),
  ),
];

/** Rows, keys and cells that nothing may look at, clean or poisoned. */
function forbiddenCase(poison: boolean, Lq: number, Lk: number, mode: 'bias' | 'mask'): Case {
  const random = generator(8);
  const bias = { data: new Float32Array(Lq * Lk).fill(0.5), shape: [Lq, Lk] };
  const mask = { data: new Uint8Array(Lk).fill(1), shape: [Lk], dtype: 'bool' as const };
  mask.data.fill(0, 30, 37);
  const options = {
    causal: { offset: -3 },
    keyLengths: Int32Array.of(Lk - 4, Lk - 30),
    sinks: { data: Float32Array.of(0.3), shape: [1] },
    ...(mode === 'bias' ? { bias } : { mask, dropout: { rate: 0.3, seed: 5 } }),
  };
  const one = makeCase({ q: [2, 1, Lq, 9], k: [2, 1, Lk, 9], v: [2, 1, Lk, 11] }, options, random);
  if (!poison) return one;
  const [q, k, v] = [one.problem.q, one.problem.k, one.problem.v].map(numbersOf);
  const spoilKey = (b: number, j: number) => {
    k.fill(BAD[j % 3], (b * Lk + j) * 9, (b * Lk + j + 1) * 9);
    v.fill(BAD[j % 3], (b * Lk + j) * 11, (b * Lk + j + 1) * 11);
  };
  for (const b of [0, 1]) {
    for (let j = Lk - [4, 30][b]; j < Lk; j++) spoilKey(b, j);
    if (mode === 'mask') for (let j = 30; j < 37; j++) spoilKey(b, j);
    // Rows 0 to 2 lie before every key.
    q.fill(Number.NaN, b * Lq * 9, (b * Lq + 3) * 9);
    one.dOutput.fill(Number.NaN, b * Lq * 11, (b * Lq + 3) * 11);
  }
  if (mode === 'bias')
    for (let i = 0; i < Lq; i++)
      for (let j = Math.max(0, i - 2); j < Lk; j++) bias.data[i * Lk + j] = BAD[j % 2];
  return one;
}

/** A bias of −∞ alone forbids: whole keys, a whole row, and all but the last key of another row. */
function infiniteBias(poison: boolean, Lq: number, Lk: number): Case {
  const bias = { data: normals(Lq * Lk, generator(16)), shape: [Lq, Lk] };
  for (let i = 0; i < Lq; i++)
    for (let j = 0; j < Lk; j++)
      if (j % 7 === 3 || i === 4 || (i === 9 && j < Lk - 1)) bias.data[i * Lk + j] = Number.NEGATIVE_INFINITY;
  return changed([1, Lq, Lk, 8, 12], { bias }, 17, ({ problem, dOutput }) => {
    if (!poison) return;
    for (let j = 3; j < Lk; j += 7) {
      numbersOf(problem.k).fill(BAD[j % 3], j * 8, j * 8 + 8);
      numbersOf(problem.v).fill(BAD[j % 3], j * 12, j * 12 + 12);
    }
    numbersOf(problem.q).fill(Number.NaN, 4 * 8, 5 * 8);
    dOutput.fill(Number.NaN, 4 * 12, 5 * 12);
  });
}

const forbiddenSteps: Step[] = [
  [75, 70],
  [75, 140],
].flatMap(([Lq, Lk]) =>
  (['bias', 'mask'] as const).map((mode) => ({
    name: `NaN and ∞ in what is forbidden leave no trace: ${mode}, ${Lq}×${Lk}`,
    ...cleanAndPoisoned((poison) => forbiddenCase(poison, Lq, Lk, mode)),
  })),
);

const biasSteps: Step[] = [
  // All keys of a block of rows at once, in one register tile and in more.
  [13, 5],
  [13, 20],
  [70, 31],
  [13, 61],
  [13, 131],
].map(([Lq, Lk]) => ({
  name: `NaN and ∞ where the bias alone forbids leave no trace, ${Lq}×${Lk}`,
  ...cleanAndPoisoned((poison) => infiniteBias(poison, Lq, Lk), `infinite bias ${Lq} ${Lk}`),
}));

/** Many keys, and few, which are weighed before they meet the values. */
const reachingSteps: Step[] = [
  [75, 42],
  [27, 11],
].map(([N, at]) => ({
  name: `a NaN row of v reaches the rows that may attend to it, and no other: ${at} of ${N}`,
  run: async ({ engine }) => {
    const one = changed([1, N, N, 8, 16], { causal: true }, 9, ({ problem }) => {
      numbersOf(problem.v).fill(Number.NaN, at * 16, (at + 1) * 16);
    });
    const { output, dq, dk, dv } = await runKernels(engine, one);
    for (let i = 0; i < N; i++) {
      assert.equal(Number.isNaN(output[i * 16]), i >= at, `output row ${i}`);
      assert.equal(Number.isNaN(dq[i * 8]), i >= at, `dq row ${i}`);
    }
    assert.ok(dk.every(Number.isNaN));
    assert.ok(!dv.some(Number.isNaN));
  },
}));

/** Few keys, masked ones among them: what a masked key holds leaves no trace, in whatever row or column it is. */
const fewSteps: Step[] = [3, 8, 12, 17, 32].map((Lk) => ({
  name: `NaN and ∞ in masked keys leave no trace, ${Lk} keys`,
  ...cleanAndPoisoned((poison) => {
    const random = generator(Lk);
    const data = Uint8Array.from({ length: Lk }, (_, j) => +(j % 3 !== 1));
    const mask = { data, shape: [Lk], dtype: 'bool' as const };
    return changed([2, 21, Lk, 8, 12], { mask }, Lk, ({ problem }) => {
      if (!poison) return;
      for (let row = 0; row < 2 * Lk; row++) {
        if (data[row % Lk] === 1) continue;
        const bad = BAD[Math.floor(random() * 3)];
        numbersOf(problem.k).fill(bad, row * 8, row * 8 + 8);
        numbersOf(problem.v).fill(bad, row * 12, row * 12 + 12);
      }
    });
  }, `masked ${Lk}`),
}));

/** Heads side by side, so that a row of v is longer than its width, which is a block's or one more. */
const besideSteps: Step[] = [8, 9].map((Dv) => ({
  name: `NaN and ∞ in masked keys leave no trace, heads in rows of width ${Dv}`,
  ...cleanAndPoisoned((poison) => {
    const data = Uint8Array.from({ length: 70 }, (_, j) => +(j % 5 !== 2));
    const mask = { data, shape: [70], dtype: 'bool' as const };
    const shapes = { q: [1, 12, 2, 8], k: [1, 70, 2, 8], v: [1, 70, 2, Dv] };
    const one = makeCase(shapes, { mask, layout: 'blhd' }, generator(Dv));
    for (let j = 2; poison && j < 70; j += 5) {
      numbersOf(one.problem.k).fill(BAD[j % 3], j * 16, j * 16 + 16);
      // In one column of one key's one head alone: every place of the rows is looked at.
      numbersOf(one.problem.v)[j * 2 * Dv + (j % (2 * Dv))] = BAD[j % 3];
    }
    return one;
  }, `masked beside ${Dv}`),
}));

/** Non-finite exactly where the reference is. */
function finiteStep(name: string, build: () => Case, names: string[]): Step {
  const made = once(build);
  return {
    name,
    run: async ({ engine }) => {
      const got = await runKernels(engine, made());
      const { truth } = known(name, made());
      for (const result of names) {
        const [a, b] = [got, truth].map((x) => Array.from(x[result], Number.isFinite));
        assert.deepEqual(a, b, result);
      }
    },
  };
}

const allowedSteps: Step[] = [
  ...[0, 1].map((at) =>
    finiteStep(
      `an infinite key makes rows non-finite exactly where the reference does (${at})`,
      () =>
        changed([1, 20, 20, 8, 8], { causal: true }, 10 + at, ({ problem }) => {
          numbersOf(problem.k)[7 * 8 + at] = Number.POSITIVE_INFINITY;
        }),
      ['output', 'logSumExp', 'dq'],
    ),
  ),
  finiteStep(
    'infinite values and gradients',
    () =>
      changed([1, 70, 70, 8, 12], { causal: true, window: [9, -1] }, 12, ({ problem, dOutput }) => {
        numbersOf(problem.v)[33 * 12 + 5] = Number.POSITIVE_INFINITY;
        dOutput[50 * 12 + 3] = Number.NEGATIVE_INFINITY;
      }),
    ['output', 'logSumExp', 'dq', 'dk', 'dv'],
  ),
  finiteStep(
    'a NaN score, and scores of −∞ alone',
    () =>
      changed([1, 12, 20, 4, 4], {}, 13, ({ problem: { q, k } }) => {
        numbersOf(q).fill(0, 0, 4);
        numbersOf(q)[0] = -1;
        for (let j = 0; j < 20; j++) numbersOf(k)[j * 4] = 1;
        numbersOf(q)[5 * 4 + 1] = Number.NaN;
        numbersOf(q)[6 * 4] = Number.NEGATIVE_INFINITY;
      }),
    ['output', 'logSumExp'],
  ),
];

const emptySteps: Step[] = [undefined, { data: Float32Array.of(-1.5), shape: [1] }].map((sinks) => ({
  name: `empty rows ${sinks ? 'with' : 'without'} a sink`,
  run: async ({ engine }) => {
    const options = { keyLengths: Int32Array.of(0), ...(sinks && { sinks }) };
    const one = makeCase({ q: [1, 1, 5, 4], k: [1, 1, 6, 4], v: [1, 1, 6, 4] }, options, generator(11));
    const got = await runKernels(engine, one);
    for (const name of ['output', 'dq', 'dk', 'dv'])
      assert.ok(
        got[name].every((x) => x === 0),
        name,
      );
    assert.deepEqual(got.logSumExp, new Float32Array(5).fill(sinks ? -1.5 : Number.NEGATIVE_INFINITY));
    assert.deepEqual(got.rowSum, new Float32Array(5).fill(sinks ? 1 : 0));
    if (!sinks) return;
    const sum = one.dLogSumExp.reduce((a, x) => a + x, 0);
    assert.ok(Math.abs(got.dSinks[0] - sum) < 1e-5);
  },
}));

const infiniteSinks = caseStep('sinks of −∞ and large ones, with rows that may attend to nothing', () => {
  const sinks = { data: Float32Array.of(Number.NEGATIVE_INFINITY, 30, -30), shape: [3] };
  return changed([3, 12, 10, 8, 8], { causal: { offset: -3 }, sinks }, 18, () => {});
});

const permutation: Step = {
  name: 'permuting keys and values together permutes dk and dv, and changes nothing else',
  run: async ({ engine }) => {
    const build = (order: (j: number) => number) =>
      changed([2, 21, 130, 8, 12], {}, 14, ({ problem: { k, v } }) => {
        for (const [x, D] of [
          [numbersOf(k), 8],
          [numbersOf(v), 12],
        ] as const) {
          const own = x.slice();
          for (let n = 0; n < own.length; n++) {
            const [h, j, d] = [Math.floor(n / (130 * D)), Math.floor(n / D) % 130, n % D];
            x[n] = own[(h * 130 + order(j)) * D + d];
          }
        }
      });
    const order = (j: number) => (j * 37 + 11) % 130;
    const plain = await runKernels(
      engine,
      build((j) => j),
    );
    const moved = await runKernels(engine, build(order));
    for (const name of ['output', 'logSumExp', 'dq']) {
      const most = Math.max(...plain[name].map((x, n) => Math.abs(x - moved[name][n])));
      assert.ok(most < 2e-6, `${name}: ${most}`);
    }
    for (const [name, D] of [
      ['dk', 8],
      ['dv', 12],
    ] as const) {
      for (let n = 0; n < plain[name].length; n++) {
        const [h, j, d] = [Math.floor(n / (130 * D)), Math.floor(n / D) % 130, n % D];
        assert.ok(Math.abs(moved[name][n] - plain[name][(h * 130 + order(j)) * D + d]) < 5e-6, name);
      }
    }
  },
};

const cuttingCases = once((): Case[] => [
  makeCase(
    { q: [3, 4, 70, 16], k: [3, 2, 65, 16], v: [3, 2, 65, 24] },
    {
      causal: 'lower-right',
      dropout: { rate: 0.2, seed: 3 },
      bias: { data: new Float32Array(70 * 65).fill(0.1), shape: [70, 65] },
      sinks: { data: new Float32Array(4), shape: [4] },
    },
    generator(12),
  ),
  makeCase({ q: [1, 1, 300, 16], k: [1, 1, 300, 16], v: [1, 1, 300, 16] }, { causal: true }, generator(13)),
  makeCase({ q: [2, 10, 20, 8], k: [2, 10, 20, 8], v: [2, 10, 20, 8] }, {}, generator(15)),
  makeCase(
    { q: [300, 4, 8], k: [300, 4, 8], v: [300, 4, 8] },
    {
      cuSeqlens: {
        q: Int32Array.from({ length: 21 }, (_, n) => n * 15),
        k: Int32Array.from({ length: 21 }, (_, n) => n * 15),
      },
    },
    generator(14),
  ),
]);

async function runAll(engine: Parameters<typeof runKernels>[0]): Promise<Results[]> {
  const all = [];
  for (const one of cuttingCases()) all.push(await runKernels(engine, one));
  return all;
}

const apart: Step = {
  name: 'parts are independent: apart and backwards they give the same bits',
  run: async ({ engine, makeApart }) => {
    const together = await runAll(engine);
    for (const [n, one] of cuttingCases().entries()) assertTrue(together[n], known(`cut ${n}`, one), 1e-5);
    const other = await makeApart();
    const results = await runAll(other);
    for (const [n, one] of together.entries()) assertSame(results[n], one, `case ${n}`);
    await other.dispose();
  },
};

const threads: Step = {
  name: 'the same bits for 1, 2 and 3 threads',
  run: async ({ engine, make }) => {
    const one = await runAll(engine);
    for (const count of [2, 3]) {
      const more = await make(count);
      const results = await runAll(more);
      for (const [n, want] of one.entries()) assertSame(results[n], want, `${count} threads, case ${n}`);
      await more.dispose();
    }
  },
};

export const numberSteps: Step[] = [
  ...forbiddenSteps,
  ...biasSteps,
  ...reachingSteps,
  ...fewSteps,
  ...besideSteps,
  ...allowedSteps,
  ...emptySteps,
  infiniteSinks,
  permutation,
];
export const cuttingSteps: Step[] = [apart, threads];
