// The checkpoint format: what is written is read, and what was tampered with is refused in one line.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Parameter } from '../../dist/autograd/parameter.js';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import { FileFormatError } from '../../dist/tensor/errors.js';
import { parseSafetensors, serializeSafetensors } from '../../dist/tensor/safetensors.js';
import {
  Adam,
  INITIAL_STATE,
  parseCheckpoint,
  restoreCheckpoint,
  serializeCheckpoint,
  WeightAverage,
} from '../../dist/train/index.js';

const identity = { config: 'c', data: 'd', tokenizer: 't', build: 'b' };
const state = {
  ...INITIAL_STATE,
  step: 7,
  epoch: 1,
  place: 2,
  averageSamples: 7,
  epochLoss: 0.1,
  smoothLoss: 2.5,
};

let engine: Engine;
let bytes: Uint8Array;

function makeBuffers(seed: number) {
  const fill = (from: number) => Float32Array.from({ length: 6 }, (_, i) => Math.fround(Math.sin(from + i)));
  const parameters = new Map([['w', Parameter.create(engine, 'w', [2, 3], fill(seed))]]);
  const adam = new Adam(parameters);
  const average = new WeightAverage(parameters, { kind: 'mean' });
  adam.m.get('w')!.write(fill(seed + 10));
  adam.v.get('w')!.write(fill(seed + 20));
  average.values.get('w')!.write(fill(seed + 30));
  const read = async () => {
    const tensors: Tensor[] = [
      parameters.get('w')!.value,
      adam.m.get('w')!,
      adam.v.get('w')!,
      average.values.get('w')!,
    ];
    return Promise.all(tensors.map(async (tensor) => [...((await tensor.read()) as Float32Array)]));
  };
  return { adam, average, read };
}

beforeAll(async () => {
  engine = await createEngine({ threads: 1 });
  bytes = await serializeCheckpoint(makeBuffers(1), state, identity);
});
afterAll(() => engine.dispose());

test('round trip: every number to the bit, state and identity', async () => {
  const checkpoint = parseCheckpoint(bytes);
  expect(checkpoint.state).toEqual(state);
  expect(checkpoint.identity).toEqual(identity);
  const other = makeBuffers(100);
  restoreCheckpoint(other, checkpoint);
  expect(await other.read()).toEqual(await makeBuffers(1).read());
  expect(other.average.samples).toBe(7);
});

/** The checkpoint with other metadata, or other tensors. */
function rewritten(change: Record<string, string | undefined>, dtype?: 'float64', drop?: string): Uint8Array {
  const { tensors, metadata } = parseSafetensors(bytes);
  for (const [key, value] of Object.entries(change)) {
    if (value === undefined) metadata.delete(key);
    else metadata.set(key, value);
  }
  if (drop) tensors.delete(drop);
  const list = Array.from(tensors, ([name, { shape, data }]) =>
    dtype === 'float64'
      ? ([name, { dtype, shape, data: Float64Array.from(data as Float32Array) }] as const)
      : ([name, { dtype: 'float32' as const, shape, data: data as Float32Array }] as const),
  );
  return serializeSafetensors(list, metadata);
}
const withState = (change: object) => rewritten({ state: JSON.stringify({ ...state, ...change }) });

test.each<[string, () => Uint8Array, RegExp]>([
  ['an empty file', () => new Uint8Array(0), /expected 8 bytes of header length, got a file of 0 bytes/],
  [
    'half of it',
    () => bytes.subarray(0, bytes.length >> 1),
    /header of \d+ bytes goes beyond the file|within \d+ bytes/,
  ],
  ['a byte less', () => bytes.subarray(0, bytes.length - 1), /within 95 bytes/],
  ['a byte more', () => Uint8Array.of(...bytes, 0), /expected 96 bytes of tensor data, got 97/],
  ['another format', () => rewritten({ format: undefined }), /expected format fovea-checkpoint, got none/],
  ['a newer version', () => rewritten({ version: '2' }), /expected version 1, got 2/],
  ['no state', () => rewritten({ state: undefined }), /metadata state: expected JSON/],
  ['a state that is no object', () => rewritten({ state: '3' }), /metadata state: expected an object, got 3/],
  ['a negative step', () => withState({ step: -1 }), /state\.step: expected a whole number from 0, got -1/],
  ['half a place', () => withState({ place: 0.5 }), /state\.place: expected a whole number from 0, got 0.5/],
  ['a loss that is text', () => withState({ epochLoss: '0' }), /state\.epochLoss: expected a number, got 0/],
  [
    'a missing counter',
    () => withState({ epoch: undefined }),
    /state\.epoch: expected a whole number from 0/,
  ],
  [
    'an identity without data',
    () => rewritten({ identity: '{"config":"c"}' }),
    /identity\.data: expected a string/,
  ],
  ['numbers of another type', () => rewritten({}, 'float64'), /tensor .*: expected float32, got float64/],
])('%s: FileFormatError that says why', (_, make, message) => {
  expect(() => parseCheckpoint(make())).toThrow(FileFormatError);
  expect(() => parseCheckpoint(make())).toThrow(message);
});

test('a tensor too few, or of another shape: FileFormatError that names it', () => {
  const fewer = parseCheckpoint(rewritten({}, undefined, 'adam.v.w'));
  expect(() => restoreCheckpoint(makeBuffers(1), fewer)).toThrow(
    'expected a tensor adam.v.w [2, 3], found none',
  );
  const { tensors, ...rest } = parseCheckpoint(bytes);
  const other = new Map(tensors).set('values.w', { shape: [3, 2], data: new Float32Array(6) });
  expect(() => restoreCheckpoint(makeBuffers(1), { tensors: other, ...rest })).toThrow(FileFormatError);
  expect(() => restoreCheckpoint(makeBuffers(1), { tensors: other, ...rest })).toThrow(
    'tensor values.w: expected shape [2, 3], got [3, 2]',
  );
});

test('a state from before runs could start from others has no earlier steps', () => {
  expect(parseCheckpoint(withState({ earlierSteps: undefined })).state.earlierSteps).toBe(0);
});
