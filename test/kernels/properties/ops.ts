// The door of engine tensors: slices of wider tensors without copies, results where they are asked for, results in
// part, alignments by name, and refusals.
import assert from 'node:assert/strict';
import {
  type AttentionCall,
  type AttentionWants,
  attentionBackward,
  attentionForward,
  attentionWeights,
  type Operand,
  outputOperand,
} from '../../../dist/engine/ops/attention.js';
import { attentionDecode } from '../../../dist/engine/ops/attention-decode.js';
import type { Engine, Tensor } from '../../../dist/engine/types.js';
import {
  type Case,
  generator,
  makeCase,
  normals,
  operandOf,
  runKernels,
  sizeOf,
  uploadCall,
} from '../attention-cases.js';
import { assertSame, once, type Step } from './lab.js';

const options = {
  causal: 'lower-right',
  bias: { data: normals(66 * 70, generator(41)), shape: [66, 70] },
  sinks: { data: Float32Array.of(0.1, 0.2), shape: [2] },
} as const;

const bhld = once(() =>
  makeCase({ q: [2, 2, 66, 8], k: [2, 1, 70, 8], v: [2, 1, 70, 12] }, options, generator(42)),
);
const blhd = once(() =>
  makeCase(
    { q: [2, 66, 2, 8], k: [2, 70, 1, 8], v: [2, 70, 1, 12] },
    { ...options, layout: 'blhd' },
    generator(43),
  ),
);
const cuSeqlens = { q: Int32Array.of(0, 5, 5, 75), k: Int32Array.of(0, 9, 11, 100) };
const packed = once(() =>
  makeCase(
    { q: [75, 2, 8], k: [100, 1, 8], v: [100, 1, 12] },
    { causal: 'lower-right', cuSeqlens },
    generator(44),
  ),
);
/** Keys in several pieces of one owner. */
const pieces = once(() =>
  makeCase({ q: [1, 1, 70, 8], k: [1, 1, 600, 8], v: [1, 1, 600, 12] }, {}, generator(49)),
);
const cases = { bhld, blhd, packed };

const nothingLeft: Step = {
  name: 'what the ops need meanwhile is freed at once',
  run: async ({ engine }) => {
    for (const one of [bhld(), pieces()]) {
      engine.scope(() => {
        const call = uploadCall(engine, one.problem);
        const output = outputOperand(call, engine.empty(one.problem.output.shape));
        const tensors = () => engine.memory.tensors;
        let before = tensors();
        attentionDecode({ ...call, Lq: 1 }, output);
        assert.equal(tensors() - before, 3, 'decoding leaves the row statistics');
        const forward = attentionForward(call, output);
        const dq = { ...call.q, tensor: engine.zeros(one.problem.q.tensor.shape) };
        before = tensors();
        attentionBackward(call, output, output, forward, { dq, dBias: true, dSinks: true });
        assert.equal(tensors() - before, call.bias ? 2 : 0, 'backward leaves gradients of its own');
      });
    }
  },
};

/** What `compute` returns, read and freed. */
async function readAll<N extends string>(engine: Engine, compute: () => Record<N, Tensor | undefined>) {
  const tensors = engine.scope(compute);
  const read = {} as Record<N, Float32Array>;
  for (const [name, tensor] of Object.entries(tensors) as [N, Tensor | undefined][]) {
    if (!tensor) continue;
    read[name] = (await tensor.read()) as Float32Array;
    tensor.dispose();
  }
  return read;
}

/** Forward and those gradients that are asked for, as the op itself lays them out. */
function runOps(engine: Engine, one: Case, change: (call: AttentionCall) => AttentionCall, only: string[]) {
  return readAll<string>(engine, () => {
    const p = one.problem;
    const call = change(uploadCall(engine, p));
    const forward = attentionForward(call);
    assert.deepEqual(forward.output.shape, p.output.shape);
    assert.deepEqual(forward.rowMax.shape, p.statistics.shape);
    const targets: Record<string, Operand> = {};
    for (const name of ['q', 'k', 'v'] as const) {
      if (only.includes(`d${name}`)) targets[`d${name}`] = operandOf(engine.zeros(p[name].shape), p[name]);
    }
    const wants: AttentionWants = {
      ...targets,
      dBias: only.includes('dBias'),
      dSinks: only.includes('dSinks'),
      dLogSumExp: engine.tensor(one.dLogSumExp, p.statistics.shape),
    };
    const upstream = engine.tensor(one.dOutput, p.output.shape);
    const { dBias, dSinks } = attentionBackward(call, forward.output, upstream, forward, wants);
    assert.equal(dBias === undefined, !(only.includes('dBias') && call.bias));
    assert.equal(dSinks === undefined, !(only.includes('dSinks') && call.sinks));
    const { output, rowMax, rowSum, logSumExp } = forward;
    const gradients = Object.fromEntries(Object.entries(targets).map(([name, x]) => [name, x.tensor]));
    return { output, rowMax, rowSum, logSumExp, ...gradients, dBias, dSinks };
  });
}

const everything = ['dq', 'dk', 'dv', 'dBias', 'dSinks'];

const inPart: Step[] = Object.entries(cases).map(([name, one]) => ({
  name: `gradients in part are those of the whole, ${name}`,
  run: async ({ engine }) => {
    const whole = await runKernels(engine, one());
    for (const only of [everything, ['dq'], ['dk', 'dSinks'], ['dv', 'dBias'], ['dBias'], ['dSinks'], []]) {
      const part = await runOps(engine, one(), (call) => call, only);
      assertSame(part, Object.fromEntries(Object.keys(part).map((x) => [x, whole[x]])), `${only}`);
    }
  },
}));

const aligned: Step[] = Object.entries(cases).map(([name, one]) => ({
  name: `an offset of 'lower-right' is that of the lengths, ${name}`,
  run: async ({ engine }) => {
    const whole = await runKernels(engine, one());
    const part = await runOps(engine, one(), (call) => ({ ...call, offset: 'lower-right' }), everything);
    assertSame(part, Object.fromEntries(Object.keys(part).map((x) => [x, whole[x]])));
  },
}));

const alignedToLengths: Step = {
  name: "an offset of 'lower-right' with key lengths",
  run: async ({ engine }) => {
    const one = makeCase(
      { q: [2, 2, 20, 8], k: [2, 1, 70, 8], v: [2, 1, 70, 12] },
      { causal: 'lower-right', keyLengths: Int32Array.of(66, 9) },
      generator(45),
    );
    const whole = await runKernels(engine, one);
    const part = await runOps(engine, one, (call) => ({ ...call, offset: 'lower-right' }), ['dq']);
    assertSame(part, Object.fromEntries(Object.keys(part).map((x) => [x, whole[x]])));
  },
};

/** q, k and v as columns of one projection [T, 3·16], gradients into columns of another; bias and mask within wider ones. */
const slices: Step = {
  name: 'column slices of a fused projection, cells with an offset: as copies of their own',
  run: async ({ engine }) => {
    const T = 70;
    const random = generator(46);
    const bias = { data: normals(T * T, random), shape: [T, T] };
    const mask = {
      data: Uint8Array.from({ length: T * T }, () => +(random() < 0.8)),
      shape: [T, T],
      dtype: 'bool' as const,
    };
    const one = makeCase(
      { q: [T, 2, 8], k: [T, 2, 8], v: [T, 2, 8] },
      { layout: 'blhd', bias, mask },
      random,
    );
    const p = one.problem;
    const whole = await runKernels(engine, one);
    const fused = new Float32Array(T * 48);
    const wide = new Float32Array(T * T + 5);
    wide.set(bias.data, 5);
    const wideMask = new Uint8Array(T * T + 3);
    wideMask.set(mask.data, 3);
    [p.q, p.k, p.v].forEach(({ tensor }, n) => {
      for (let i = 0; i < T; i++) {
        fused.set((tensor.data as Float32Array).subarray(i * 16, i * 16 + 16), i * 48 + n * 16);
      }
    });
    const column = (tensor: Tensor, n: number) => ({ tensor, offset: n * 16, batch: 0, head: 8, row: 48 });
    const got = await readAll<string>(engine, () => {
      const source = engine.tensor(fused, [T, 48]);
      const target = engine.zeros([T, 48]);
      const [q, k, v] = [0, 1, 2].map((n) => column(source, n));
      const [dq, dk, dv] = [0, 1, 2].map((n) => column(target, n));
      const call = uploadCall(engine, p);
      const own = {
        ...{ ...call, q, k, v },
        bias: { ...call.bias!, tensor: engine.tensor(wide, [wide.length]), offset: 5 },
        mask: { ...call.mask!, tensor: engine.tensor(wideMask, [wideMask.length]), offset: 3 },
      };
      const forward = attentionForward(own);
      const dO = engine.tensor(one.dOutput, p.output.shape);
      const dLogSumExp = engine.tensor(one.dLogSumExp, p.statistics.shape);
      const wants = { dq, dk, dv, dLogSumExp, dBias: true };
      const { dBias } = attentionBackward(own, forward.output, dO, forward, wants);
      return { output: forward.output, target, dBias };
    });
    const columns = (n: number) => {
      const out = new Float32Array(T * 16);
      for (let i = 0; i < T; i++) out.set(got.target.subarray(i * 48 + n * 16, i * 48 + n * 16 + 16), i * 16);
      return out;
    };
    assertSame(
      { output: got.output, dq: columns(0), dk: columns(1), dv: columns(2), dBias: got.dBias.subarray(5) },
      { output: whole.output, dq: whole.dq, dk: whole.dk, dv: whole.dv, dBias: whole.dBias },
    );
    assert.deepEqual(got.dBias.subarray(0, 5), new Float32Array(5));
  },
};

const partOfAWhole: Step = {
  name: 'dropout with an origin and with two words of seed draws as the whole does',
  run: async ({ engine }) => {
    const dropout = { rate: 0.4, seed: 2n ** 40n + 9n };
    const one = makeCase(
      { q: [2, 2, 20, 8], k: [2, 2, 30, 8], v: [2, 2, 30, 12] },
      { dropout },
      generator(48),
    );
    const { output } = await runKernels(engine, one);
    const [b, h, i] = [1, 1, 7];
    const part = await readAll<string>(engine, () => {
      const call = uploadCall(engine, one.problem);
      const own = {
        ...{ ...call, B: 1, H: 1, Hkv: 1, Lq: 13 },
        q: { ...call.q, offset: ((b * 2 + h) * 20 + i) * 8 },
        k: { ...call.k, offset: (b * 2 + h) * 30 * 8 },
        v: { ...call.v, offset: (b * 2 + h) * 30 * 12 },
        dropout: { rate: 0.4, seed: [9, 2 ** 8] as const, origin: [b, h, i] as const },
      };
      return { output: attentionForward(own).output };
    });
    const from = ((b * 2 + h) * 20 + i) * 12;
    assertSame(part, { output: output.slice(from, from + 13 * 12) });
  },
};

const refusals: Step = {
  name: 'calls and ranges that are not legal are refused',
  run: async ({ engine }) => {
    const p = bhld().problem;
    engine.scope(() => {
      const call = uploadCall(engine, p);
      const forward = attentionForward(call);
      const refuse = (change: Partial<AttentionCall>, message: RegExp) => {
        const bad = { ...call, ...change };
        assert.throws(() => attentionForward(bad), message);
        assert.throws(() => attentionWeights(bad, forward, 0, 0, [0, 1], [0, 1]), message);
        const none = () => attentionBackward(bad, forward.output, forward.output, forward, {});
        assert.throws(none, message);
      };
      refuse({ D: 0 }, /D is 0, expected 1 to 512/);
      refuse({ D: 513 }, /D is 513/);
      refuse({ Dv: 0 }, /Dv is 0/);
      refuse({ Dv: 513 }, /Dv is 513/);
      refuse({ Hkv: 0 }, /q has 2 heads, not a multiple of k's 0/);
      refuse({ H: 1, Hkv: 0 }, /q has 1 heads, not a multiple of k's 0/);
      refuse({ H: 3, Hkv: 2 }, /q has 3 heads, not a multiple of k's 2/);
      const ids = engine.tensor(new Int32Array(sizeOf(p.q.shape)), p.q.shape);
      refuse({ q: { ...call.q, tensor: ids } }, /q is int32, expected float32/);
      refuse({ k: { ...call.k, tensor: ids } }, /k is int32, expected float32/);
      refuse({ v: { ...call.v, tensor: ids } }, /v is int32, expected float32/);
      const tile = (b: number, h: number, queries: [number, number], keys: [number, number]) =>
        attentionWeights(call, forward, b, h, queries, keys);
      const whole: [[number, number], [number, number]] = [
        [0, 66],
        [0, 70],
      ];
      for (const b of [-1, 2, 0.5]) assert.throws(() => tile(b, 0, ...whole), /batch .* is not in \[0, 2\)/);
      for (const h of [-1, 2, 0.5]) assert.throws(() => tile(0, h, ...whole), /head .* is not in \[0, 2\)/);
      for (const bad of [
        [-1, 3],
        [3, 2],
        [0, 71],
        [0.5, 3],
        [0, 3.5],
      ] as [number, number][]) {
        assert.throws(() => tile(0, 0, bad, [0, 70]), /queries/);
        assert.throws(() => tile(0, 0, [0, 66], bad), /keys/);
      }
      assert.deepEqual(tile(1, 1, ...whole).shape, [66, 70]);
      assert.deepEqual(tile(0, 0, [3, 3], [0, 70]).shape, [0, 70]);
      assert.deepEqual(tile(0, 0, [66, 66], [70, 70]).shape, [0, 0]);
    });
  },
};

const sizesOfZero: Step = {
  name: 'no batch, heads, queries or keys: nothing but zeros',
  run: async ({ engine }) => {
    for (const [B, H, Lq, Lk] of [
      [0, 2, 3, 4],
      [2, 0, 3, 4],
      [2, 2, 0, 4],
      [2, 2, 3, 0],
      [2, 2, 0, 0],
      [2, 2, 70, 0],
      [2, 2, 0, 70],
    ]) {
      const bias = { data: new Float32Array(Lk), shape: [Lk] };
      const sinks = { data: new Float32Array(H), shape: [H] };
      const shapes = { q: [B, H, Lq, 8], k: [B, H, Lk, 8], v: [B, H, Lk, 8] };
      const one = makeCase(shapes, { bias, sinks }, generator(47));
      const got = await runKernels(engine, one);
      for (const name of ['output', 'dq', 'dk', 'dv', 'dBias', 'logSumExp'])
        assert.ok(
          got[name].every((x) => x === 0),
          `${name} of [${[B, H, Lq, Lk]}]`,
        );
    }
  },
};

export const opsSteps: Step[] = [
  ...inPart,
  ...aligned,
  alignedToLengths,
  slices,
  partOfAWhole,
  refusals,
  nothingLeft,
  sizesOfZero,
];
