// Boxes of host arrays into an engine and back, element by element as their counts and strides say: short runs and long,
// in every dtype, wherever the caller's array begins in its buffer.
import assert from 'node:assert/strict';
import type { Engine, Tensor } from '../../../dist/engine/types.js';
import { type Box, blockOf, download, scatter, sizeOfBox, upload } from '../../../dist/map/boxes.js';
import type { DType } from '../../../dist/tensor/dtype.js';
import type { HostTensor } from '../../../dist/tensor/host.js';
import { seeded } from '../../attention/calls.js';
import { generator, normals } from '../attention-cases.js';
import type { Step } from './lab.js';

function same(got: ArrayLike<number>, want: ArrayLike<number>, what: string): void {
  assert.equal(got.length, want.length, what);
  for (let n = 0; n < want.length; n++) if (!Object.is(got[n], want[n])) assert.equal(got[n], want[n], what);
}

/** Where the elements of a box lie, in order. */
function placesOf({ starts, dimensions }: Box): number[] {
  let places = [...starts];
  for (const [count, stride] of dimensions) {
    places = places.flatMap((at) => Array.from({ length: count }, (_, i) => at + i * stride));
  }
  return places;
}

const box = (starts: number[], ...dimensions: [number, number][]): Box => ({ starts, dimensions });

/** Rows beside each other and apart, one after another or broadcast, short and longer than what is staged. */
const boxes: Record<string, Box> = {
  nothing: box([], [3, 5], [5, 1]),
  'no rows': box([7], [0, 5], [5, 1]),
  'one run': box([3], [4, 6], [6, 1]),
  'one run of two entries': box([2, 26], [4, 6], [6, 1]),
  'entries that do not follow': box([26, 2], [4, 6], [6, 1]),
  'entries a run and a half apart': box([2, 38], [4, 6], [6, 1]),
  'two entries, one apart': box([2, 6, 12], [4, 1]),
  'short rows': box([1], [9, 11], [7, 1]),
  'short rows, no longer than 15': box([0], [5, 40], [15, 1]),
  'rows of 16': box([5], [5, 40], [16, 1]),
  'rows in heads': box([4, 504], [3, 8], [6, 24], [8, 1]),
  'heads in rows': box([4, 604], [6, 24], [2, 8], [8, 1]),
  'a broadcast row': box([9], [1, 0], [1, 0], [20, 1]),
  'a row given thrice': box([9], [3, 0], [20, 1]),
  'rows of 2047': box([8], [3, 2050], [2047, 1]),
  'rows of 2048': box([8], [3, 2056], [2048, 1]),
  'rows of 2048, not alike': box([1], [3, 2051], [2048, 1]),
  'short, then long': box([1, 8, 30_011], [1, 1], [9_001, 1]),
  'more than is staged': box([0], [1300, 26], [25, 1]),
  'one long run': box([12], [33_000, 1]),
};

function hostOf(dtype: DType, size: number): HostTensor {
  const random = seeded(size);
  const numbers = normals(size, generator(size));
  if (dtype === 'float64') return { dtype, shape: [size], data: Float64Array.from(numbers, (x) => x / 3) };
  if (dtype === 'bool')
    return {
      dtype,
      shape: [size],
      data: numbers.length ? new Uint8Array(numbers.map((x) => +(x > 0))) : new Uint8Array(0),
    };
  if (dtype === 'float16') {
    return {
      dtype,
      shape: [size],
      data: Uint16Array.from({ length: size }, () => Math.floor(random() * 0x7c00)),
    };
  }
  // A view that begins within a buffer, four bytes off.
  const whole = new Float32Array(size + 1);
  whole.set(numbers, 1);
  return { dtype, shape: [size], data: whole.subarray(1) };
}

/** A float16's number. */
function half(bits: number): number {
  const [exponent, rest] = [(bits >> 10) & 31, bits & 1023];
  return exponent === 0 ? rest * 2 ** -24 : (1 + rest / 1024) * 2 ** (exponent - 15);
}

function exactly({ dtype, data }: HostTensor, at: number): number {
  if (dtype === 'float16') return half(data[at] as number);
  return Math.fround(data[at] as number);
}

const uploads: Step[] = (['float32', 'float64', 'float16', 'bool'] as const).map((dtype) => ({
  name: `boxes of ${dtype} arrive as they are`,
  run: async ({ engine }) => {
    for (const [name, own] of Object.entries(boxes)) {
      const places = placesOf(own);
      assert.equal(sizeOfBox(own), places.length, name);
      assert.equal(blockOf(own), places.length / Math.max(1, own.starts.length) || blockOf(own), name);
      const host = hostOf(dtype, 64 + Math.max(0, ...places));
      const tensor = upload(engine, host, own);
      same(
        await tensor.read(),
        places.map((at) => exactly(host, at)),
        name,
      );
      tensor.dispose();
    }
    assert.equal(engine.memory.tensors, 0, 'tensors are left in the engine');
  },
}));

const biases: Step = {
  name: 'a bias stays finite, and −∞ stays −∞',
  run: async ({ engine }) => {
    const { POSITIVE_INFINITY: most, NEGATIVE_INFINITY: least, MAX_VALUE: large } = Number;
    const given = [1, -2.5, large, -large, most, least, 3.35e38, -3.35e38, 3.2e38, -3.2e38, Number.NaN];
    const bounded = [1, -2.5, 3.3e38, -3.3e38, most, least, 3.3e38, -3.3e38, 3.2e38, -3.2e38, Number.NaN];
    const own = box([0], [given.length, 1]);
    const read = async (host: HostTensor, options?: { bias: boolean }) => {
      const tensor = upload(engine, host, own, options);
      const got = Array.from((await tensor.read()) as Float32Array);
      tensor.dispose();
      return got;
    };
    const shape = [given.length];
    const wide: HostTensor = { dtype: 'float64', shape, data: Float64Array.from(given) };
    const narrow: HostTensor = { dtype: 'float32', shape, data: Float32Array.from(given) };
    assert.deepEqual(await read(wide, { bias: true }), bounded.map(Math.fround));
    const kept = Array.from(narrow.data as Float32Array);
    assert.deepEqual(await read(narrow), kept);
    const cut = kept.map((x) =>
      Number.isFinite(x) ? Math.max(-Math.fround(3.3e38), Math.min(Math.fround(3.3e38), x)) : x,
    );
    assert.deepEqual(await read(narrow, { bias: true }), cut);
    const bits = Uint16Array.from(given, (_, n) => 0x3c00 + n);
    const halves: HostTensor = { dtype: 'float16', shape, data: bits };
    assert.deepEqual(await read(halves, { bias: true }), Array.from(bits, half));
  },
};

/** Numbers of a tensor, and of what lay at the target before: float32's whole numbers add up exactly. */
async function arrives(engine: Engine, name: string, own: Box, wide: boolean, add: boolean): Promise<void> {
  const places = placesOf(own);
  if (new Set(places).size < places.length) return;
  const dense = Float32Array.from(places, (_, n) => (n % 9973) + 1);
  const before = Float64Array.from({ length: 64 + Math.max(0, ...places) }, (_, n) => -(n % 31));
  const expected = before.slice();
  places.forEach((at, n) => {
    expected[at] = dense[n] + (add ? before[at] : 0);
  });
  const copy = () => (wide ? before.slice() : new Float32Array(before));
  const [scattered, downloaded] = [copy(), copy()];
  scatter(dense, scattered, own, add);
  const tensor = engine.tensor(dense, [dense.length]);
  const reading = download(tensor, downloaded, own, add);
  tensor.dispose();
  await reading;
  for (const got of [scattered, downloaded]) same(got, expected, name);
}

const downloads: Step[] = [false, true].map((add) => ({
  name: `boxes go back to where they lie${add ? ', added' : ''}`,
  run: async ({ engine }) => {
    for (const [name, own] of Object.entries(boxes)) {
      for (const wide of [false, true]) await arrives(engine, name, own, wide, add);
    }
    assert.equal(engine.memory.tensors, 0, 'tensors are left in the engine');
  },
}));

/** Lengths of the copies that `move` makes: into the engine, out of it to where they belong, and of whole tensors. */
async function copiesOf(engine: Engine, move: () => Promise<void>): Promise<string> {
  const copies: string[] = [];
  const own = engine as unknown as Record<string, (...given: unknown[]) => unknown>;
  for (const [name, kind, at] of [
    ['writeTensor', 'in', 1],
    ['readTensorInto', 'out', 1],
    ['readTensor', 'all', 0],
  ] as const) {
    const whole = own[name].bind(engine);
    const value = (...given: unknown[]) => {
      copies.push(`${kind} ${(given[at] as { length: number; size: number })[at === 1 ? 'length' : 'size']}`);
      return whole(...given);
    };
    Object.defineProperty(engine, name, { value, configurable: true });
  }
  try {
    await move();
  } finally {
    for (const name of ['writeTensor', 'readTensorInto', 'readTensor']) delete own[name];
  }
  return copies.join(', ');
}

/** Float32 that begins four bytes off: runs from odd places lie as the engine's memory does. */
const copies: [Box, uploaded: string, downloaded: string][] = [
  [boxes['one run'], 'in 24', 'out 24'],
  [boxes['one run of two entries'], 'in 48', 'out 48'],
  [boxes['entries that do not follow'], 'in 48', 'all 48'],
  [boxes['rows of 2047'], 'in 6141', 'all 6141'],
  [boxes['rows of 2048'], 'in 6144', 'out 2048, out 2048, out 2048'],
  [boxes['rows of 2048, not alike'], 'in 2048, in 2048, in 2048', 'out 2048, out 2048, out 2048'],
  [boxes['short, then long'], 'in 9001, in 9001, in 9001', 'out 9001, out 9001, out 9001'],
  [boxes['more than is staged'], 'in 16384, in 16116', 'all 32500'],
  [boxes['one long run'], 'in 16384, in 16384, in 232', 'out 33000'],
  [box([1, 3001], [3000, 1]), 'in 6000', 'out 6000'],
  [box([1], [1, 7], [5000, 1]), 'in 5000', 'out 5000'],
];

const straight: Step = {
  name: 'long runs are copied at once, short ones together',
  run: async ({ engine }) => {
    for (const [own, uploaded, downloaded] of copies) {
      const host = hostOf('float32', 64 + Math.max(0, ...placesOf(own)));
      const target = new Float32Array(host.data.length);
      const wide = new Float64Array(host.data.length);
      let tensor: Tensor | undefined;
      const up = await copiesOf(engine, async () => {
        tensor = upload(engine, host, own);
      });
      assert.equal(up, uploaded);
      assert.equal(await copiesOf(engine, () => download(tensor!, target, own)), downloaded);
      const all = `all ${sizeOfBox(own)}`;
      assert.equal(await copiesOf(engine, () => download(tensor!, target, own, true)), all);
      assert.equal(await copiesOf(engine, () => download(tensor!, wide, own)), all);
      tensor!.dispose();
    }
  },
};

export const boxSteps: Step[] = [...uploads, biases, ...downloads, straight];
