// Traces: what is saved is what is opened, weights come out exact, and no file from outside does harm.
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { validateAttention } from '../../dist/attention/validate.js';
import {
  type AttentionMap,
  attention,
  attentionMap,
  createEngine,
  createTrace,
  openTrace,
  parseSafetensors,
  saveTrace,
} from '../../dist/index.js';
import { valueWeightedNorms } from '../../dist/inspect/index.js';
import { toFloat32 } from '../../dist/tensor/host.js';
import { serializeSafetensors } from '../../dist/tensor/safetensors.js';
import { randomTensor, seeded } from '../attention/calls.js';
import { maxError } from '../attention/conformance.js';
import { plainAttention } from '../attention/plain.js';
import { expectWatched } from '../helpers/watched.js';

let engine: Awaited<ReturnType<typeof createEngine>>;
let folder: string;
beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
  folder = await mkdtemp(join(tmpdir(), 'fovea-trace-'));
});
afterAll(async () => {
  await engine.dispose();
  await rm(folder, { recursive: true });
});

let state = 7;
const draw = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
};
function floats(shape: number[], scale = 1) {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => draw() * scale);
  return { dtype: 'float32' as const, shape, data };
}
const bools = (shape: number[]) => {
  const data = Uint8Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => +(draw() > -0.5));
  return { dtype: 'bool' as const, shape, data };
};

type Options = Parameters<typeof attention>[3];
type Source = Parameters<typeof openTrace>[0];

/** Largest difference between the map of a trace's entry and the float64 reference. */
async function error(bytes: Source, name: string, q: object, k: object, options: Options): Promise<number> {
  const trace = await openTrace(bytes, { engine });
  try {
    const map = await trace.entries.find((entry) => entry.name === name)!.map();
    const problem = validateAttention(q, k, k, options);
    let worst = 0;
    for (let head = 0; head < problem.H; head++) {
      const tile = await map.tile({ head });
      const truth = weightsReference(problem, 0, head, [0, problem.Lq], [0, problem.Lk]);
      expect(tile.data).toHaveLength(truth.length);
      truth.forEach((w, i) => {
        worst = Math.max(worst, Math.abs(w - tile.data[i]));
      });
    }
    return worst;
  } finally {
    trace.dispose();
  }
}

/** Largest difference between weights of plain float32 and the reference's: the output where values are the identity. */
function plainError(q: object, k: { shape: number[] }, options: Options): number {
  const [Hkv, Lk] = k.shape;
  const data = Float32Array.from({ length: Hkv * Lk * Lk }, (_, n) => +((n % (Lk * Lk)) % (Lk + 1) === 0));
  const problem = validateAttention(q, k, { shape: [Hkv, Lk, Lk], data }, options);
  return maxError(plainAttention(problem).output, attentionReference(problem).output);
}

describe('round trip', () => {
  const [H, Hkv, Lq, Lk, D] = [4, 2, 67, 70, 8];
  const cases: [string, NonNullable<Options>][] = [
    ['no options', {}],
    ['causal', { causal: 'lower-right', scale: 0.9 }],
    ['causal offset', { causal: { offset: Int32Array.of(-2) }, sinks: floats([H]) }],
    ['window, softcap', { window: [5, 3], softcap: 2 }],
    ['keyLengths', { keyLengths: Int32Array.of(33), alibi: floats([H]) }],
    ['mask', { mask: bools([H, Lq, Lk]), causal: 'upper-left' }],
    ['mask that broadcasts, bias', { mask: bools([1, Lk]), bias: floats([H, 1, Lk], 4) }],
  ];
  test.each(cases)(
    '%s: weights within twice plain float32’s error + 1e-6, with and without logSumExp',
    async (_, options) => {
      const [q, k] = [floats([H, Lq, D], 3), floats([Hkv, Lk, D], 3)];
      const { logSumExp } = await attention(q, k, k, { ...options, engine });
      for (const own of [logSumExp, undefined]) {
        const trace = createTrace({ entries: [{ name: 'a.0', q, k, options, logSumExp: own }] }, { engine });
        const bytes = await saveTrace(trace);
        expect(trace.entries[0].shape).toEqual([H, Lq, Lk]);
        trace.dispose();
        const bound = 2 * plainError(q, k, options) + 1e-6;
        expect(await error(bytes, 'a.0', q, k, options)).toBeLessThanOrEqual(bound);
      }
    },
  );

  test('scores in the thousands: weights from a file are those of the call (± 1e-6)', async () => {
    const [q, k] = [floats([1, 65, 8], 40), floats([1, 65, 8], 40)];
    const options = { scale: 1 };
    const { logSumExp, map } = await attention(q, k, k, { ...options, engine });
    const trace = createTrace({ entries: [{ name: 'a', q, k, options, logSumExp }] });
    const opened = await openTrace(await saveTrace(trace), { engine });
    const [own, saved] = [await map.tile(), await (await opened.entries[0].map()).tile()];
    own.data.forEach((w, i) => {
      expect(Math.abs(w - saved.data[i])).toBeLessThan(1e-6);
    });
    opened.dispose();
  });

  test('float16 and bfloat16 numbers, read as they are', async () => {
    const exact = { dtype: 'float32' as const, shape: [1, 2, 2], data: Float32Array.of(1, -0.5, 2, 0.25) };
    const bits = {
      float16: Uint16Array.of(0x3c00, 0xb800, 0x4000, 0x3400),
      bfloat16: Uint16Array.of(0x3f80, 0xbf00, 0x4000, 0x3e80),
    };
    for (const [dtype, data] of Object.entries(bits)) {
      const tensor = { dtype, shape: [1, 2, 2], data };
      const bytes = file({ 'a.q': tensor, 'a.k': tensor }, [{ name: 'a' }]);
      expect(await error(bytes, 'a', exact, exact, {})).toBeLessThan(1e-6);
      expect(await error(new Blob([bytes as BlobPart]), 'a', exact, exact, {})).toBeLessThan(1e-6);
    }
  });

  test('texts, names and values come back; a second saving gives the same bytes', async () => {
    const [q, k, v] = [floats([4, 3, 2]), floats([2, 5, 2]), floats([2, 5, 3])];
    const projection = floats([6, 12]);
    const text = {
      text: 'ab c',
      tokens: ['<s>', 'ab', ' c'],
      offsets: [
        [0, 0],
        [0, 2],
        [2, 4],
      ] as const,
      words: [-1, 0, 1],
      wordSpans: [
        [0, 2],
        [3, 4],
      ] as const,
    };
    const keys = {
      ...text,
      tokens: ['p', 'q', 'r', 's', 't'],
      words: [0, 0, 0, 1, 1],
      offsets: Array(5).fill([0, 1]),
    };
    const names = { name: 'a.b', queries: 'one', keys: '__proto__', predicts: 'one' };
    const texts = Object.fromEntries([
      ['one', text],
      ['__proto__', keys],
    ]);
    const trace = createTrace(
      {
        model: 'modèle',
        texts,
        entries: [{ ...names, q, k, v, projection, options: { keyLengths: Int32Array.of(4) } }],
      },
      { engine },
    );
    const bytes = await saveTrace(trace);
    const opened = await openTrace(bytes, { engine });
    expect(opened.model).toBe('modèle');
    expect(opened.texts).toEqual(texts);
    const [entry] = opened.entries;
    expect({ ...names, shape: entry.shape, D: entry.D }).toMatchObject({ ...names, shape: [4, 3, 5], D: 2 });
    expect([entry.name, entry.queries, entry.keys, entry.predicts]).toEqual(Object.values(names));
    expect(entry.options).toEqual({ keyLengths: [4] });
    const values = (await entry.values())!;
    expect(values.v.shape).toEqual([4, 5, 3]);
    expect(Array.from(values.v.data.subarray(15, 30), Number)).toEqual(Array.from(v.data.subarray(0, 15)));
    const norms = await valueWeightedNorms(await entry.map(), values);
    expect(norms.shape).toEqual([3, 5]);
    expect(norms.data[4]).toBe(0);
    expect(norms.data[0]).toBeGreaterThan(0);
    expect(await saveTrace(opened)).toEqual(bytes);
    expect(
      await createTrace({ entries: [{ name: 'a', q, k: floats([4, 3, 2]) }] }).entries[0].values(),
    ).toBeUndefined();
    opened.dispose();
    trace.dispose();
  });

  test('a text of tokens alone: each is a word', async () => {
    const q = floats([1, 2, 2]);
    const bytes = file({ 'a.q': q, 'a.k': q }, [{ name: 'a', queries: 't' }], {
      texts: { t: { tokens: ['ab', 'c'] } },
    });
    const { texts } = await openTrace(bytes);
    expect(texts.t).toEqual({
      text: 'ab c',
      tokens: ['ab', 'c'],
      offsets: [
        [0, 2],
        [3, 4],
      ],
      words: [0, 1],
      wordSpans: [
        [0, 2],
        [3, 4],
      ],
    });
  });
});

/** A file's bytes; `more` goes over the metadata's fields. */
function file(tensors: Record<string, object>, entries: unknown, more: object = {}): Uint8Array {
  const json = { format: 'fovea-trace', version: 1, entries, ...more };
  return serializeSafetensors(Object.entries(tensors) as never, [['fovea', JSON.stringify(json)]]);
}

describe('reading', () => {
  // More than is read at a time.
  const q = floats([2, 9000, 64]);
  const bytes = () =>
    file({ 'a.q': q, 'a.k': q, 'b.q': floats([1, 2, 4]), 'b.k': floats([1, 2, 4]) }, [
      { name: 'a', options: { causal: true } },
      { name: 'b' },
    ]);

  test('the header first, tensors when a map is asked for, each once, in pieces', async () => {
    const all = bytes();
    const reads: [number, number][] = [];
    let closed = 0;
    const source = {
      size: all.length,
      read(offset: number, length: number) {
        reads.push([offset, length]);
        return all.slice(offset, offset + length);
      },
      close: () => {
        closed++;
      },
    };
    const before = engine.memory.tensors;
    const trace = await openTrace(source, { engine });
    const header = reads.splice(0).reduce((sum, [, length]) => sum + length, 0);
    expect(header).toBeLessThan(1000);
    const [a] = trace.entries;
    const maps = await Promise.all([a.map(), a.map()]);
    expect(maps[0]).toBe(maps[1]);
    expect(reads.reduce((sum, [, length]) => sum + length, 0)).toBe(2 * q.data.byteLength);
    const largest = Math.max(...reads.map(([, length]) => length));
    expect(largest).toBe(4 << 20);
    const row = await maps[0].row({ head: 1, query: 1500 });
    expect(Math.abs(row.reduce((sum, w) => sum + w, 0) - 1)).toBeLessThan(1e-5);
    trace.dispose();
    expect(closed).toBe(1);
    expect(engine.memory.tensors).toBe(before);
    await expect(maps[0].row({ head: 0, query: 0 })).rejects.toMatchObject({ code: 'FOVEA_ENGINE' });
    await expect(a.map()).rejects.toThrow(/a used after its trace was disposed/);
    await expect(a.values()).rejects.toMatchObject({ code: 'FOVEA_ENGINE' });
  });

  test('from a path, bytes, a Blob and a reader: the same weights', async () => {
    const path = join(folder, 'same.safetensors');
    const all = bytes();
    await writeFile(path, all);
    const odd = new Uint8Array(all.length + 1).subarray(1);
    odd.set(all);
    const sources: Source[] = [
      path,
      all,
      odd,
      new Blob([all as BlobPart]),
      { size: all.length, read: (at, n) => all.subarray(at, at + n) },
    ];
    const rows: number[][] = [];
    for (const source of sources) {
      const trace = await openTrace(source, { engine });
      rows.push(Array.from(await (await trace.entries[0].map()).row({ head: 1, query: 2000 })));
      trace.dispose();
    }
    for (const row of rows) expect(row).toEqual(rows[0]);
  });

  test('bytes in memory are viewed, not copied', async () => {
    const all = bytes();
    const trace = await openTrace(all, { engine });
    const read = await trace.entries[0].read('q');
    expect(read!.data.buffer).toBe(all.buffer);
  });

  test('a file cut or replaced after its header was read', async () => {
    const path = join(folder, 'cut.safetensors');
    const all = bytes();
    await writeFile(path, all);
    const trace = await openTrace(path, { engine });
    await truncate(path, all.length - 8);
    const before = engine.memory.tensors;
    await expect(Promise.all(trace.entries.map((entry) => entry.map()))).rejects.toMatchObject({
      code: 'FOVEA_FILE_FORMAT',
      message: expect.stringMatching(/expected \d+ bytes at \d+, got \d+/),
    });
    await writeFile(path, all);
    expect((await trace.entries[0].map()).shape).toEqual([1, 2, 9000, 9000]);
    trace.dispose();
    expect(engine.memory.tensors).toBe(before);
  });

  test('disposed while a map is on its way: it rejects, and leaves nothing', async () => {
    const before = engine.memory.tensors;
    const trace = await openTrace(new Blob([bytes() as BlobPart]), { engine });
    const map = trace.entries[0].map();
    trace.dispose();
    await expect(map).rejects.toMatchObject({ code: 'FOVEA_ENGINE' });
    expect(engine.memory.tensors).toBe(before);
  });

  test('what is no source', async () => {
    for (const source of [null, 7, {}, [], new Float32Array(2), { size: -1, read: () => new Uint8Array() }])
      await expect(openTrace(source as never)).rejects.toMatchObject({ code: 'FOVEA_OPTION' });
    await expect(openTrace(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(openTrace(folder)).rejects.toThrow(/expected a file/);
    await expect(openTrace({ size: 100, read: () => 'text' as never })).rejects.toThrow(
      /expected 8 bytes at 0, got "text"/,
    );
  });
});

describe('files from outside', () => {
  const q = floats([2, 3, 4]);
  const k = floats([2, 5, 4]);
  const tensors = { 'a.q': q, 'a.k': k };
  const entry = { name: 'a' };
  const withNumber = (shape: number[], at: number, x: number) => {
    const tensor = floats(shape);
    tensor.data[at] = x;
    return tensor;
  };
  const half = { dtype: 'float16', shape: [2, 5, 4], data: new Uint16Array(40).fill(0x7c00, 39) };

  test.each<[string, Uint8Array, RegExp]>([
    ['nothing', new Uint8Array(0), /expected 8 bytes of header length, got a file of 0 bytes/],
    ['text', new TextEncoder().encode('hello world, this is no trace'), /header/],
    [
      'a header longer than the file',
      Uint8Array.of(255, 0, 0, 0, 0, 0, 0, 0, 123),
      /header of 255 bytes goes beyond/,
    ],
    ['a file cut short', file(tensors, [entry]).subarray(0, -1), /data_offsets within 255 bytes/],
    [
      'no metadata',
      serializeSafetensors(Object.entries(tensors)),
      /metadata "fovea", found none: not a trace/,
    ],
    ['metadata that is not JSON', serializeSafetensors([], [['fovea', '{"format":']]), /"fovea" is not JSON/],
    [
      'another format',
      file(tensors, [entry], { format: 'other' }),
      /format: expected "fovea-trace", got "other"/,
    ],
    ['a newer version', file(tensors, [entry], { version: 2 }), /version 2 is newer than this program's 1/],
    ['no version', file(tensors, [entry], { version: 'one' }), /version: expected a number/],
    ['no entries', file({}, undefined), /entries: expected a list, got nothing/],
    ['a name twice', file(tensors, [entry, entry]), /entries\[1\]\.name: "a" is given twice/],
    ['no name', file(tensors, [{}]), /entries\[0\]\.name: expected a string, got nothing/],
    ['no k', file({ 'a.q': q }, [entry]), /trace: a: expected a tensor k, found none/],
    ['no tensors', file({}, [entry]), /expected a tensor q, found none/],
    [
      'a tensor of no entry',
      file({ ...tensors, 'b.q': q }, [entry]),
      /tensor "b\.q" is none of an entry's q, k/,
    ],
    ['an unknown tensor', file({ ...tensors, 'a.dropout': q }, [entry]), /tensor "a\.dropout" is none/],
    [
      'an unknown option',
      file(tensors, [{ name: 'a', options: { rope: 1 } }]),
      /options\.rope: expected one of causal/,
    ],
    [
      'an option of the wrong kind',
      file(tensors, [{ name: 'a', options: { window: 3 } }]),
      /a: window is \[left, right\]/,
    ],
    [
      'causal between unequal lengths',
      file(tensors, [{ name: 'a', options: { causal: true } }]),
      /causal: true needs Lq = Lk/,
    ],
    [
      'a scale that makes scores leave float32',
      file(tensors, [{ name: 'a', options: { scale: -1e10 } }]),
      /a: scale goes up to 2\^32 either way in a trace, got -10000000000/,
    ],
    [
      'heads without end and without bytes',
      file({ 'a.q': floats([70_000, 0, 4]), 'a.k': floats([1, 0, 4]) }, [entry]),
      /a\.q: expected at most 65536 heads, got 70000/,
    ],
    [
      'keyLengths beyond Lk',
      file(tensors, [{ name: 'a', options: { keyLengths: [6] } }]),
      /expected 0 to Lk = 5/,
    ],
    [
      'keyLengths of two',
      file(tensors, [{ name: 'a', options: { keyLengths: [1, 2] } }]),
      /keyLengths: expected a list of one/,
    ],
    [
      'q of rank 2',
      file({ ...tensors, 'a.q': floats([3, 4]) }, [entry]),
      /a\.q: expected shape \[H, Lq, D\], got \[3, 4\]/,
    ],
    ['widths that differ', file({ ...tensors, 'a.k': floats([2, 5, 3]) }, [entry]), /trace: a: k/],
    [
      'heads that do not divide',
      file({ ...tensors, 'a.q': floats([3, 3, 4]) }, [entry]),
      /q has 3 heads, not a multiple/,
    ],
    [
      'integer q',
      file({ ...tensors, 'a.q': { shape: [2, 3, 4], data: new Int32Array(24) } }, [entry]),
      /a\.q: expected floats, got int32/,
    ],
    [
      'a float mask',
      file({ ...tensors, 'a.mask': floats([3, 5]) }, [entry]),
      /a\.mask: expected bool, got float32/,
    ],
    [
      'a mask that does not broadcast',
      file({ ...tensors, 'a.mask': bools([2, 5]) }, [entry]),
      /mask of shape \[2, 5\] does not broadcast/,
    ],
    [
      'logSumExp of another shape',
      file({ ...tensors, 'a.logSumExp': floats([3, 2]) }, [entry]),
      /a\.logSumExp: expected shape \[2, 3\], got \[3, 2\]/,
    ],
    [
      'v without projection',
      file({ ...tensors, 'a.v': floats([2, 5, 4]) }, [entry]),
      /v and projection come together/,
    ],
    [
      'projection of another shape',
      file({ ...tensors, 'a.v': k, 'a.projection': floats([8, 4]) }, [entry]),
      /a\.projection: expected shape \[any, 8\]/,
    ],
    [
      'a text that is not there',
      file(tensors, [{ name: 'a', keys: 'toString' }]),
      /entries\[0\]\.keys: expected the name of a text/,
    ],
    [
      'a text of another length',
      file(tensors, [{ name: 'a', keys: 't' }], { texts: { t: { tokens: ['x'] } } }),
      /expected 5 tokens of keys, text "t" has 1/,
    ],
    [
      'tokens that are no strings',
      file(tensors, [entry], { texts: { t: { tokens: [1] } } }),
      /texts\.t\.tokens: expected a list of strings/,
    ],
    [
      'offsets outside',
      file(tensors, [entry], {
        texts: { t: { text: 'a', tokens: ['a'], offsets: [[0, 2]], words: [0], wordSpans: [[0, 1]] } },
      }),
      /offsets: expected a list of 1 \[start, end\)/,
    ],
    [
      'words outside',
      file(tensors, [entry], {
        texts: { t: { text: 'a', tokens: ['a'], offsets: [[0, 1]], words: [1], wordSpans: [[0, 1]] } },
      }),
      /words: expected a list of 1 numbers/,
    ],
  ])('%s', async (_, bytes, message) => {
    await expect(openTrace(bytes)).rejects.toMatchObject({
      code: 'FOVEA_FILE_FORMAT',
      message: expect.stringMatching(message),
    });
    await expect(openTrace(new Blob([bytes as BlobPart]))).rejects.toMatchObject({
      code: 'FOVEA_FILE_FORMAT',
    });
  });

  test('any bytes changed: FileFormatError, or weights that are finite', async () => {
    const random = seeded(21);
    const [q, k] = [randomTensor(random, [2, 3, 4]), randomTensor(random, [2, 5, 4])];
    const options = { causal: 'lower-right', softcap: 3, window: [2, -1] };
    const { logSumExp } = await attention(q, k, k, { ...(options as object), engine });
    const whole = file(
      { 'a.q': q, 'a.k': k, 'a.logSumExp': logSumExp },
      [{ name: 'a', keys: 't', options }],
      {
        texts: { t: { tokens: ['a', 'b', 'c', 'd', 'e'] } },
      },
    );
    const header = new DataView(whole.buffer).getUint32(0, true);
    const JSON_BYTES = new TextEncoder().encode('0123456789[]{},:"-e.tf');
    const below = (n: number) => Math.floor(random() * n);
    let refused = 0;
    for (let n = 0; n < 400; n++) {
      const bytes = whole.slice();
      for (let changes = 1 + below(3); changes > 0; changes--) {
        const at = below(4) ? 8 + below(header) : below(bytes.length);
        bytes[at] = at < 8 + header && below(4) ? JSON_BYTES[below(JSON_BYTES.length)] : below(256);
      }
      try {
        const trace = await openTrace(below(2) ? bytes : new Blob([bytes as BlobPart]), { engine });
        for (const { map } of trace.entries.map((entry) => ({ map: entry.map() })))
          expect((await (await map).toTensor()).data.every((w) => w >= 0 && w < 1.06)).toBe(true);
        trace.dispose();
      } catch (error) {
        expect(error).toMatchObject({ code: 'FOVEA_FILE_FORMAT' });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  test('a newer minor version, and fields that are not known, are read', async () => {
    const newer = file(tensors, [{ ...entry, colour: 'red' }], { version: 1.5, author: 'A. Nonymous' });
    expect((await openTrace(newer)).entries[0].shape).toEqual([2, 3, 5]);
  });

  test('offsets beyond the file, or that leave a gap', async () => {
    const bytes = file(tensors, [entry]);
    const length = new DataView(bytes.buffer).getUint32(0, true);
    const header = new TextDecoder().decode(bytes.subarray(8, 8 + length));
    for (const [from, to] of [
      ['[0,160]', '[0,999]'],
      ['[160,256]', '[999,960]'],
      ['[160,256]', '[156,252]'],
    ]) {
      expect(header).toContain(from);
      const wrong = bytes.slice();
      wrong.set(new TextEncoder().encode(header.replace(from, to)), 8);
      await expect(openTrace(wrong)).rejects.toMatchObject({ code: 'FOVEA_FILE_FORMAT' });
    }
  });

  test.each<[string, Record<string, object>, RegExp]>([
    [
      'NaN in q',
      { 'a.q': withNumber([2, 3, 4], 13, Number.NaN) },
      /"a\.q": expected numbers up to 2\^40 in size, got NaN at \[1, 0, 1\]/,
    ],
    [
      '−∞ in k',
      { 'a.k': withNumber([2, 5, 4], 0, Number.NEGATIVE_INFINITY) },
      /"a\.k": expected numbers up to 2\^40 in size, got -Infinity/,
    ],
    ['∞ in float16 k', { 'a.k': half }, /"a\.k": expected numbers .* in size, got Infinity at \[1, 4, 3\]/],
    [
      '∞ in logSumExp',
      { 'a.logSumExp': withNumber([2, 3], 5, Number.POSITIVE_INFINITY) },
      /"a\.logSumExp": expected numbers up to 2\^120, or −∞, got Infinity at \[1, 2\]/,
    ],
    [
      'NaN in bias',
      { 'a.bias': withNumber([5], 1, Number.NaN) },
      /"a\.bias": expected numbers up to 2\^120, or −∞, got NaN/,
    ],
    [
      'a q that makes scores leave float32',
      { 'a.q': { ...q, data: q.data.with(4, -1e13) } },
      /"a\.q": expected numbers up to 2\^40 in size, got -\d+ at \[0, 1, 0\]/,
    ],
    [
      'a float64 k beyond float32',
      { 'a.k': { shape: [2, 5, 4], data: new Float64Array(40).fill(1e300, 39) } },
      /"a\.k": expected numbers up to 2\^40 in size, got 1e\+300 at \[1, 4, 3\]/,
    ],
    [
      'a huge bias',
      { 'a.bias': { shape: [5], data: new Float32Array(5).fill(2e36, 4) } },
      /"a\.bias": expected numbers up to 2\^120/,
    ],
    [
      'NaN in bfloat16 alibi',
      { 'a.alibi': { dtype: 'bfloat16', shape: [2], data: Uint16Array.of(0, 0x7fc0) } },
      /"a\.alibi": expected numbers up to 2\^40/,
    ],
  ])('%s is refused when it is read', async (_, wrong, message) => {
    const bytes = file({ ...tensors, ...wrong }, [entry]);
    for (const source of [bytes, new Blob([bytes as BlobPart])]) {
      const before = engine.memory.tensors;
      const trace = await openTrace(source, { engine });
      await expect(trace.entries[0].map()).rejects.toMatchObject({
        code: 'FOVEA_FILE_FORMAT',
        message: expect.stringMatching(message),
      });
      trace.dispose();
      expect(engine.memory.tensors).toBe(before);
    }
  });

  test('NaN in a later piece of a file: its place', async () => {
    const large = withNumber([1, 20_000, 64], 20_000 * 64 - 2, Number.NaN);
    const bytes = file({ 'a.q': k, 'a.k': k, 'a.bias': floats([5]), 'b.q': large, 'b.k': large }, [
      entry,
      { name: 'b' },
    ]);
    const trace = await openTrace(new Blob([bytes as BlobPart]), { engine });
    await expect(trace.entries[1].map()).rejects.toThrow(
      /"b\.q": expected numbers .* got NaN at \[0, 19999, 62\]/,
    );
    expect((await trace.entries[0].map()).shape).toEqual([1, 2, 5, 5]);
    trace.dispose();
  });

  test('−∞ in float16: legal in bias, not in q', async () => {
    const bits = Uint16Array.of(0x3c00, 0, 0xfc00, 0, 0xc000);
    const bias = { dtype: 'float16', shape: [5], data: bits };
    const exact = { shape: [5], data: Float32Array.of(1, 0, Number.NEGATIVE_INFINITY, 0, -2) };
    expect(
      await error(file({ ...tensors, 'a.bias': bias }, [entry]), 'a', q, k, { bias: exact }),
    ).toBeLessThan(1e-6);
    const wrong = { dtype: 'float16', shape: [1, 1, 5], data: bits };
    const trace = await openTrace(file({ 'a.q': wrong, 'a.k': wrong }, [entry]), { engine });
    await expect(trace.entries[0].map()).rejects.toThrow(
      /"a\.q": expected numbers .* got -Infinity at \[0, 0, 2\]/,
    );
  });

  test('−∞ in bias, sinks and logSumExp stands for what is not there', async () => {
    const row = floats([2, 3]);
    const bias = { shape: [3, 5], data: new Float32Array(15).fill(Number.NEGATIVE_INFINITY, 10) };
    const sinks = { shape: [2], data: new Float32Array(2).fill(Number.NEGATIVE_INFINITY) };
    const { logSumExp } = await attention(q, k, k, { bias, sinks, engine });
    row.data.set(logSumExp.data);
    const bytes = file({ ...tensors, 'a.bias': bias, 'a.sinks': sinks, 'a.logSumExp': row }, [entry]);
    expect(row.data[5]).toBe(Number.NEGATIVE_INFINITY);
    expect(await error(bytes, 'a', q, k, { bias, sinks })).toBeLessThan(1e-6);
  });

  test('a wrong call of createTrace is a typed error that names the entry', () => {
    const make = (more: object) => () => createTrace({ entries: [{ name: 'a', q, k, ...more }] });
    expect(make({ k: floats([2, 5, 3]) })).toThrow(expect.objectContaining({ code: 'FOVEA_SHAPE' }));
    expect(make({ options: { dropout: { rate: 0.1, seed: 1 } } })).toThrow(
      /a: option dropout does not go into a trace/,
    );
    expect(make({ options: { keyLengths: Int32Array.of(1, 2) } })).toThrow(
      /a: keyLengths: expected one number/,
    );
    expect(make({ name: '' })).toThrow(/name: expected a string/);
    expect(make({ queries: 'none' })).toThrow(/queries: expected the name of a text/);
    expect(make({ q: q.data })).toThrow(/trace: a\.q/);
  });
});

describe('a logSumExp', () => {
  const [H, L, D] = [2, 40, 16];
  const random = seeded(11);
  const [q, k] = [
    randomTensor(random, [H, L, D], 'float32', 2),
    randomTensor(random, [H, L, D], 'float32', 2),
  ];
  const options = { causal: true };
  const causal = { name: 'a', options };
  const exact = async () =>
    new Float64Array((await attention(q, k, k, { ...options, engine })).logSumExp.data);
  const withRows = (data: Float64Array) =>
    file({ 'a.q': q, 'a.k': k, 'a.logSumExp': { shape: [H, L], data } }, [causal]);
  const questions: [string, (map: AttentionMap) => Promise<unknown>][] = [
    ['row', (map) => map.row({ head: 1, query: 3 })],
    ['tile', (map) => map.tile({ head: 1, queries: [2, 3], keys: [0, 1] })],
    ['pool', (map) => map.pool({ head: 1, rows: 4, columns: 4, reduce: 'max' })],
    ['refine', (map) => map.refine({ head: 1, rows: 4, columns: 4, reduce: 'sum' }).next()],
    ['received', (map) => map.received()],
    ['entropy', (map) => map.entropy()],
    ['diagonal', (map) => map.diagonal(0)],
    ['logSumExp', (map) => map.logSumExp({ head: 1, query: 9 })],
    ['toTensor', (map) => map.toTensor()],
  ];

  test.each(questions)(
    'wrong in one row: %s of that head is refused each time, others are answered',
    async (_, ask) => {
      const rows = await exact();
      rows[L + 17] += 0.1;
      for (const source of [withRows(rows), new Blob([withRows(rows) as BlobPart])]) {
        const before = engine.memory.tensors;
        const trace = await openTrace(source, { engine });
        const map = await trace.entries[0].map();
        for (let n = 0; n < 2; n++)
          await expect(ask(map)).rejects.toMatchObject({
            code: 'FOVEA_FILE_FORMAT',
            message: expect.stringMatching(
              /^trace: a: logSumExp does not belong to q and k: it is [\d.]+ of head 1, query 17, and [\d.]+ by their scores$/,
            ),
          });
        expect((await map.row({ head: 0, query: 3 })).reduce((sum, w) => sum + w, 0)).toBeCloseTo(1, 5);
        trace.dispose();
        expect(engine.memory.tensors).toBe(before);
      }
    },
  );

  test.each<[string, (rows: Float64Array) => Float64Array]>([
    ['in bits instead of nats', (rows) => rows.map((x) => x / Math.LN2)],
    ['of the other head', (rows) => Float64Array.of(...rows.subarray(L), ...rows.subarray(0, L))],
    ['all zero', (rows) => rows.fill(0)],
    ['all −∞', (rows) => rows.fill(Number.NEGATIVE_INFINITY)],
    ['huge', (rows) => rows.fill(1e9)],
  ])('%s', async (_, change) => {
    const trace = await openTrace(withRows(change(await exact())), { engine });
    const row = trace.entries[0].map().then((map) => map.row({ head: 0, query: 30 }));
    await expect(row).rejects.toThrow(/trace: a: logSumExp does not belong to q and k/);
    trace.dispose();
  });

  test('of a long head: some rows spread over all, with both ends, are compared', async () => {
    const [n, width] = [9000, 64];
    const long = randomTensor(random, [1, n, width]);
    const { logSumExp } = await attention(long, long, long, { engine });
    const open = async (from: number, to: number) => {
      const data = logSumExp.data.slice().fill(0, from, to);
      const rows = { shape: [1, n], data };
      return (
        await openTrace(file({ 'a.q': long, 'a.k': long, 'a.logSumExp': rows }, [{ name: 'a' }]), { engine })
      ).entries[0].map();
    };
    for (const [from, to] of [
      [0, 1],
      [n - 1, n],
      [4000, 4400],
    ])
      await expect((await open(from, to)).row({ query: 77 })).rejects.toThrow(/does not belong/);
    const right = await (await open(0, 0)).row({ query: 77 });
    expect(right.reduce((sum, w) => sum + w, 0)).toBeCloseTo(1, 4);
  });

  test('of too few digits is computed again: weights within 1e-6', async () => {
    // Padding written as the least float32, as many programs do: in padded rows scores vanish beside it.
    const least = -3.4028234663852886e38;
    const bias = { shape: [L, L], data: new Float32Array(L * L).fill(least, (L - 1) * L) };
    const padded = new Float32Array((await attention(q, k, k, { bias, engine })).logSumExp.data);
    expect(padded[L - 1]).toBeLessThan(-3e38);
    const halves = { dtype: 'bfloat16', shape: [H, L], data: new Uint16Array(H * L).fill(0x4080) };
    const large = { shape: [H, L], data: new Float32Array(H * L).fill(5000) };
    const at = { shape: [H, L], data: padded };
    for (const [rows, own] of [
      [at, { bias }],
      [halves, {}],
      [large, {}],
    ] as const) {
      const bytes = file(
        { 'a.q': q, 'a.k': k, ...('bias' in own && { 'a.bias': bias }), 'a.logSumExp': rows },
        [{ name: 'a' }],
      );
      const trace = await openTrace(bytes, { engine });
      const map = await trace.entries[0].map();
      const same = await attentionMap(q, k, { ...own, engine });
      expect(maxError((await map.toTensor()).data, (await same.toTensor()).data)).toBeLessThan(1e-6);
      trace.dispose();
      same.dispose();
    }
  });

  describe('where the reference computes', () => {
    // No kernel serves a diagonal so far away together with a window: every key is allowed.
    const far = { causal: { offset: 2 ** 30 }, window: [2 ** 31 - 1, -1], allowReference: true } as const;
    const sinks = floats([H]);

    test.each(questions)(
      'wrong in one row: %s of that head is refused, others are answered',
      async (_, ask) => {
        const { logSumExp } = await attention(q, k, k, { sinks, engine });
        const rows = new Float64Array(logSumExp.data);
        rows[L + 17] += 0.1;
        const given = { shape: [H, L], data: rows };
        const map = await attentionMap(q, k, { ...far, sinks, logSumExp: given });
        for (let n = 0; n < 2; n++)
          await expect(ask(map)).rejects.toMatchObject({
            code: 'FOVEA_OPTION',
            message: expect.stringMatching(
              /^attentionMap: logSumExp does not belong .* of head 1, query 17, and /,
            ),
          });
        expect((await map.row({ head: 0, query: 3 })).every((w) => w > 0)).toBe(true);
      },
    );

    test('of too few digits is computed again, within 1e-6 of its own size', async () => {
      const { logSumExp } = await attention(q, k, k, { sinks, engine });
      const halves = { dtype: 'float16', shape: [H, L], data: new Uint16Array(H * L).fill(0x4900) };
      const map = await attentionMap(q, k, { ...far, sinks, logSumExp: halves });
      for (const query of [0, 21, L - 1]) {
        const right = logSumExp.data[L + query];
        const own = await map.logSumExp({ head: 1, query });
        expect(Math.abs(own - right)).toBeLessThan(1e-6 * Math.max(1, Math.abs(right)));
      }
    });
  });

  test('given to attentionMap or createTrace: OptionError', async () => {
    const logSumExp = { shape: [H, L], data: new Float32Array(H * L) };
    const map = await attentionMap(q, k, { logSumExp, engine });
    await expect(map.row({ head: 0, query: 1 })).rejects.toMatchObject({
      code: 'FOVEA_OPTION',
      message: expect.stringMatching(/^attentionMap: logSumExp does not belong to q and k/),
    });
    const trace = createTrace({ entries: [{ name: 'a', q, k, logSumExp }] }, { engine });
    await expect((await trace.entries[0].map()).row({ head: 0, query: 1 })).rejects.toMatchObject({
      code: 'FOVEA_OPTION',
    });
    trace.dispose();
  });
});

test('saving tells its progress and ends at a signal, of arrays and of a file', async () => {
  const [q, k] = [floats([1, 30_000, 64]), floats([1, 30_000, 64])];
  const held = createTrace({ entries: [{ name: 'a', q, k, logSumExp: floats([1, 30_000]) }] });
  const bytes = await saveTrace(held);
  const file = await openTrace(new Blob([bytes as BlobPart]));
  for (const trace of [held, file]) {
    const saved = await expectWatched(6, (watch) => saveTrace(trace, watch));
    expect(Buffer.compare(saved, bytes)).toBe(0);
    trace.dispose();
  }
});

test('what openTrace would refuse is not saved', async () => {
  const q = floats([1, 3, 4]);
  q.data[5] = Number.NaN;
  const trace = createTrace({ entries: [{ name: 'a', q, k: floats([1, 3, 4]) }] });
  await expect(saveTrace(trace)).rejects.toMatchObject({
    code: 'FOVEA_OPTION',
    message: 'trace: a.q: expected numbers up to 2^40 in size, got NaN at [0, 1, 1]',
  });
});

const python = spawnSync('python3', ['--version']).status === 0;
if (!python) console.log('The Python example of docs/trace-format.md was not run: no python3 here.');

test.skipIf(!python)('the Python example of docs/trace-format.md writes a trace', async () => {
  const doc = await readFile(join(import.meta.dirname, '../../docs/trace-format.md'), 'utf8');
  const code = doc.match(/```python\n([\s\S]*?)```/)![1];
  expect(code.trimEnd().split('\n').length).toBeLessThanOrEqual(21);
  const path = join(folder, 'python.safetensors');
  const run = spawnSync('python3', ['-', path], { input: code, encoding: 'utf8' });
  expect(run).toMatchObject({ status: 0, stderr: '' });
  const { tensors } = parseSafetensors(await readFile(path));
  const [q, k] = ['example.q', 'example.k'].map((name) => tensors.get(name)!);
  expect(q.shape).toEqual([2, 5, 4]);
  expect(new Set(toFloat32(q)).size).toBe(40);
  expect(await error(path, 'example', q, k, { causal: true })).toBeLessThan(1e-6);
  const trace = await openTrace(path);
  expect(trace.texts.sentence.tokens).toEqual(['Where', 'did', 'it', 'look', '?']);
  trace.dispose();
});
