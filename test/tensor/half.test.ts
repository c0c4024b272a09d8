// float16 conversions, against definitions that do not share their arithmetic.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bfloat16ToFloat32, float32ToHalf, fromHalf, halfToFloat32, toHalf } from '../../dist/tensor/half.js';

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
const isNaNBits = (bits: number) => (bits & 0x7c00) === 0x7c00 && (bits & 1023) !== 0;

describe('float16', () => {
  test('known values, exactly', () => {
    const known: [number, number][] = [
      [0x0000, 0],
      [0x8000, -0],
      [0x3c00, 1],
      [0xc000, -2],
      [0x7bff, 65504],
      [0x0400, 2 ** -14],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x3555, 0.333251953125],
      [0x7c00, Infinity],
      [0xfc00, -Infinity],
    ];
    for (const [bits, value] of known) {
      expect(fromHalf(bits)).toBe(value);
      expect(toHalf(value)).toBe(bits);
    }
    expect(fromHalf(0x7e00)).toBeNaN();
    expect(toHalf(NaN)).toBe(0x7e00);
  });

  test('all 65536 bit patterns survive widening and narrowing', () => {
    const wide = halfToFloat32(all);
    expect(halfToFloat32(all.subarray(100, 200))).toEqual(wide.subarray(100, 200));
    const back = float32ToHalf(wide);
    for (let i = 0; i < 65536; i++) expect(isNaNBits(i) ? isNaNBits(back[i]) : back[i] === i).toBe(true);
  });

  test('midpoints round to even, their neighbours to the nearest', () => {
    for (let bits = 0; bits < 0x7bff; bits++) {
      const low = fromHalf(bits);
      const high = fromHalf(bits + 1);
      const middle = (low + high) / 2;
      expect(toHalf(middle)).toBe(bits % 2 === 0 ? bits : bits + 1);
      expect(toHalf(middle - low * 2 ** -40 - 2 ** -60)).toBe(bits);
      expect(toHalf(middle + high * 2 ** -40)).toBe(bits + 1);
      expect(toHalf(-middle)).toBe(0x8000 | toHalf(middle));
    }
    expect(toHalf(65520)).toBe(0x7c00);
    expect(toHalf(65519.999)).toBe(0x7bff);
    expect(toHalf(1e300)).toBe(0x7c00);
    expect(toHalf(2 ** -25)).toBe(0);
    expect(toHalf(2 ** -25 * (1 + 2 ** -50))).toBe(1);
  });

  test('any float64 rounds to a float16 at most half a step away', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, min: -65519, max: 65519 }), (x) => {
        const near = toHalf(x);
        const error = Math.abs(fromHalf(near) - x);
        for (const other of [near - 1, near + 1]) {
          if (other >= 0 && other < 65536 && Number.isFinite(fromHalf(other))) {
            expect(error).toBeLessThanOrEqual(Math.abs(fromHalf(other) - x));
          }
        }
      }),
    );
  });

  test('bfloat16 widens exactly', () => {
    const wide = bfloat16ToFloat32(Uint16Array.of(0x3f80, 0xc049, 0x7f80, 0xff80, 0x0001, 0x7fc0));
    expect(Array.from(wide)).toEqual([1, -3.140625, Infinity, -Infinity, 2 ** -133, NaN]);
  });
});
