// From weights to colours: the table, the fast logarithm, the range that fits.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  colourise,
  colourTable,
  fittedRange,
  positionOf,
  Spread,
  validRange,
  valueAt,
} from '../../dist/elements/map/colours.js';
import { LABEL, labelPlaces } from '../../dist/elements/map/numbers.js';

const grey = colourTable((x) => [Math.round(255 * x), 0, 0]);
const table = Uint32Array.from({ length: 1024 }, (_, i) => i);

function indices(values: number[], scale: 'linear' | 'log', range: readonly [number, number]): number[] {
  const out = new Uint32Array(values.length);
  colourise(Float32Array.from(values), out, table, scale, range);
  return Array.from(out);
}

test('a table holds opaque colours as ImageData does', () => {
  expect(new Uint8Array(grey.buffer.slice(4 * 1023))).toEqual(Uint8Array.of(255, 0, 0, 255));
  expect(grey[0]).toBe(0xff000000);
});

test('colours are the nearest of 1024: linear exactly, logarithmic within 2', () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-12, max: 1, noNaN: true }), (value) => {
      const x = Math.fround(value);
      const linear = positionOf(x, 'linear', [0, 0.5]) * 1023;
      expect(Math.abs(indices([x], 'linear', [0, 0.5])[0] - linear)).toBeLessThanOrEqual(0.51);
      const log = positionOf(x, 'log', [1e-9, 0.5]) * 1023;
      expect(Math.abs(indices([x], 'log', [1e-9, 0.5])[0] - log)).toBeLessThanOrEqual(2);
    }),
  );
});

test('what is outside of the range has its end’s colour; zero is lowest; NaN is left out', () => {
  for (const scale of ['linear', 'log'] as const) {
    expect(indices([0, 1e-9, 9, Number.POSITIVE_INFINITY], scale, [1e-3, 1])).toEqual([0, 0, 1023, 1023]);
    expect(indices([Number.NaN], scale, [1e-3, 1])).toEqual([0]);
  }
  const out = Uint32Array.of(7);
  colourise(Float32Array.of(Number.NaN), out, grey, 'log', [1e-3, 1]);
  expect(out[0]).toBe(0);
});

test('NaN is NaN whatever its sign: processors make negative ones', () => {
  const negative = new Float32Array(Int32Array.of(0xffc00000 | 0).buffer);
  for (const scale of ['linear', 'log'] as const) {
    const out = Uint32Array.of(7);
    colourise(negative, out, grey, scale, [1e-3, 1]);
    expect(out[0]).toBe(0);
  }
  const { total, zeros } = Spread.of(Float32Array.of(0, negative[0], 0.5));
  expect([total, zeros]).toEqual([2, 1]);
});

test('place and value are each other’s inverse', () => {
  const scales = fc.constantFrom<'linear' | 'log'>('linear', 'log');
  fc.assert(
    fc.property(scales, fc.double({ min: 0.001, max: 0.999, noNaN: true }), (scale, place) => {
      expect(positionOf(valueAt(place, scale, [1e-6, 2]), scale, [1e-6, 2])).toBeCloseTo(place, 9);
    }),
  );
});

test('few values are all within the fitted range; of many a thousandth may lie above', () => {
  const few = Spread.of(Float32Array.of(0, 0.001, 0.5, 0.25));
  expect(fittedRange(few, 'linear')).toEqual([0, 0.5]);
  expect(fittedRange(few, 'log').map(Math.fround)).toEqual([0.001, 0.5].map(Math.fround));
  const many = Float32Array.from({ length: 100_000 }, (_, i) => (i < 50 ? 1000 : (i % 1000) / 1000));
  const [low, high] = fittedRange(Spread.of(many), 'linear');
  expect(low).toBe(0);
  expect(high).toBeGreaterThan(0.9);
  expect(high).toBeLessThan(1.1);
});

test('a fitted logarithmic range is at most six decades; nothing but zeros has one too', () => {
  const [low, high] = fittedRange(Spread.of(Float32Array.of(1e-30, 1)), 'log');
  expect(high / low).toBeCloseTo(1e6, 0);
  const none = Spread.of(new Float32Array(10));
  expect(fittedRange(none, 'linear')).toEqual([0, 1]);
  expect(fittedRange(none, 'log')[0]).toBeGreaterThan(0);
});

test('spreads add up, and their quantiles are within an eighth of an octave', () => {
  const values = Float32Array.from({ length: 4000 }, (_, i) => (i + 1) / 4000);
  const whole = Spread.of(values.slice(0, 1000));
  whole.add(Spread.of(values.slice(1000)));
  expect([whole.total, whole.zeros, whole.most, whole.least]).toEqual([4000, 0, 1, Math.fround(1 / 4000)]);
  for (const share of [0.1, 0.5, 0.9]) {
    expect(Math.abs(Math.log2(whole.quantile(share) / share))).toBeLessThan(0.125);
  }
  expect(Array.from(whole.entries()).reduce((sum, [, count]) => sum + count, 0)).toBe(4000);
});

test('a range that cannot be shown is none', () => {
  expect(validRange([1, 1], 'linear')).toBeUndefined();
  expect(validRange([0, Number.NaN], 'linear')).toBeUndefined();
  expect(validRange([0, 1], 'linear')).toEqual([0, 1]);
  expect(validRange([0, 1], 'log')![0]).toBeGreaterThan(0);
});

test.each([
  ['at the ends of the bar', [0, 1], [0, 1]],
  ['near them', [0.01, 0.97], [LABEL, 1 - LABEL]],
  ['far from them', [0.3, 0.8], [0.3, 0.8]],
])('the numbers of a range %s leave the bar its own first and last', (_, [low, high], places) => {
  expect(labelPlaces(low, high)).toEqual(places);
});
