// Philox4x32-10 against its authors' known answers, and the draws of dropout.
import { describe, expect, test } from 'vitest';
import { dropoutThreshold, keepRow, philox, seedWords } from '../../dist/attention/philox.js';

function words(counter: number[], key: number[]): number[] {
  const out = new Uint32Array(4);
  philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1], out);
  return Array.from(out);
}

describe('philox', () => {
  // kat_vectors of Random123, the authors' library.
  test('known answers', () => {
    expect(words([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(words([ones, ones, ones, ones], [ones, ones])).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ]);
    expect(words([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });

  test('a seed is 64 bits', () => {
    expect(seedWords(0)).toEqual([0, 0]);
    expect(seedWords(2 ** 32 + 5)).toEqual([5, 1]);
    expect(seedWords(2n ** 64n - 1n)).toEqual([0xffffffff, 0xffffffff]);
  });

  test('the threshold in whole numbers is u >= rate', () => {
    for (const rate of [0, 0.1, 0.25, 0.5, 1 / 3, 0.9, 1 - 2 ** -24, 2 ** -24, 2 ** -25]) {
      const t = dropoutThreshold(rate);
      for (const x of [t - 1, t, t + 1]) if (x >= 0) expect(x >= t).toBe(x * 2 ** -24 >= rate);
    }
  });

  test('a row drawn in parts equals the whole, at any key offset', () => {
    const whole = new Uint8Array(41);
    keepRow([7, 9], 0.4, 1, 2, 3, 0, whole);
    for (const cut of [1, 2, 3, 4, 5, 17]) {
      const part = new Uint8Array(41 - cut);
      keepRow([7, 9], 0.4, 1, 2, 3, cut, part);
      expect(part).toEqual(whole.subarray(cut));
    }
    for (let j = 0; j < 41; j++) {
      const u = (words([j >>> 2, 3, 2, 1], [7, 9])[j & 3] >>> 8) * 2 ** -24;
      expect(whole[j]).toBe(u >= 0.4 ? 1 : 0);
    }
  });

  test('keeps 1 − rate of the cells, within four standard deviations', () => {
    for (const rate of [0.1, 0.5, 0.9]) {
      let kept = 0;
      const row = new Uint8Array(1000);
      for (let i = 0; i < 100; i++) {
        keepRow([42, 0], rate, 0, 0, i, 0, row);
        for (const one of row) kept += one;
      }
      expect(Math.abs(kept - 1e5 * (1 - rate))).toBeLessThan(4 * Math.sqrt(1e5 * rate * (1 - rate)));
    }
  });
});
