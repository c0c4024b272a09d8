// Encoder and decoder: packed form, step-by-step decoding, memory of a training step, dropout, observers.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DropoutStream } from '../../dist/autograd/dropout-stream.js';
import { crossEntropy, embedding, linear } from '../../dist/autograd/ops.js';
import { Tape } from '../../dist/autograd/tape.js';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import {
  Decoder,
  DecodingState,
  Embedding,
  Encoder,
  LearnedPositions,
  packedPositions,
  packSequences,
  Random,
  SinusoidalPositions,
} from '../../dist/nn/index.js';
import { difference, type Host, randomHost, toEngine } from '../autograd/gradients.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
});
afterAll(() => engine.dispose());

const E = 8;
const SHAPE = { embedDim: E, heads: 2, feedForwardDim: 12, layers: 2 };
const SOURCE = [3, 5, 1];
const TARGET = [4, 2, 3];
const numbers = async (tensor: Tensor) => (await tensor.read()) as Float32Array;

/** Rows of the sequences alone, out of [B,L,E]. */
function unpad(
  { data, shape: [, L, W] }: { data: ArrayLike<number>; shape: readonly number[] },
  lengths: number[],
) {
  return lengths.flatMap((n, b) => Array.from({ length: n * W }, (_, i) => data[b * L * W + i]));
}

const packHost = (x: Host, lengths: number[]): Host => {
  const data = Float64Array.from(unpad(x, lengths));
  return { data, shape: [data.length / x.shape[2], x.shape[2]] };
};

/** A gradient that is 0 on padding, so that padded rows add nothing to parameters. */
function withoutPadding(x: Host, lengths: number[]): Host {
  const [, L, W] = x.shape;
  const data = x.data.map((v, i) => (Math.floor(i / W) % L < lengths[Math.floor(i / (L * W))] ? v : 0));
  return { data, shape: x.shape };
}

describe.each([
  ['pre-norm, gelu, final norm', { normFirst: true, activation: 'gelu', finalNorm: true }],
  ['post-norm, relu', { normFirst: false, activation: 'relu' }],
] as const)('%s', (_, style) => {
  test('packed equals padded within 1e-5: outputs, gradients of inputs and parameters', async () => {
    const random = new Random(4);
    const encoder = new Encoder(engine, { ...SHAPE, ...style }, random);
    const decoder = new Decoder(engine, { ...SHAPE, ...style }, random);
    const [src, tgt] = [randomHost(random, [3, 5, E]), randomHost(random, [3, 4, E])];
    const dy = withoutPadding(randomHost(random, [3, 4, E]), TARGET);
    const run = (packed: boolean) =>
      engine.scope(() => {
        const tape = new Tape(engine);
        const give = (x: Host, lengths: number[]) => toEngine(engine, packed ? packHost(x, lengths) : x);
        const [x, y] = [tape.watch(give(src, SOURCE)), tape.watch(give(tgt, TARGET))];
        const [source, target] = [packSequences(engine, SOURCE), packSequences(engine, TARGET)];
        const memory = encoder.forward(tape, x, packed ? { packed: source } : { keyLengths: SOURCE });
        const lengths = { keyLengths: TARGET, memory: { keyLengths: SOURCE } };
        const output = decoder.forward(tape, y, memory, {
          causal: true,
          ...(packed ? { packed: { target, memory: source } } : lengths),
        });
        tape.backward(output, give(dy, TARGET));
        return [output, tape.gradient(x)!, tape.gradient(y)!];
      });
    const modules = [encoder, decoder];
    const grads = async () =>
      Promise.all(modules.flatMap((m) => [...m.parameters().values()].map((p) => numbers(p.grad))));
    const padded = run(false);
    const paddedGrads = await grads();
    for (const module of modules) module.zeroGrad();
    const packed = run(true);
    const packedGrads = await grads();
    for (const [i, lengths] of [TARGET, SOURCE, TARGET].entries()) {
      const expected = unpad({ data: await numbers(padded[i]), shape: padded[i].shape }, lengths);
      expect(difference(await numbers(packed[i]), expected)).toBeLessThan(1e-5);
    }
    packedGrads.forEach((grad, i) => {
      expect(difference(grad, paddedGrads[i])).toBeLessThan(1e-5);
    });
    for (const tensor of [...padded, ...packed]) tensor.dispose();
    for (const module of modules) module.dispose();
  });

  test('step-by-step decoding equals the whole pass within 1e-5, through reordering and dropped sentences', async () => {
    const before = engine.memory.tensors;
    const random = new Random(6);
    const decoder = new Decoder(engine, { ...SHAPE, ...style }, random);
    const memory = randomHost(random, [9, E]);
    const beam = 2;
    // Each hypothesis is the list of inputs it was fed; `sentence` is the one it belongs to.
    let hypotheses = [0, 0, 1, 1, 2, 2].map((sentence) => ({ sentence, rows: [] as Float64Array[] }));
    const state = engine.scope(
      () =>
        new DecodingState(decoder, toEngine(engine, memory), packSequences(engine, SOURCE), {
          beam,
          capacity: 4,
        }),
    );
    const moves: (number[] | null)[] = [[1, 0, 2, 2, 5, 4], [3, 2, 0, 1], null, [1, 1]];
    for (const move of moves) {
      const x = randomHost(random, [hypotheses.length, E]);
      hypotheses.forEach(({ rows }, n) => {
        rows.push(x.data.slice(n * E, (n + 1) * E));
      });
      const y = engine.scope(() => state.step(toEngine(engine, x)));
      const whole = engine.scope(() => {
        const length = hypotheses[0].rows.length;
        const fed = {
          data: Float64Array.from(hypotheses.flatMap((h) => h.rows.flatMap((r) => [...r]))),
          shape: [hypotheses.length * length, E],
        };
        const starts = [0, 3, 8];
        const rows = hypotheses.flatMap(({ sentence: s }) => [
          ...memory.data.slice(starts[s] * E, (starts[s] + SOURCE[s]) * E),
        ]);
        const own = { data: Float64Array.from(rows), shape: [rows.length / E, E] };
        const target = packSequences(
          engine,
          hypotheses.map(() => length),
        );
        const source = packSequences(
          engine,
          hypotheses.map(({ sentence }) => SOURCE[sentence]),
        );
        return decoder.forward(null, toEngine(engine, fed), toEngine(engine, own), {
          causal: true,
          packed: { target, memory: source },
        });
      });
      const all = await numbers(whole);
      const last = hypotheses.flatMap((h, n) => [
        ...all.subarray(((n + 1) * h.rows.length - 1) * E, (n + 1) * h.rows.length * E),
      ]);
      expect(difference(await numbers(y), last)).toBeLessThan(1e-5);
      y.dispose();
      whole.dispose();
      if (move) {
        state.reorder(move);
        hypotheses = move.map((n) => ({ sentence: hypotheses[n].sentence, rows: [...hypotheses[n].rows] }));
      }
      expect(state.rows).toBe(hypotheses.length);
    }
    expect(state.position).toBe(4);
    engine.scope(() => {
      expect(() => state.step(engine.zeros([2, E]))).toThrow('holds 4 positions and is full');
      expect(() => state.step(engine.zeros([3, E]))).toThrow('x has shape [3,8], expected [2,8]');
    });
    expect(() => state.reorder([0])).toThrow('not a multiple of beam 2');
    expect(() => state.reorder([0, 7])).toThrow('index[1] must be a row from 0 to 1, got 7');
    state.dispose();
    decoder.dispose();
    expect(engine.memory.tensors, 'tensors left behind').toBe(before);
  });
});

test('a reordering may not mix the hypotheses of two sentences', () => {
  const decoder = new Decoder(engine, { ...SHAPE, layers: 1 }, null);
  const state = engine.scope(
    () =>
      new DecodingState(decoder, engine.zeros([3, E]), packSequences(engine, [1, 2]), {
        beam: 2,
        capacity: 1,
      }),
  );
  expect(() => state.reorder([0, 2])).toThrow('another sentence');
  state.dispose();
  decoder.dispose();
});

describe('a training step', () => {
  const V = 11;
  const build = (on: Engine = engine) => {
    const random = new Random(9);
    const options = { ...SHAPE, dropout: 0.2, normFirst: true, finalNorm: true };
    return {
      table: new Embedding(on, V, E, random, { scale: Math.sqrt(E), deviation: E ** -0.5 }),
      positions: new SinusoidalPositions(on, 16, E),
      encoder: new Encoder(on, options, random),
      decoder: new Decoder(on, options, random),
    };
  };
  type Model = ReturnType<typeof build>;
  const ids = (lengths: number[], seed: number) => {
    const generator = new Random(seed);
    return Int32Array.from(packedPositions(lengths), () => generator.below(V));
  };

  function step({ table, positions, encoder, decoder }: Model, dropout: DropoutStream) {
    const { engine: on } = encoder;
    return on.scope(() => {
      const int = (data: Int32Array) => on.tensor(data, [data.length]);
      const tape = new Tape(on, { dropout });
      const [source, target] = [packSequences(on, SOURCE), packSequences(on, TARGET)];
      const place = (lengths: number[]) => ({ table: positions, index: int(packedPositions(lengths)) });
      const x = table.forward(tape, int(ids(SOURCE, 1)), place(SOURCE));
      const memory = encoder.forward(tape, x, { packed: source });
      const y = table.forward(tape, int(ids(TARGET, 2)), place(TARGET));
      const h = decoder.forward(tape, y, memory, { packed: { target, memory: source }, causal: true });
      const logits = linear(tape, h, table.weight);
      const loss = crossEntropy(tape, logits, int(ids(TARGET, 3)), { smoothing: 0.1, inPlace: true });
      tape.backward(loss.total);
      return loss.total;
    });
  }

  test('leaves nothing behind, reaches every parameter, and repeats its bits from the same state', async () => {
    const model = build();
    const modules = [model.table, model.encoder, model.decoder];
    const loss = step(model, new DropoutStream(1, 50));
    const first = await numbers(loss);
    loss.dispose();
    const grads = new Map<string, Float32Array>();
    modules.forEach((module, m) => {
      for (const [name, parameter] of module.parameters()) {
        expect(parameter.hasGrad, name).toBe(true);
        grads.set(`${m}.${name}`, new Float32Array());
      }
    });
    for (const [m, module] of modules.entries()) {
      for (const [name, { grad }] of module.parameters()) grads.set(`${m}.${name}`, await numbers(grad));
      module.zeroGrad();
    }
    for (const [name, grad] of grads) {
      expect(
        grad.some((v) => v !== 0),
        `${name} has a gradient`,
      ).toBe(true);
      expect(grad.every(Number.isFinite), `${name} is finite`).toBe(true);
    }
    const { tensors, inUse } = engine.memory;
    const again = step(model, new DropoutStream(1, 50));
    expect(await numbers(again)).toEqual(first);
    again.dispose();
    for (const [m, module] of modules.entries()) {
      for (const [name, { grad }] of module.parameters()) {
        expect(await numbers(grad)).toEqual(grads.get(`${m}.${name}`));
      }
    }
    expect(engine.memory.tensors).toBe(tensors);
    expect(engine.memory.inUse).toBe(inUse);
    for (const module of [...modules, model.positions]) module.dispose();
  });

  test('gives the same bits with 1, 2 and 3 threads', async () => {
    const bits = [1, 2, 3].map(async (threads) => {
      const own = await createEngine({ threads });
      const model = build(own);
      const loss = await numbers(step(model, new DropoutStream(1, 50)));
      const modules = [model.table, model.encoder, model.decoder];
      const parameters = modules.flatMap((module) => [...module.parameters().values()]);
      const grads = await Promise.all(parameters.map(({ grad }) => numbers(grad)));
      await own.dispose();
      return [loss, ...grads];
    });
    const [one, two, three] = await Promise.all(bits);
    expect(two).toEqual(one);
    expect(three).toEqual(one);
  });

  test('gradients are those of central differences of the loss within 2%', async () => {
    const model = build();
    const value = async () => {
      const total = step(model, new DropoutStream(1, 50));
      const [number] = await numbers(total);
      total.dispose();
      return number;
    };
    await value();
    const checked = [
      [model.table, 'weight', 17],
      [model.encoder, 'layers.0.self_attn.in_proj_weight', 40],
      [model.encoder, 'layers.1.linear1.weight', 5],
      [model.decoder, 'layers.0.multihead_attn.in_proj_weight', 70],
      [model.decoder, 'layers.1.norm3.weight', 3],
      [model.decoder, 'norm.bias', 2],
    ] as const;
    const grads = await Promise.all(
      checked.map(([module, name]) => numbers(module.parameters().get(name)!.grad)),
    );
    for (const [c, [module, name, index]] of checked.entries()) {
      const parameter = module.parameters().get(name)!;
      const original = await numbers(parameter.value);
      const at = async (delta: number) => {
        parameter.value.write(original.map((v, i) => (i === index ? v + delta : v)));
        return value();
      };
      const h = 0.01;
      const numeric = ((await at(h)) - (await at(-h))) / (2 * h);
      parameter.value.write(original);
      const error = Math.abs(grads[c][index] - numeric);
      expect(error, name).toBeLessThan(0.02 * Math.max(0.2, Math.abs(numeric)));
    }
    for (const module of Object.values(model)) module.dispose();
  });
});

test('observers are told every attention by its parameter name, and weights can be read from the record', async () => {
  const random = new Random(2);
  const encoder = new Encoder(engine, SHAPE, random);
  const decoder = new Decoder(engine, SHAPE, random);
  const names: string[] = [];
  const weights = engine.scope(() => {
    const [source, target] = [packSequences(engine, SOURCE), packSequences(engine, TARGET)];
    let tile: Tensor | undefined;
    const memory = encoder.forward(null, toEngine(engine, randomHost(random, [9, E])), {
      packed: source,
      onAttention: (name) => names.push(name),
    });
    decoder.forward(null, toEngine(engine, randomHost(random, [9, E])), memory, {
      packed: { target, memory: source },
      causal: true,
      onAttention: (name, record) => {
        names.push(name);
        if (name === 'layers.1.multihead_attn') tile = record.weights(1, 0, [0, 2], [0, 5]);
      },
    });
    return tile!;
  });
  expect(names).toEqual([
    ...['layers.0.self_attn', 'layers.1.self_attn'],
    ...['layers.0.self_attn', 'layers.0.multihead_attn', 'layers.1.self_attn', 'layers.1.multihead_attn'],
  ]);
  const rows = await numbers(weights);
  for (const from of [0, 5]) {
    expect(rows.subarray(from, from + 5).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
  }
  weights.dispose();
  encoder.dispose();
  decoder.dispose();
});

test('learned positions get gradients where they were used', async () => {
  const random = new Random(2);
  const table = new Embedding(engine, 5, E, random);
  const positions = new LearnedPositions(engine, 4, E, random);
  engine.scope(() => {
    const tape = new Tape(engine);
    const int = (...n: number[]) => engine.tensor(Int32Array.from(n), [n.length]);
    const y = embedding(tape, int(4, 4), table.weight, {
      positions: { table: positions.weight, index: int(0, 2) },
    });
    tape.backward(y, engine.tensor(new Float32Array(2 * E).fill(1), [2, E]));
  });
  const used = (grad: Float32Array) => Array.from({ length: grad.length / E }, (_, r) => grad[r * E]);
  expect(used(await numbers(positions.weight.grad))).toEqual([1, 0, 1, 0]);
  expect(used(await numbers(table.weight.grad))).toEqual([0, 0, 0, 0, 2]);
  table.dispose();
  positions.dispose();
});
