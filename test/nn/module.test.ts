// Modules as trees of named parameters; initial values; the generator; fixed positions.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine } from '../../dist/engine/types.js';
import {
  DecoderLayer,
  LayerNorm,
  Linear,
  MultiHeadAttention,
  normal,
  type ParameterData,
  packedPositions,
  Random,
  resetTransformer,
  sinusoidalPositions,
  xavierNormal,
  xavierUniform,
} from '../../dist/nn/index.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 1 });
});
afterAll(() => engine.dispose());

const moments = (x: Float32Array) => {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  return { mean, deviation: Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length) };
};
const largest = (x: Float32Array) => x.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

test('parameter names are those of torch', () => {
  const options = { embedDim: 4, heads: 2, feedForwardDim: 6 };
  const layer = new DecoderLayer(engine, options, null);
  const attention = ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias'];
  expect([...layer.parameters().keys()].sort()).toEqual(
    [
      ...['self_attn', 'multihead_attn'].flatMap((m) => attention.map((p) => `${m}.${p}`)),
      ...['linear1', 'linear2', 'norm1', 'norm2', 'norm3'].flatMap((m) => [`${m}.weight`, `${m}.bias`]),
    ].sort(),
  );
  expect(layer.parameterCount).toBe(2 * (16 * 4 + 16) + 24 + 6 + 24 + 4 + 3 * 8);
  const separate = new MultiHeadAttention(engine, { embedDim: 4, heads: 2, kdim: 3, addBiasKV: true }, null);
  expect([...separate.parameters().keys()]).toEqual([
    ...['q_proj_weight', 'k_proj_weight', 'v_proj_weight', 'in_proj_bias'],
    ...['bias_k', 'bias_v', 'out_proj.weight', 'out_proj.bias'],
  ]);
  const bare = new MultiHeadAttention(engine, { embedDim: 4, heads: 2, bias: false }, null);
  expect([...bare.parameters().keys()]).toEqual(['in_proj_weight', 'out_proj.weight']);
  for (const module of [layer, separate, bare]) module.dispose();
});

test('loading wants exactly the names and shapes of the parameters', async () => {
  const linear = new Linear(engine, 2, 1, null);
  const entry = (numbers: number[], shape: number[]): ParameterData => ({
    data: Float32Array.from(numbers),
    shape,
  });
  const good: [string, ParameterData][] = [
    ['weight', entry([1, 2], [1, 2])],
    ['bias', entry([3], [1])],
  ];
  linear.load(new Map(good));
  expect(Array.from((await linear.weight.value.read()) as Float32Array)).toEqual([1, 2]);
  expect(() => linear.load(new Map([good[0]]))).toThrow('parameter bias is missing');
  expect(() => linear.load(new Map([...good, ['extra', entry([1], [1])]]))).toThrow('no parameter extra');
  expect(() => linear.load(new Map([good[0], ['bias', entry([1, 2], [2])]]))).toThrow(
    'bias has shape [2], expected [1]',
  );
  const wrong = { data: Float64Array.of(1) as unknown as Float32Array, shape: [1] };
  expect(() => linear.load(new Map([good[0], ['bias', wrong]]))).toThrow('must be a Float32Array');
  linear.dispose();
});

test('disposing a tree frees all its tensors, also after gradients were made', () => {
  const before = engine.memory.tensors;
  const layer = new DecoderLayer(engine, { embedDim: 4, heads: 2, feedForwardDim: 6 }, new Random(1));
  for (const parameter of layer.parameters().values()) parameter.grad;
  expect(engine.memory.tensors).toBeGreaterThan(before);
  layer.dispose();
  expect(engine.memory.tensors).toBe(before);
});

test('initial values: Xavier limits, torch defaults, moments within 5%', async () => {
  const random = new Random(1);
  const uniform = xavierUniform([300, 100], random);
  const limit = Math.sqrt(6 / 400);
  expect(largest(uniform)).toBeLessThanOrEqual(Math.fround(limit));
  expect(moments(uniform).deviation / (limit / Math.sqrt(3))).toBeCloseTo(1, 1);
  expect(moments(xavierNormal([300, 100], random)).deviation / Math.sqrt(2 / 400)).toBeCloseTo(1, 1);
  const gauss = moments(normal([100, 100], 2, random));
  expect(Math.abs(gauss.mean)).toBeLessThan(0.1);
  expect(Math.abs(gauss.deviation / 2 - 1)).toBeLessThan(0.05);

  const read = async (tensor: { read(): Promise<unknown> }) => (await tensor.read()) as Float32Array;
  const linear = new Linear(engine, 50, 40, random);
  expect(largest(await read(linear.weight.value))).toBeLessThanOrEqual(Math.fround(1 / Math.sqrt(50)));
  expect(largest(await read(linear.weight.value))).toBeGreaterThan(0.9 / Math.sqrt(50));
  resetTransformer(linear, random);
  expect(largest(await read(linear.weight.value))).toBeGreaterThan(0.9 * Math.sqrt(6 / 90));
  const norm = new LayerNorm(engine, 3);
  expect(Array.from(await read(norm.weight.value))).toEqual([1, 1, 1]);
  expect(Array.from(await read(norm.bias.value))).toEqual([0, 0, 0]);
  linear.dispose();
  norm.dispose();
});

test('the generator repeats itself from a seed and from a saved state, and is uniform', () => {
  const random = new Random(42);
  const first = Array.from({ length: 5 }, () => random.uint32());
  expect(
    Array.from(
      { length: 5 },
      (
        (r) => () =>
          r.uint32()
      )(new Random(42)),
    ),
  ).toEqual(first);
  expect(new Random(43).uint32()).not.toBe(first[0]);
  expect(new Random(2 ** 40 + 42).uint32()).not.toBe(first[0]);
  const state = random.state;
  const next = [random.uniform(), random.normal(), random.below(10)];
  random.state = state;
  expect([random.uniform(), random.normal(), random.below(10)]).toEqual(next);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 70_000; i++) counts[random.below(7)]++;
  // Chi-squared with 6 degrees of freedom: 30 is passed once in 25,000.
  expect(counts.reduce((sum, n) => sum + (n - 10_000) ** 2 / 10_000, 0)).toBeLessThan(30);
  const items = Array.from({ length: 20 }, (_, i) => i);
  expect(random.shuffle([...items])).not.toEqual(items);
  expect(random.shuffle([...items]).sort((a, b) => a - b)).toEqual(items);
  expect(() => new Random(-1)).toThrow('whole number');
  expect(() => {
    random.state = [0, 0, 0, 0];
  }).toThrow('not all 0');
});

test('xoshiro128** gives the numbers of its published definition', () => {
  const random = new Random(0);
  random.state = [1, 2, 3, 4];
  // Computed by hand from the definition: rotl(s1·5, 7)·9, then the linear step.
  expect([random.uint32(), random.uint32(), random.uint32()]).toEqual([11520, 0, 5927040]);
});

test('sinusoidal positions and packed indices', () => {
  const table = sinusoidalPositions(3, 4);
  expect(Array.from(table.subarray(0, 4))).toEqual([0, 1, 0, 1]);
  expect(table[8]).toBeCloseTo(Math.sin(2), 6);
  expect(table[10]).toBeCloseTo(Math.sin(2 / 100), 6);
  expect(table[11]).toBeCloseTo(Math.cos(2 / 100), 6);
  expect(() => sinusoidalPositions(3, 5)).toThrow('must be even');
  expect(Array.from(packedPositions([2, 0, 3]))).toEqual([0, 1, 0, 1, 2]);
});
