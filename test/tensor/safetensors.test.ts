// The safetensors format: round trips, files that other software wrote, and everything a bad file can say.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTYPES } from '../../dist/tensor/dtype.js';
import { FileFormatError } from '../../dist/tensor/errors.js';
import { copyTensor, parseSafetensors, serializeSafetensors } from '../../dist/tensor/safetensors.js';

const folder = new URL('../../../shared/conformance/torch-reference/', import.meta.url);

function file(header: unknown, data: ArrayLike<number> = [], length?: number): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const tensor = (shape: unknown, offsets: unknown, dtype: unknown = 'U8') => ({
  x: { dtype, shape, data_offsets: offsets },
});

const entry = (dtype: string) => JSON.stringify(tensor([1], [0, 1], dtype).x);

describe('safetensors', () => {
  test('every dtype survives writing and reading; names may be anything', () => {
    const tensors = new Map(
      DTYPES.map((dtype, i) => {
        const names = ['__proto__', 'constructor', '', '가중치', 'a"b', '\u0000'];
        const big = dtype === 'int64' || dtype === 'uint64';
        const data = big ? BigInt64Array.of(1n, 2n, 3n) : Uint8Array.of(1, 2, 3);
        const arrays = {
          float64: Float64Array,
          float32: Float32Array,
          int32: Int32Array,
          int16: Int16Array,
          int8: Int8Array,
          uint32: Uint32Array,
          uint64: BigUint64Array,
          int64: BigInt64Array,
          uint8: Uint8Array,
          bool: Uint8Array,
        };
        const Kind = (arrays as Record<string, unknown>)[dtype] ?? Uint16Array;
        const held = new (Kind as Float32ArrayConstructor)(data as unknown as ArrayLike<number>);
        return [names[i] ?? `w.${i}`, { dtype, shape: [3, 1], data: held }] as const;
      }),
    );
    const bytes = serializeSafetensors(tensors, [
      ['format', 'fovea'],
      ['__proto__', 'x'],
    ]);
    const read = parseSafetensors(bytes);
    expect(new Map(read.tensors)).toEqual(new Map(tensors));
    expect([...read.metadata]).toEqual([
      ['format', 'fovea'],
      ['__proto__', 'x'],
    ]);
    expect(serializeSafetensors([...tensors].reverse(), read.metadata)).toEqual(bytes);
    // At an odd address data are copied instead of viewed.
    const odd = new Uint8Array(bytes.length + 1);
    odd.set(bytes, 1);
    expect(parseSafetensors(odd.subarray(1)).tensors).toEqual(read.tensors);
  });

  test('an empty file and zero-size tensors', () => {
    expect(parseSafetensors(file('{}')).tensors.size).toBe(0);
    expect(parseSafetensors(file(tensor([0, 5], [0, 0]))).tensors.get('x')?.data.length).toBe(0);
    const two = serializeSafetensors([
      ['b', { data: new Float32Array(0), shape: [0] }],
      ['a', { data: Float32Array.of(1), shape: [] }],
    ]);
    expect([...parseSafetensors(two).tensors.keys()].sort()).toEqual(['a', 'b']);
  });

  test('views share memory with the file; copyTensor does not', () => {
    const bytes = serializeSafetensors([['x', { data: Uint8Array.of(7), shape: [1] }]]);
    const x = parseSafetensors(bytes).tensors.get('x')!;
    const copy = copyTensor(x);
    bytes[bytes.length - 1] = 9;
    expect([x.data[0], copy.data[0]]).toEqual([9, 7]);
  });

  test.each([
    ['no header length', new Uint8Array(7), 'expected 8 bytes of header length'],
    ['header over 100 MB', file('{}', [], 100_000_001), 'at most 100000000'],
    ['header of 2^63', file('{}', [], 2 ** 63), 'at most 100000000'],
    ['header beyond the file', file('{}', [], 3), 'goes beyond the file'],
    ['no JSON', file('{'), 'not valid JSON'],
    ['no UTF-8', file('{"\xff":1}').map((b) => (b === 0xc3 ? 0xff : b)), 'not valid JSON'],
    ['an array', file('[]'), 'expected the header to be a JSON object'],
    ['null', file('null'), 'expected the header to be a JSON object'],
    ['metadata of numbers', file({ __metadata__: { a: 1 } }), 'metadata "a": expected a string, got 1'],
    ['metadata an array', file({ __metadata__: [] }), 'expected __metadata__ to be an object'],
    ['tensor a number', file({ x: 1 }), 'tensor "x": expected an object, got 1'],
    ['unknown dtype', file(tensor([1], [0, 1], 'F8')), 'tensor "x": expected a dtype of F64'],
    ['inherited dtype', file(tensor([1], [0, 1], 'toString')), 'expected a dtype'],
    ['no shape', file(tensor(undefined, [0, 1]), [1]), 'expected shape to be an array'],
    ['negative size', file(tensor([-1], [0, 1]), [1]), 'size -1 of dimension 0'],
    ['overflowing shape', file(tensor([2 ** 32, 2 ** 32], [0, 0])), 'too many elements'],
    ['unsafe size', file(tensor([1e300], [0, 0])), 'dimension 0'],
    ['no offsets', file(tensor([1], undefined), [1]), 'expected data_offsets of two'],
    ['three offsets', file(tensor([1], [0, 1, 2]), [1]), 'expected data_offsets of two'],
    ['fractional offsets', file(tensor([1], [0, 1.5]), [1]), 'expected data_offsets of two'],
    ['backward offsets', file(tensor([1], [1, 0]), [1]), 'got 1 to 0'],
    ['offsets beyond', file(tensor([2], [0, 2]), [1]), 'within 1 bytes of data, got 0 to 2'],
    ['wrong length', file(tensor([2], [0, 1]), [1]), 'shape [2] of U8 needs 2 bytes, got 1'],
    ['a gap at the start', file(tensor([1], [1, 2]), [1, 2]), 'to start at 0, got 1'],
    ['bytes left over', file(tensor([1], [0, 1]), [1, 2]), 'expected 1 bytes of tensor data, got 2'],
    [
      'overlap',
      file({ a: tensor([2], [0, 2]).x, b: tensor([2], [1, 3]).x }, [1, 2, 3]),
      'tensor "b": expected its bytes to start at 2, got 1',
    ],
    [
      'a tensor given twice, both times the same',
      file(`{"x":${entry('U8')},"x":${entry('U8')}}`, [1]),
      'the header gives the name "x" twice',
    ],
    [
      'a tensor given twice, spelled in two ways',
      file(`{"a\\"":${entry('U8')}, "a\\u0022" : ${entry('I8')}}`, [1]),
      'the header gives the name "a\\"" twice',
    ],
    [
      'a field given twice',
      file('{"x":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}'),
      '"dtype" twice',
    ],
    ['metadata given twice', file('{"__metadata__":{"\\\\":"a","b":"\\"","\\\\":"\\"b"}}'), '"\\\\" twice'],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => parseSafetensors(bytes)).toThrow(FileFormatError);
    expect(() => parseSafetensors(bytes)).toThrow(message);
  });

  test('names alike in different objects, and texts that look like names, are no repetition', () => {
    const metadata = { x: '"x":{"x":1},"x":2', shape: '}{', __metadata__: '\\' };
    const bytes = file(
      { __metadata__: metadata, ...tensor([1], [0, 1]), dtype: tensor([1], [1, 2]).x },
      [1, 2],
    );
    expect(Object.fromEntries(parseSafetensors(bytes).metadata)).toEqual(metadata);
  });

  test('refuses to write the reserved name, a name given twice, and what is no tensor', () => {
    const x = { data: new Float32Array(1), shape: [1] };
    expect(() => serializeSafetensors([['__metadata__', x]])).toThrow(FileFormatError);
    expect(() =>
      serializeSafetensors([
        ['a', x],
        ['a', x],
      ]),
    ).toThrow('given twice');
    expect(() =>
      serializeSafetensors(
        [],
        [
          ['k', 'v'],
          ['k', 'v'],
        ],
      ),
    ).toThrow('metadata "k" is given twice');
    expect(() => serializeSafetensors([['a', { data: new Float32Array(1), shape: [2] }]])).toThrow('needs 2');
  });

  const sample = serializeSafetensors(
    [
      ['a', { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] }],
      ['b', { data: Uint8Array.of(1, 0), shape: [2], dtype: 'bool' }],
    ],
    [['k', 'v']],
  );

  test('every truncation is refused', () => {
    for (let n = 0; n < sample.length; n++) {
      expect(() => parseSafetensors(sample.slice(0, n))).toThrow(FileFormatError);
    }
  });

  test('any changed bytes are refused, or parse to tensors that lie in the file', () => {
    const change = fc.record({ at: fc.nat(sample.length - 1), to: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = sample.slice();
        for (const { at, to } of changes) bytes[at] = to;
        let parsed: ReturnType<typeof parseSafetensors>;
        try {
          parsed = parseSafetensors(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FileFormatError);
          return;
        }
        let total = 0;
        for (const x of parsed.tensors.values()) total += x.data.byteLength;
        expect(total).toBe(18);
        expect(parseSafetensors(serializeSafetensors(parsed.tensors, parsed.metadata))).toEqual(parsed);
      }),
      { numRuns: 3000 },
    );
  });

  test('any bytes are refused or parse', () => {
    fc.assert(
      fc.property(fc.json(), fc.uint8Array({ maxLength: 32 }), (text, data) => {
        try {
          parseSafetensors(file(text, data));
        } catch (error) {
          expect(error).toBeInstanceOf(FileFormatError);
        }
      }),
    );
  });

  test.skipIf(!existsSync(folder))('files of other software parse and survive rewriting (../shared)', () => {
    const names = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
    expect(names.length).toBeGreaterThan(60);
    for (const name of names) {
      const parsed = parseSafetensors(readFileSync(new URL(name, folder)));
      expect(parsed.tensors.size).toBeGreaterThan(0);
      expect(parseSafetensors(serializeSafetensors(parsed.tensors)).tensors).toEqual(parsed.tensors);
    }
  });
});
