// A model folder: round trip in both precisions; whatever is wrong with its files is one clear line.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine } from '../../dist/engine/types.js';
import type { ModelConfig } from '../../dist/models/config.js';
import { fetchFolder } from '../../dist/models/fetch-folder.js';
import { type FileReader, loadModel, modelFiles } from '../../dist/models/files.js';
import { folderReader } from '../../dist/models/node-files.js';
import { Seq2Seq } from '../../dist/models/seq2seq.js';
import { seq2SeqShapes } from '../../dist/models/shapes.js';
import { Random } from '../../dist/nn/index.js';
import { FileFormatError, LimitError } from '../../dist/tensor/errors.js';
import { toHalf } from '../../dist/tensor/half.js';
import { parseSafetensors, serializeSafetensors } from '../../dist/tensor/safetensors.js';
import { loadTokenizer, trainBpe } from '../../dist/text/index.js';

const tokenizer = trainBpe(['a small cat', 'un petit chat'], {
  vocabularySize: 300,
  minimumCharacterCount: 1,
});
const config: ModelConfig = {
  task: 'translation',
  source: 'en',
  target: 'fr',
  vocabulary: loadTokenizer(tokenizer).vocabularySize,
  width: 8,
  heads: 2,
  feedForward: 12,
  encoderLayers: 1,
  decoderLayers: 2,
  activation: 'gelu',
  normEps: 1e-5,
  maximumLength: 20,
  pad: 0,
  start: 1,
  end: 2,
};

let engine: Engine;
let model: Seq2Seq;
let files: Map<string, Uint8Array>;
const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

beforeAll(async () => {
  engine = await createEngine({ threads: 1 });
  model = new Seq2Seq(engine, config, { random: new Random(5) });
  files = await modelFiles(model, config, 'float32');
  files.set('tokenizer.json', text(tokenizer));
});
afterAll(() => engine.dispose());

const reader =
  (from: ReadonlyMap<string, Uint8Array>): FileReader =>
  async (name) =>
    from.get(name)!;

async function valuesOf(of: Seq2Seq): Promise<Map<string, Float32Array>> {
  const out = new Map<string, Float32Array>();
  for (const [name, { value }] of of.parameters()) out.set(name, (await value.read()) as Float32Array);
  return out;
}

test('float32: written and read, every parameter to the bit, and the configuration', async () => {
  const loaded = await loadModel(engine, reader(files));
  expect(loaded.config).toEqual(config);
  expect(await valuesOf(loaded.model)).toEqual(await valuesOf(model));
  loaded.model.dispose();
});

test('float16: every parameter within half a unit in the last place (2^-11 of it, or 2^-25)', async () => {
  const half = await modelFiles(model, config, 'float16');
  half.set('tokenizer.json', files.get('tokenizer.json')!);
  expect(half.get('model.safetensors')!.length).toBeLessThan(0.7 * files.get('model.safetensors')!.length);
  const loaded = await loadModel(engine, reader(half));
  const got = await valuesOf(loaded.model);
  for (const [name, values] of await valuesOf(model)) {
    values.forEach((x, i) => {
      expect(Math.abs(got.get(name)![i] - x)).toBeLessThanOrEqual(Math.max(Math.abs(x) * 2 ** -11, 2 ** -25));
    });
  }
  loaded.model.dispose();
});

test('the shapes from the configuration alone are the parameters of the model', () => {
  const shapes = Array.from(model.parameters(), ([name, { shape }]) => [name, [...shape]]);
  expect([...seq2SeqShapes(config)].map(([name, shape]) => [name, [...shape]]).sort()).toEqual(shapes.sort());
});

test.each<['float16' | 'float32', number]>([
  ['float16', 70000],
  ['float16', Number.NaN],
  ['float32', Number.POSITIVE_INFINITY],
])('a weight that %s cannot hold (%d) is refused when it is written', async (dtype, value) => {
  const { value: tensor } = model.parameters().get('encoder.norm.weight')!;
  const held = (await tensor.read()) as Float32Array;
  tensor.write(Float32Array.from(held, (x, i) => (i === 3 ? value : x)));
  const error = await modelFiles(model, config, dtype).catch((e) => e);
  tensor.write(held);
  expect(error).toBeInstanceOf(LimitError);
  expect(error.message).toMatch(
    /^model\.safetensors: tensor encoder\.norm\.weight: weight \S+ at 3 is outside /,
  );
});

/** The safetensors file with its header changed; the tensors' bytes stay. */
function withHeader(
  change: (header: Record<string, { shape: number[]; data_offsets: number[] }>) => void,
): Uint8Array {
  const bytes = files.get('model.safetensors')!;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  change(header);
  const json = text(header);
  const out = new Uint8Array(8 + json.length + bytes.length - 8 - length);
  new DataView(out.buffer).setUint32(0, json.length, true);
  out.set(json, 8);
  out.set(bytes.subarray(8 + length), 8 + json.length);
  return out;
}

/** The safetensors file with tensors changed. */
function withTensors(change: (tensors: ReturnType<typeof parseSafetensors>['tensors']) => void): Uint8Array {
  const { tensors } = parseSafetensors(files.get('model.safetensors')!);
  change(tensors);
  return serializeSafetensors(tensors);
}
const NAME = 'decoder.norm.bias';
const set = (data: Float32Array | Uint16Array, dtype: 'float32' | 'float16' | 'bfloat16') =>
  withTensors((t) => t.set(NAME, { dtype, shape: [8], data }));
const zeros = (at: number, value: number) =>
  Float32Array.from({ length: 8 }, (_, i) => (i === at ? value : 0));

describe('what is wrong is a FileFormatError of one line', () => {
  const weights: [string, () => Uint8Array, RegExp][] = [
    ['an empty file', () => new Uint8Array(0), /got a file of 0 bytes/],
    ['truncated', () => files.get('model.safetensors')!.subarray(0, -7), /within \d+ bytes of data/],
    [
      'truncated in its header',
      () => files.get('model.safetensors')!.subarray(0, 50),
      /beyond the file of 50 bytes/,
    ],
    ['too long', () => Uint8Array.of(...files.get('model.safetensors')!, 0), /bytes of tensor data, got/],
    [
      'an offset beyond the file',
      () => withHeader((h) => (h[NAME].data_offsets = h[NAME].data_offsets.map((x) => x + 1e6))),
      /within \d+ bytes of data, got/,
    ],
    [
      'overlapping tensors',
      () => withHeader((h) => (h[NAME].data_offsets = [...h['decoder.norm.weight'].data_offsets])),
      /expected its bytes to start at \d+, got/,
    ],
    ['a huge shape', () => withHeader((h) => (h[NAME].shape = [2 ** 40])), /decoder\.norm\.bias/],
    [
      'shapes whose product overflows',
      () => withHeader((h) => (h[NAME].shape = [2 ** 30, 2 ** 30])),
      /decoder\.norm\.bias/,
    ],
    [
      'a tensor too few',
      () => withTensors((t) => t.delete(NAME)),
      /expected a tensor decoder\.norm\.bias \[8\], found none/,
    ],
    [
      'a tensor too many',
      () => withTensors((t) => t.set('more', { dtype: 'float32', shape: [1], data: new Float32Array(1) })),
      /unexpected tensor "more"/,
    ],
    [
      'another shape',
      () => withTensors((t) => t.set(NAME, { dtype: 'float32', shape: [2, 4], data: new Float32Array(8) })),
      /decoder\.norm\.bias: expected shape \[8\], got \[2, 4\]/,
    ],
    ['another dtype', () => set(new Uint16Array(8), 'bfloat16'), /expected float32 or float16, got bfloat16/],
    [
      'a NaN weight',
      () => set(zeros(5, Number.NaN), 'float32'),
      /decoder\.norm\.bias: expected finite weights, got NaN at 5/,
    ],
    [
      'an infinite weight',
      () => set(zeros(0, -Infinity), 'float32'),
      /expected finite weights, got -Infinity at 0/,
    ],
    [
      'an infinite half',
      () => set(Uint16Array.from(zeros(2, 1e9), toHalf), 'float16'),
      /expected finite weights, got Infinity at 2/,
    ],
  ];
  const configs: [string, object, RegExp][] = [
    ['another format', { format: 'x' }, /^config\.json: format: expected "fovea-model", got "x"/],
    [
      'a newer major version',
      { version: 2 },
      /^config\.json: version 2 is newer than this program's 1: update fovea/,
    ],
    ['another architecture', { architecture: 'gpt' }, /architecture: expected "seq2seq"/],
    ['a huge width', { width: 1e9 }, /width: expected a whole number from 2 to 8192, got 1000000000/],
    ['heads that do not divide', { heads: 3 }, /width: expected an even multiple of the 3 heads, got 8/],
    ['a mark outside the vocabulary', { end: 1e4 }, /end: expected a whole number from 0 to/],
    ['another activation', { activation: 'tanh' }, /activation: expected "relu" or "gelu"/],
    ['a missing field', { feedForward: undefined }, /feedForward: expected .*, got nothing/],
    ['a negative epsilon', { normEps: -1 }, /normEps: expected a number over 0 to 1, got -1/],
    [
      "a vocabulary that is not the tokenizer's",
      { vocabulary: 999 },
      /^tokenizer\.json: expected the 999 tokens/,
    ],
    ['more layers than the file has', { decoderLayers: 3 }, /expected a tensor decoder\.layers\.2/],
  ];
  const expectLine = async (change: [string, Uint8Array], message: RegExp) => {
    const before = engine.memory.tensors;
    const error = await loadModel(engine, reader(new Map(files).set(...change))).catch((e) => e);
    expect(error).toBeInstanceOf(FileFormatError);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
    expect(engine.memory.tensors).toBe(before);
  };
  test.each(weights)('model.safetensors: %s', (_, make, message) =>
    expectLine(['model.safetensors', make()], message),
  );
  test('the file is named, whatever is wrong with it', () =>
    expectLine(['model.safetensors', new Uint8Array(3)], /^model\.safetensors: expected 8 bytes of header/));
  test.each(configs)('config.json: %s', (_, change, message) => {
    const json = { ...JSON.parse(new TextDecoder().decode(files.get('config.json'))), ...change };
    return expectLine(['config.json', text(json)], message);
  });
  test.each<[string, Uint8Array, RegExp]>([
    ['config.json', text([1]), /^config\.json: expected a JSON object/],
    ['config.json', new TextEncoder().encode('{'), /^config\.json: not JSON/],
    ['config.json', Uint8Array.of(255, 254), /^config\.json: expected UTF-8 text/],
    ['tokenizer.json', text({ version: '1.0' }), /tokenizer/],
    ['tokenizer.json', new TextEncoder().encode('{"a'), /tokenizer/],
  ])('%s of other contents', (name, bytes, message) => expectLine([name, bytes], message));

  test('a missing file, a missing folder, a file for a folder', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fovea-model-'));
    for (const [name, bytes] of files) await writeFile(join(folder, name), bytes);
    (await loadModel(engine, folderReader(folder))).model.dispose();
    const fail = async (path: string) =>
      (await loadModel(engine, folderReader(path)).catch((e) => e)) as Error;
    expect((await fail(join(folder, 'no'))).message).toMatch(/no: expected a folder with .*, found nothing$/);
    expect((await fail(join(folder, 'config.json'))).message).toMatch(
      /expected a folder with .*, found a file$/,
    );
    await rm(join(folder, 'model.safetensors'));
    const error = await fail(folder);
    expect(error).toBeInstanceOf(FileFormatError);
    expect(error.message).toMatch(/expected config\.json, .*, found no model\.safetensors$/);
  });
});

test('a model whose loading fails leaves nothing in the engine', async () => {
  const before = engine.memory.tensors;
  vi.spyOn(Seq2Seq.prototype, 'load').mockImplementationOnce(() => {
    throw new Error('lost');
  });
  await expect(loadModel(engine, reader(files))).rejects.toThrow('lost');
  expect(engine.memory.tensors).toBe(before);
});

test('a bad address and a net that fails are told as such', async () => {
  expect(() => fetchFolder('http://')).toThrow(FileFormatError);
  const fails = vi.spyOn(globalThis, 'fetch').mockRejectedValueOnce(new TypeError('fetch failed'));
  const result = await fetchFolder('http://localhost/model')('config.json').catch((error) => error);
  fails.mockRestore();
  expect(result).toBeInstanceOf(FileFormatError);
  expect(result.message).toBe('model http://localhost/model: config.json cannot be fetched');
  expect(result.cause).toBeInstanceOf(TypeError);
});

test('a model that the memory runs out for leaves nothing in the engine', () => {
  const before = engine.memory;
  let [calls, failAt] = [0, 0];
  const original = { zeros: engine.zeros, tensor: engine.tensor };
  for (const name of ['zeros', 'tensor'] as const) {
    vi.spyOn(engine, name).mockImplementation((...args) => {
      if (++calls === failAt) throw new LimitError('out of memory');
      return original[name].apply(engine, args as never);
    });
  }
  try {
    for (const random of [null, new Random(1)]) {
      calls = failAt = 0;
      new Seq2Seq(engine, config, { random }).dispose();
      const all = calls;
      expect(all).toBeGreaterThan(50);
      for (failAt = 1; failAt <= all; failAt++) {
        calls = 0;
        expect(() => new Seq2Seq(engine, config, { random })).toThrow(LimitError);
        expect(engine.memory).toEqual(before);
      }
    }
  } finally {
    vi.restoreAllMocks();
  }
});
