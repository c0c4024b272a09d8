// .npy files: round trips, the exact bytes NumPy writes, and refusals.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FileFormatError } from '../../dist/tensor/errors.js';
import { parseNpy, serializeNpy } from '../../dist/tensor/npy.js';

/** What numpy.save writes for np.array([[1, 2, 3]], dtype='<f4'). */
const NUMPY_HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";

function file(header: string, data: Uint8Array, version = 1): Uint8Array {
  const start = version === 1 ? 10 : 12;
  const bytes = new Uint8Array(start + header.length + data.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), start);
  bytes.set(data, start + header.length);
  return bytes;
}

const numbers = new Uint8Array(Float32Array.of(1, 2, 3).buffer);

describe('npy', () => {
  test('writes the bytes NumPy writes', () => {
    const expected = file(`${NUMPY_HEADER.padEnd(117)}\n`, numbers);
    expect(serializeNpy({ data: Float32Array.of(1, 2, 3), shape: [1, 3] })).toEqual(expected);
  });

  test('reads versions 1 to 3, aligned or not', () => {
    for (const version of [1, 2, 3]) {
      const bytes = file(`${NUMPY_HEADER}\n`, numbers, version);
      expect(parseNpy(bytes)).toEqual({ dtype: 'float32', shape: [1, 3], data: Float32Array.of(1, 2, 3) });
    }
  });

  test.each([[[]], [[3]], [[0, 2]], [[2, 1, 3]]])('shape %j survives', (shape) => {
    const size = shape.reduce((a, b) => a * b, 1);
    for (const data of [new Float64Array(size).fill(1.5), new Int32Array(size).fill(-1)]) {
      expect(parseNpy(serializeNpy({ data, shape }))).toMatchObject({ shape, data });
    }
    const half = { data: new Uint16Array(size), shape, dtype: 'float16' };
    expect(parseNpy(serializeNpy(half)).dtype).toBe('float16');
    const bool = { data: new Uint8Array(size), shape, dtype: 'bool' };
    expect(parseNpy(serializeNpy(bool)).dtype).toBe('bool');
  });

  test.each([
    ['short', new Uint8Array(9), 'magic'],
    ['magic', new Uint8Array(20), 'magic'],
    ['version', file(NUMPY_HEADER, numbers, 4), 'expected version 1, 2 or 3'],
    ['fortran', file(NUMPY_HEADER.replace('False', 'True'), numbers), 'C order'],
    ['big-endian', file(NUMPY_HEADER.replace('<', '>'), numbers), "got '>f4'"],
    ['objects', file(NUMPY_HEADER.replace('<f4', '|O'), numbers), "got '|O'"],
    ['no dictionary', file('hello', numbers), 'not the dictionary'],
    ['holes in the shape', file(NUMPY_HEADER.replace('1, 3', '1,, 3'), numbers), 'expected a shape'],
    ['huge shape', file(NUMPY_HEADER.replace('1, 3', '9999999999, 9999999999'), numbers), 'too many'],
    ['too few bytes', file(NUMPY_HEADER, numbers.subarray(1)), 'needs 12 bytes, got 11'],
    ['too many bytes', file(NUMPY_HEADER, new Uint8Array(13)), 'needs 12 bytes, got 13'],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => parseNpy(bytes)).toThrow(FileFormatError);
    expect(() => parseNpy(bytes)).toThrow(message);
  });

  test('any change or truncation is refused or parses', () => {
    const sample = serializeNpy({ data: Float32Array.of(1, 2, 3), shape: [1, 3] });
    fc.assert(
      fc.property(fc.nat(sample.length), fc.nat(127), fc.nat(255), (length, at, to) => {
        const bytes = sample.slice();
        bytes[at] = to;
        for (const candidate of [bytes, sample.slice(0, length)]) {
          try {
            parseNpy(candidate);
          } catch (error) {
            expect(error).toBeInstanceOf(FileFormatError);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });
});
