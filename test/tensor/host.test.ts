// What counts as a host tensor, and how each malformed one is refused.
import { describe, expect, test } from 'vitest';
import { DTypeError, ShapeError } from '../../dist/tensor/errors.js';
import { fromFloats, hostTensor, sizeOf, toFloat32, toFloat64 } from '../../dist/tensor/host.js';

describe('hostTensor', () => {
  test.each([
    [new Float32Array(6), undefined, 'float32'],
    [new Float64Array(6), undefined, 'float64'],
    [new Int32Array(6), undefined, 'int32'],
    [new BigInt64Array(6), undefined, 'int64'],
    [new Uint8Array(6), undefined, 'uint8'],
    [new Uint8Array(6), 'bool', 'bool'],
    [new Uint16Array(6), 'float16', 'float16'],
    [new Uint16Array(6), 'bfloat16', 'bfloat16'],
    [new Float32Array(new SharedArrayBuffer(24)), undefined, 'float32'],
  ])('%# gives %s', (data, dtype, expected) => {
    const tensor = hostTensor('x', { data, shape: [2, 3], dtype });
    expect(tensor).toEqual({ dtype: expected, shape: [2, 3], data });
    expect(tensor.data).toBe(data);
  });

  test('dims and type are read where shape and dtype are absent', () => {
    expect(hostTensor('x', { data: new Uint8Array(2), dims: [2], type: 'bool' }).dtype).toBe('bool');
    expect(hostTensor('x', { data: new Float32Array(1), dims: [] }).shape).toEqual([]);
    expect(hostTensor('x', { data: new Float32Array(0), dims: [3, 0] }).shape).toEqual([3, 0]);
  });

  test('a Float16Array is float16, seen as bits', () => {
    // Where the runtime has none, an array that only bears the name.
    const bits = Uint16Array.of(0x3c00, 0xc000);
    const Half = (globalThis as unknown as { Float16Array?: new (n: number[]) => ArrayBufferView })
      .Float16Array;
    const data = Half
      ? new Half([1, -2])
      : Object.defineProperty(bits, Symbol.toStringTag, { value: 'Float16Array' });
    const tensor = hostTensor('x', { data, shape: [2] });
    expect(tensor.dtype).toBe('float16');
    expect(tensor.data.constructor).toBe(Uint16Array);
    expect(Array.from(tensor.data as Uint16Array)).toEqual([0x3c00, 0xc000]);
  });

  test.each([
    [undefined, DTypeError, 'x: expected a tensor { data, shape }, got undefined'],
    [5, DTypeError, 'got 5'],
    [{ data: [1, 2], shape: [2] }, DTypeError, 'x: expected data in a typed array, got an array: wrap it'],
    [{ data: new DataView(new ArrayBuffer(8)), shape: [2] }, DTypeError, 'expected data in a typed array'],
    [{ data: new Uint8ClampedArray(2), shape: [2] }, DTypeError, 'got Uint8ClampedArray'],
    [{ data: new Float32Array(2), shape: [2], dtype: 'bool' }, DTypeError, 'bool is held in a Uint8Array'],
    [{ data: new Float32Array(2), shape: [2], dtype: 'half' }, DTypeError, 'unknown dtype "half"'],
    [{ data: new Float32Array(2) }, ShapeError, 'x: expected a shape (an array of sizes), got undefined'],
    [{ data: new Float32Array(2), shape: 2 }, ShapeError, 'expected a shape'],
    [{ data: new Float32Array(2), shape: [3] }, ShapeError, 'x: shape [3] needs 3, data has 2 elements'],
    [{ data: new Float32Array(2), shape: [-2, -1] }, ShapeError, 'size -2 of dimension 0'],
    [{ data: new Float32Array(2), shape: [1.5] }, ShapeError, 'size 1.5 of dimension 0'],
    [{ data: new Float32Array(2), shape: [NaN] }, ShapeError, 'size NaN'],
    [{ data: new Float32Array(2), shape: ['2'] }, ShapeError, 'size "2"'],
    [{ data: new Float32Array(2), shape: [2 ** 40, 2 ** 40] }, ShapeError, 'too many elements'],
    [{ data: new Float32Array(2), shape: [2 ** 53] }, ShapeError, 'dimension 0'],
  ])('refuses %#', (value, kind, message) => {
    let thrown: unknown;
    try {
      hostTensor('x', value);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(kind);
    expect((thrown as Error).message).toContain(message);
  });

  test('a zero dimension makes any size zero', () => {
    expect(sizeOf('x', [2 ** 40, 2 ** 40, 0])).toBe(0);
    expect(sizeOf('x', [])).toBe(1);
  });
});

describe('conversion', () => {
  test('widening is exact and does not copy what needs none', () => {
    const f32 = hostTensor('x', { data: Float32Array.of(0.1, -2), shape: [2] });
    expect(toFloat32(f32)).toBe(f32.data);
    expect(Array.from(toFloat64(f32))).toEqual([Math.fround(0.1), -2]);
    const f64 = hostTensor('x', { data: Float64Array.of(0.1), shape: [1] });
    expect(toFloat64(f64)).toBe(f64.data);
    expect(toFloat32(f64)[0]).toBe(Math.fround(0.1));
    const i64 = hostTensor('x', { data: BigInt64Array.of(-7n), shape: [1] });
    expect([toFloat32(i64)[0], toFloat64(i64)[0]]).toEqual([-7, -7]);
    const half = hostTensor('x', { data: Uint16Array.of(0x3555), shape: [1], dtype: 'float16' });
    expect([toFloat32(half)[0], toFloat64(half)[0]]).toEqual([0.333251953125, 0.333251953125]);
  });

  test('narrowing rounds once', () => {
    // Rounded to float32 first, this would be a tie and go down to 1.
    const x = Float64Array.of(1 + 2 ** -11 + 2 ** -40);
    expect(fromFloats('float16', x)[0]).toBe(0x3c01);
    expect(fromFloats('float64', x)).toBe(x);
    expect(fromFloats('float32', x)[0]).toBe(Math.fround(x[0]));
  });
});
