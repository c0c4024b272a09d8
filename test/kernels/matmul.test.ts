// Matrix multiplication against float64, at sizes that straddle register tiles, blocks and the choice of kernel.
import { afterAll, describe, expect, test } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import { matmul } from '../../dist/engine/ops/matmul.js';
import type { Engine } from '../../dist/engine/types.js';

const SIZES = [1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 31, 33, 64, 65, 127, 129, 257];
const EPS = 2 ** -24;

interface Case {
  m: number;
  n: number;
  k: number;
  transposeA?: boolean;
  transposeB?: boolean;
  bias?: boolean;
  accumulate?: boolean;
}

function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

function numbers(count: number, seed: number): Float32Array {
  const next = generator(seed);
  return Float32Array.from({ length: count }, next);
}

function operands(c: Case) {
  const seed = c.m * 7919 + c.n * 104729 + c.k;
  return {
    a: numbers(c.m * c.k, seed),
    b: numbers(c.k * c.n, seed + 1),
    bias: numbers(c.n, seed + 2),
    old: numbers(c.m * c.n, seed + 3),
  };
}

async function multiply(engine: Engine, c: Case, o = operands(c)): Promise<Float32Array> {
  const tensors = {
    a: engine.tensor(o.a, c.transposeA ? [c.k, c.m] : [c.m, c.k]),
    b: engine.tensor(o.b, c.transposeB ? [c.n, c.k] : [c.k, c.n]),
    bias: engine.tensor(o.bias, [c.n]),
    out: engine.tensor(o.old, [c.m, c.n]),
  };
  const { transposeA, transposeB, accumulate } = c;
  const bias = c.bias ? tensors.bias : undefined;
  const result = matmul(tensors.a, tensors.b, { transposeA, transposeB, bias, out: tensors.out, accumulate });
  expect(result).toBe(tensors.out);
  const data = (await result.read()) as Float32Array;
  for (const tensor of Object.values(tensors)) tensor.dispose();
  return data;
}

/** Largest error in units of the bound K' · 2⁻²³ · Σ|terms|, where K' counts bias and old value as terms too. */
function errorOverBound(c: Case, got: Float32Array): number {
  const { a, b, bias, old } = operands(c);
  const { m, n, k } = c;
  let worst = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = (c.bias ? bias[j]! : 0) + (c.accumulate ? old[i * n + j]! : 0);
      let size = (c.bias ? Math.abs(bias[j]!) : 0) + (c.accumulate ? Math.abs(old[i * n + j]!) : 0);
      for (let p = 0; p < k; p++) {
        const term = a[c.transposeA ? p * m + i : i * k + p]! * b[c.transposeB ? j * k + p : p * n + j]!;
        sum += term;
        size += Math.abs(term);
      }
      const error = Math.abs(got[i * n + j]! - sum);
      // Not `>`: a NaN must fail.
      if (!(error <= 2 * (k + 2) * EPS * size)) return Number.POSITIVE_INFINITY;
      if (size > 0) worst = Math.max(worst, error / (2 * (k + 2) * EPS * size));
    }
  }
  return worst;
}

const builds: Engine[] = [await createEngine({ threads: 1, simd: 'strict' })];
const fastest = await createEngine({ threads: 1 });
builds.push(fastest);
afterAll(async () => {
  for (const engine of builds) await engine.dispose();
});

const label = (c: Case) =>
  `${c.m}x${c.k}${c.transposeA ? 'ᵀ' : ''} · ${c.k}x${c.n}${c.transposeB ? 'ᵀ' : ''}` +
  `${c.bias ? ' + bias' : ''}${c.accumulate ? ' + out' : ''}`;

const TRANSPOSES = [
  { transposeA: false, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: false },
  { transposeA: true, transposeB: true },
];

/** Every size as M, N and K, in shifting company, with bias and accumulation in turn. */
function straddling(transposes: (typeof TRANSPOSES)[number]): Case[] {
  const size = (i: number) => SIZES[i % SIZES.length]!;
  return SIZES.flatMap((m, i) =>
    [1, 5, 10, 14].map((shift, s) => ({
      m,
      n: size(i * shift + s),
      k: size(i + 3 * shift + 2),
      ...transposes,
      bias: (i + s) % 2 === 1,
      accumulate: ((i + s) >> 1) % 2 === 1,
    })),
  );
}

describe.each(builds.map((engine) => [engine.build, engine] as const))('matmul, %s build', (_, engine) => {
  test.each(TRANSPOSES)('error <= 2·(K+2)·2⁻²⁴·Σ|terms| at straddling sizes, %o', async (transposes) => {
    for (const c of straddling(transposes)) {
      expect(errorOverBound(c, await multiply(engine, c)), label(c)).toBeLessThanOrEqual(1);
    }
  });

  const long: Case[] = [
    { m: 7, n: 9, k: 2048 },
    { m: 13, n: 33, k: 2053, bias: true },
    { m: 9, n: 17, k: 4099, bias: true, accumulate: true },
    { m: 130, n: 13, k: 2050, accumulate: true },
    { m: 257, n: 9, k: 2049 },
    { m: 5, n: 265, k: 2051, bias: true },
    { m: 40, n: 50, k: 900, bias: true },
    { m: 700, n: 20, k: 450, accumulate: true },
    { m: 50, n: 600, k: 449, accumulate: true },
    { m: 130, n: 531, k: 445, bias: true },
  ];
  test.each(TRANSPOSES)('the same bound over long reductions and many blocks, %o', async (transposes) => {
    for (const c of long.map((sizes) => ({ ...sizes, ...transposes }))) {
      expect(errorOverBound(c, await multiply(engine, c)), label(c)).toBeLessThanOrEqual(1);
    }
  });

  test('every number of rows that reads b in place, the same bound', async () => {
    for (let m = 1; m <= 42; m++) {
      for (const [n, k] of [
        [1, 1],
        [5, 4],
        [7, 130],
        [131, 67],
      ] as const) {
        const c = { m, n, k, transposeB: true, bias: m % 2 === 0, accumulate: m % 3 === 0 };
        expect(errorOverBound(c, await multiply(engine, c)), label(c)).toBeLessThanOrEqual(1);
      }
    }
  });

  test('NaN and infinity stay in their row and column, and reach all of it', async () => {
    for (const [m, n, k] of [
      [7, 9, 5],
      [65, 33, 12],
      [3, 21, 40],
      [33, 35, 2100],
    ] as const) {
      for (const transposes of TRANSPOSES) {
        const c = { m, n, k, ...transposes };
        const o = operands(c);
        const row = m - 1;
        const column = n - 1;
        o.a[c.transposeA ? row : row * k] = Number.NaN;
        o.b[c.transposeB ? column * k + k - 1 : (k - 1) * n + column] = Number.POSITIVE_INFINITY;
        const got = await multiply(engine, c, o);
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            const value = got[i * n + j]!;
            const where = `${label(c)} at ${i},${j}`;
            if (i === row) expect(value, where).toBeNaN();
            else expect(Number.isFinite(value), where).toBe(j !== column);
          }
        }
      }
    }
  });

  test('an empty reduction gives bias, old values or zeros', async () => {
    for (const m of [3, 40]) {
      const c = { m, n: 5, k: 0 };
      const { bias, old } = operands(c);
      expect(await multiply(engine, c)).toEqual(new Float32Array(m * 5));
      expect(await multiply(engine, { ...c, accumulate: true, transposeB: true })).toEqual(old);
      const rows = Float32Array.from({ length: m * 5 }, (_, i) => bias[i % 5]!);
      expect(await multiply(engine, { ...c, bias: true, transposeB: true })).toEqual(rows);
      expect(await multiply(engine, { ...c, bias: true })).toEqual(rows);
    }
    for (const c of [
      { m: 0, n: 4, k: 3 },
      { m: 4, n: 0, k: 3 },
      { m: 0, n: 0, k: 0 },
    ]) {
      expect((await multiply(engine, c)).length).toBe(0);
    }
  });

  test('the result is a new tensor without out, and nothing else stays', async () => {
    const before = engine.memory.tensors;
    const made = matmul(engine.tensor(numbers(6, 1), [2, 3]), engine.tensor(numbers(12, 2), [3, 4]));
    expect(made.shape).toEqual([2, 4]);
    expect(engine.memory.tensors).toBe(before + 3);
    engine.scope(() => matmul(engine.zeros([300, 40]), engine.zeros([40, 500])));
    const rest = engine.memory.tensors;
    const out = engine.zeros([300, 500]);
    const a = engine.zeros([300, 40]);
    matmul(a, engine.zeros([500, 40]), { transposeB: true, out });
    matmul(engine.zeros([3000, 30]), engine.zeros([3000, 20]), { transposeA: true });
    expect(engine.memory.tensors).toBe(rest + 6);
  });
});

const same = (x: Float32Array, y: Float32Array) => Buffer.compare(bytes(x), bytes(y)) === 0;
const bytes = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

test('the same bits with 1, 2 and 3 threads', async () => {
  const cases: Case[] = [
    { m: 257, n: 129, k: 65 },
    { m: 700, n: 384, k: 128, transposeB: true, bias: true },
    { m: 128, n: 130, k: 3000, transposeA: true, accumulate: true },
    { m: 5, n: 1000, k: 128, transposeB: true, bias: true },
    { m: 130, n: 500, k: 1000 },
  ];
  const reference = await Promise.all(cases.map((c) => multiply(fastest, c)));
  for (const threads of [2, 3]) {
    const engine = await createEngine({ threads });
    for (let round = 0; round < 3; round++) {
      for (const [i, c] of cases.entries())
        expect(same(await multiply(engine, c), reference[i]!), label(c)).toBe(true);
    }
    await engine.dispose();
  }
});

describe('matmul refuses', () => {
  const engine = fastest;
  const zeros = (...shape: number[]) => engine.zeros(shape);
  const refused: [string, () => unknown, string, RegExp][] = [
    ['unequal reductions', () => matmul(zeros(2, 3), zeros(4, 2)), 'FOVEA_SHAPE', /3.*4/],
    [
      'unequal reductions, transposed',
      () => matmul(zeros(2, 3), zeros(3, 2), { transposeB: true }),
      'FOVEA_SHAPE',
      /3.*2/,
    ],
    ['other ranks', () => matmul(zeros(2, 3, 1), zeros(3, 2)), 'FOVEA_SHAPE', /a has shape \[2,3,1\]/],
    [
      'a bias of another length',
      () => matmul(zeros(2, 3), zeros(3, 2), { bias: zeros(3) }),
      'FOVEA_SHAPE',
      /bias/,
    ],
    [
      'an out of another shape',
      () => matmul(zeros(2, 3), zeros(3, 2), { out: zeros(4) }),
      'FOVEA_SHAPE',
      /out/,
    ],
    [
      'accumulation without out',
      () => matmul(zeros(2, 3), zeros(3, 2), { accumulate: true }),
      'FOVEA_SHAPE',
      /out/,
    ],
    [
      'integers',
      () => matmul(zeros(2, 3), engine.tensor(new Int32Array(6), [3, 2])),
      'FOVEA_DTYPE',
      /b is int32.*float32/,
    ],
    ['tensors of two engines', () => matmul(zeros(2, 3), builds[0]!.zeros([3, 2])), 'FOVEA_ENGINE', /b/],
  ];
  test.each(refused)('%s', (_, call, code, message) => {
    expect(call).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});
