// Layers loaded with PyTorch's parameters give its float64 outputs, per-head weights and gradients.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as ops from '../../dist/autograd/ops.js';
import { Parameter } from '../../dist/autograd/parameter.js';
import { Tape } from '../../dist/autograd/tape.js';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import * as nn from '../../dist/nn/index.js';
import { difference } from '../autograd/gradients.js';
import {
  available,
  inputs,
  loadParameters,
  MISSING,
  splitHeads,
  type TorchCase,
  torchCases,
  under,
} from './torch-cases.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
});
afterAll(() => engine.dispose());

/** Twice the error that plain float32 makes here, about 5e-6 in the deepest stack, and 1e-6, stays below this. */
const TOLERANCE = 1e-5;

interface Run {
  output: Tensor;
  weights?: Tensor;
}

type Build = (testCase: TorchCase) => {
  module: nn.Module;
  run: (tape: Tape, given: Map<string, Tensor>) => Run;
};

const text = (value: unknown) => value as string;
const number = (value: unknown) => (value ?? undefined) as number | undefined;
const flag = (value: unknown) => (value ?? undefined) as boolean | undefined;

const attention: Build = ({ attributes: a }) => {
  const heads = a.num_heads as number;
  const module = new nn.MultiHeadAttention(
    engine,
    {
      embedDim: a.embed_dim as number,
      heads,
      bias: flag(a.bias),
      kdim: number(a.kdim),
      vdim: number(a.vdim),
      addBiasKV: flag(a.add_bias_kv),
      addZeroAttention: flag(a.add_zero_attn),
      batchFirst: flag(a.batch_first) ?? false,
    },
    null,
  );
  const run = (tape: Tape, given: Map<string, Tensor>): Run => {
    const query = given.get('query')!;
    const key = given.get('key') ?? query;
    return module.forward(tape, query, key, given.get('value') ?? key, {
      mask: splitHeads(given.get('attn_mask'), heads),
      keyMask: given.get('key_padding_mask'),
      needWeights: a.average_attn_weights ? 'mean' : 'heads',
    });
  };
  return { module, run };
};

function stackOptions(a: Record<string, unknown>): nn.StackOptions {
  return {
    embedDim: a.d_model as number,
    heads: a.nhead as number,
    feedForwardDim: a.dim_feedforward as number,
    activation: text(a.activation) as nn.Activation,
    eps: number(a.layer_norm_eps),
    batchFirst: flag(a.batch_first) ?? false,
    normFirst: flag(a.norm_first),
    layers: number(a.num_layers) ?? 1,
    finalNorm: flag(a.final_norm),
  };
}

const encoder: Build = ({ attributes: a, kind }) => {
  const { layers, finalNorm, ...layer } = stackOptions(a);
  const module = kind.endsWith('Layer')
    ? new nn.EncoderLayer(engine, layer, null)
    : new nn.Encoder(engine, { layers, finalNorm, ...layer }, null);
  const run = (tape: Tape, given: Map<string, Tensor>): Run => ({
    output: module.forward(tape, given.get('src')!, {
      mask: splitHeads(given.get('src_mask'), layer.heads),
      keyMask: given.get('src_key_padding_mask'),
    }),
  });
  return { module, run };
};

const decoder: Build = ({ attributes: a, kind }) => {
  const { layers, finalNorm, ...layer } = stackOptions(a);
  const module = kind.endsWith('Layer')
    ? new nn.DecoderLayer(engine, layer, null)
    : new nn.Decoder(engine, { layers, finalNorm, ...layer }, null);
  const run = (tape: Tape, given: Map<string, Tensor>): Run => ({
    output: module.forward(tape, given.get('tgt')!, given.get('memory')!, {
      mask: splitHeads(given.get('tgt_mask'), layer.heads),
      keyMask: given.get('tgt_key_padding_mask'),
      memory: {
        mask: splitHeads(given.get('memory_mask'), layer.heads),
        keyMask: given.get('memory_key_padding_mask'),
      },
    }),
  });
  return { module, run };
};

/** Where PyTorch gives NaN (a row that may attend to nothing) the contract says weight 0 and the output's bias. */
function expected(testCase: TorchCase, name: string): Float64Array {
  const { data, shape } = testCase.tensors.get(name)!;
  if (name === 'out.attn_weights') return data.map((v) => (Number.isNaN(v) ? 0 : v));
  const bias = testCase.tensors.get('param.out_proj.bias')?.data;
  const width = shape[shape.length - 1];
  return data.map((v, i) => (Number.isNaN(v) && bias ? bias[i % width] : v));
}

async function compare(build: Build, testCase: TorchCase): Promise<void> {
  const before = engine.memory.tensors;
  const { module, run } = build(testCase);
  loadParameters(module, testCase);
  const dout = testCase.tensors.get('in.dout');
  const actual = new Map<string, Tensor>();
  engine.scope(() => {
    const tape = new Tape(engine);
    const given = inputs(engine, tape, testCase);
    const { output, weights } = run(tape, given);
    expect(output.shape).toEqual(testCase.tensors.get('out.output')!.shape);
    actual.set('out.output', engine.keep(output));
    if (weights) actual.set('out.attn_weights', engine.keep(weights));
    if (!dout) return;
    tape.backward(output, given.get('dout'));
    for (const [name, input] of given) {
      const gradient = tape.gradient(input);
      if (gradient) actual.set(`grad.in.${name}`, engine.keep(gradient));
    }
  });
  for (const [name, parameter] of module.parameters()) actual.set(`grad.param.${name}`, parameter.grad);
  let checked = 0;
  for (const name of testCase.tensors.keys()) {
    if (!name.startsWith('out.') && !name.startsWith('grad.')) continue;
    const tensor = actual.get(name);
    expect(tensor, name).toBeDefined();
    const error = difference((await tensor!.read()) as Float32Array, expected(testCase, name));
    expect(error, name).toBeLessThan(TOLERANCE);
    checked++;
  }
  expect(checked).toBeGreaterThan(dout ? 2 : 1);
  for (const [name, tensor] of actual) if (!name.startsWith('grad.param.')) tensor.dispose();
  module.dispose();
  expect(engine.memory.tensors, 'tensors left behind').toBe(before);
}

test.skipIf(!available)(`cases are found${MISSING}`, () => {
  expect(torchCases('nn.MultiheadAttention').length).toBeGreaterThanOrEqual(10);
  expect(torchCases('op').length).toBeGreaterThanOrEqual(3);
});

const WITHIN = 'outputs, weights and gradients within 1e-5 of the largest magnitude';
const groups: [string, Build, string[]][] = [
  ['multi-head attention', attention, ['nn.MultiheadAttention']],
  ['encoder', encoder, ['nn.TransformerEncoderLayer', 'nn.TransformerEncoder']],
  ['decoder', decoder, ['nn.TransformerDecoderLayer', 'nn.TransformerDecoder']],
];

describe.each(groups)(`%s: ${WITHIN}${MISSING}`, (_, build, kinds) => {
  test.skipIf(!available).each(torchCases(...kinds).map((c) => [c.name, c] as const))('%s', (_, testCase) =>
    compare(build, testCase),
  );
});

describe(`single ops: values and gradients within 1e-5 of the largest magnitude${MISSING}`, () => {
  const apply: Record<
    string,
    (tape: Tape, x: Tensor, leaves: Map<string, Parameter>, eps: number) => Tensor
  > = {
    layer_norm: (tape, x, leaves, eps) =>
      ops.layerNorm(tape, x, leaves.get('weight')!, leaves.get('bias')!, eps),
    gelu_tanh: (tape, x) => ops.activation(tape, x, 'gelu-tanh'),
    gelu: (tape, x) => ops.activation(tape, x, 'gelu'),
    relu: (tape, x) => ops.activation(tape, x, 'relu'),
    log_softmax_last: (tape, x) => ops.logSoftmax(tape, x),
  };
  test.skipIf(!available).each(torchCases('op').map((c) => [c.name, c] as const))(
    '%s',
    async (name, testCase) => {
      const op = apply[name.replace(/^op_/, '')];
      expect(op, `no adapter for ${name}`).toBeDefined();
      const leaves = new Map<string, Parameter>();
      for (const [key, { data, shape }] of under(testCase, 'in.')) {
        if (key === 'x' || key === 'dout') continue;
        leaves.set(key, Parameter.create(engine, key, [...shape], Float32Array.from(data)));
      }
      const [y, dx] = engine.scope(() => {
        const tape = new Tape(engine);
        const given = inputs(engine, tape, testCase);
        const x = tape.watch(given.get('x')!);
        const y = op(tape, x, leaves, number(testCase.attributes.eps) ?? 1e-5);
        tape.backward(y, given.get('dout'));
        return [y, tape.gradient(x)!];
      });
      const actual = new Map<string, Tensor>([
        ['out.out', y],
        ['grad.x', dx],
        ...[...leaves].map(([key, leaf]) => [`grad.${key}`, leaf.grad] as const),
      ]);
      for (const [key, { data }] of testCase.tensors) {
        if (!key.startsWith('out.') && !key.startsWith('grad.')) continue;
        expect(difference((await actual.get(key)!.read()) as Float32Array, data), key).toBeLessThan(
          TOLERANCE,
        );
      }
      for (const tensor of [y, dx]) tensor.dispose();
      for (const leaf of leaves.values()) leaf.dispose();
    },
  );
});
