// Dropout against a scalar Philox4x32-10 in whole numbers: which elements stay, and what becomes of them.
import { afterAll, describe, expect, test } from 'vitest';
import {
  activation,
  activationBackward,
  dropout,
  dropoutBackward,
  reluDropout,
  reluDropoutBackward,
} from '../../dist/engine/ops/elementwise.js';
import {
  anyEngine,
  disposeEngines,
  EPS,
  everywhere,
  expectClose,
  expectSameBits,
  normal,
} from './everywhere.js';

const SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 15, 16, 17, 31, 32, 33, 16383, 16385, 2 * 16384 + 7];
const KEY = { seed: 0xa4093822, counter: 0x299f31d0 };

afterAll(disposeEngines);

/** The four words of one block. */
function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const [p, q] = [c0 * 0xd2511f53n, c2 * 0xcd9e8d57n];
    [c0, c1, c2, c3] = [(q >> 32n) ^ c1 ^ k0, q & 0xffffffffn, (p >> 32n) ^ c3 ^ k1, p & 0xffffffffn];
    [k0, k1] = [(k0 + 0x9e3779b9n) & 0xffffffffn, (k1 + 0xbb67ae85n) & 0xffffffffn];
  }
  return [c0, c1, c2, c3].map(Number);
}

function kept(count: number, rate: number, key = KEY): boolean[] {
  return Array.from({ length: Math.ceil(count / 4) }, (_, b) => philox([b, 0, 0, 0], [key.seed, key.counter]))
    .flat()
    .slice(0, count)
    .map((word) => (word >>> 8) * 2 ** -24 >= rate);
}

test('the scalar generator gives the published words', () => {
  const hex = (words: number[]) => words.map((w) => w.toString(16).padStart(8, '0')).join(' ');
  expect(hex(philox([0, 0, 0, 0], [0, 0]))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
  const pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
  expect(hex(philox(pi, [0xa4093822, 0x299f31d0]))).toBe('d16cfe09 94fdcceb 5001e420 24126ea1');
});

describe('dropout', () => {
  test.each(SIZES)(
    'marks as drawn, survivors within 2 roundings of x/(1-rate), with residual 3; %i elements',
    async (n) => {
      const [x, r] = [normal(n, 1), normal(n, 2)];
      const rate = 0.1;
      const results = await everywhere((engine) => {
        const [a, b] = [engine.tensor(x, [n]), engine.tensor(r, [n])];
        return [dropout(a, rate, KEY), dropout(a, rate, KEY, b), dropoutBackward(b, rate, KEY)];
      });
      const keep = kept(n, rate);
      const want = (data: Float32Array) => Array.from(data, (v, i) => (keep[i] ? v / (1 - rate) : 0));
      for (const [alone, added, back] of results) {
        expectClose(alone!, want(x), (i) => 3 * EPS * Math.abs(x[i]!));
        expectClose(
          added!,
          want(x).map((v, i) => v + r[i]!),
          (i) => 4 * EPS * (Math.abs(x[i]!) + Math.abs(r[i]!)),
        );
        expectClose(back!, want(r), (i) => 3 * EPS * Math.abs(r[i]!));
      }
    },
  );

  test('a rate on the grid of 2^-24 keeps u = rate: marks differ exactly where u crosses it', async () => {
    const n = 1000;
    const words = Array.from({ length: n / 4 }, (_, b) =>
      philox([b, 0, 0, 0], [KEY.seed, KEY.counter]),
    ).flat();
    const u = words[500]! >>> 8;
    for (const [rate, stays] of [
      [u, true],
      [u + 1, false],
    ] as const) {
      const results = await everywhere((e) => [
        dropout(e.tensor(normal(n, 3).fill(1), [n]), rate * 2 ** -24, KEY),
      ]);
      for (const [y] of results) expect(y![500] !== 0).toBe(stays);
    }
  });

  test('rate 0 keeps everything as it is, rate 1 nothing; dropped NaN leaves no trace', async () => {
    const x = normal(100, 4);
    const holes = x.map((v, i) => (kept(100, 0.5)[i] ? v : NaN));
    const results = await everywhere((engine) => [
      dropout(engine.tensor(x, [100]), 0, KEY),
      dropout(engine.tensor(x, [100]), 1, KEY),
      dropout(engine.tensor(holes, [100]), 0.5, KEY),
    ]);
    for (const [all, none, half] of results) {
      expectSameBits(all!, x);
      expect(none!.every((v) => v === 0)).toBe(true);
      expect(half!.some(Number.isNaN)).toBe(false);
    }
  });

  test('other counters and seeds draw other marks', async () => {
    const x = new Float32Array(4096).fill(1);
    const keys = [KEY, { ...KEY, counter: 1 }, { ...KEY, seed: 1 }];
    for (const rows of await everywhere((e) => keys.map((key) => dropout(e.tensor(x, [4096]), 0.5, key)))) {
      rows.forEach((row, i) => {
        const want = kept(4096, 0.5, keys[i]).map((k) => 2 * Number(k));
        expectClose(row, want, () => 0);
      });
    }
  });

  test.each(SIZES)(
    'after ReLU, in one pass: the bits of two; its gradient from the output; %i elements',
    async (n) => {
      const [x, dy] = [normal(n, 5), normal(n, 6)];
      if (n > 4) x.set([0, -0, NaN], 1);
      const results = await everywhere((engine) => {
        const [a, g] = [engine.tensor(x, [n]), engine.tensor(dy, [n])];
        const y = reluDropout(a, 0.1, KEY);
        const apart = activationBackward(dropoutBackward(g, 0.1, KEY), a, 'relu');
        return [y, dropout(activation(a, 'relu'), 0.1, KEY), reluDropoutBackward(g, y, 0.1), apart];
      });
      for (const [fused, two, gradient, apart] of results) {
        expectClose(fused!, two!, () => 0, 'forward');
        expectClose(gradient!, apart!, () => 0, 'gradient');
      }
    },
  );

  test('rate 0: plain ReLU; refusals', async () => {
    const x = normal(100, 7);
    for (const [y] of await everywhere((e) => [reluDropout(e.tensor(x, [100]), 0, KEY)])) {
      expectClose(
        y!,
        x.map((v) => Math.max(0, v)),
        () => 0,
      );
    }
    const engine = await anyEngine();
    const [a, b] = [engine.zeros([4]), engine.zeros([5])];
    expect(() => reluDropout(a, -0.1, KEY)).toThrow(/reluDropout: rate must be in \[0, 1\]/);
    expect(() => reluDropoutBackward(a, b, 0.1)).toThrow(/y has shape \[5\], dy \[4\]/);
    expect(() => reluDropoutBackward(a, a, 1)).toThrow(/rate must be in/);
    for (const t of [a, b]) t.dispose();
  });
});
