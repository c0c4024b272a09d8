// Tensors of other libraries and every float dtype go straight in; memory that is not there is a typed error.
import { afterAll, describe, expect, test } from 'vitest';
import { attention, attentionBackward, createEngine, DTypeError, LimitError } from '../../dist/index.js';
import { fromHalf, toHalf } from '../../dist/tensor/half.js';
import { fromFloats, type HostTensor } from '../../dist/tensor/host.js';
import { randomBool, randomTensor, seeded } from '../attention/calls.js';
import { maxError } from '../attention/conformance.js';

const engine = await createEngine({ threads: 2 });
afterAll(() => engine.dispose());

const random = seeded(21);
const q = randomTensor(random, [1, 2, 70, 8]);
const [k, v] = [0, 1].map(() => randomTensor(random, [1, 2, 90, 8]));

/** As onnxruntime-web and onnxruntime-node have them: a class with getters, `dims` and `type`. */
class OnnxTensor {
  readonly #type: string;
  readonly #data: ArrayBufferView;
  readonly #dims: readonly number[];
  constructor(type: string, data: ArrayBufferView, dims: readonly number[]) {
    [this.#type, this.#data, this.#dims] = [type, data, dims];
  }
  get type() {
    return this.#type;
  }
  get data() {
    return this.#data;
  }
  get dims() {
    return this.#dims;
  }
  get location() {
    return 'cpu';
  }
}
const onnx = ({ dtype, data, shape }: HostTensor) => new OnnxTensor(dtype, data, shape);
const as = (dtype: 'float16' | 'float64', x: HostTensor): HostTensor => ({
  dtype,
  shape: x.shape,
  data: fromFloats(dtype, x.data as Float32Array),
});

describe('interop', () => {
  test('tensors of onnxruntime give the same bits as plain ones, forward and backward', async () => {
    const mask = randomBool(random, [70, 90], 0.8);
    const bias = randomTensor(random, [1, 1, 1, 90]);
    const plain = await attention(q, k, v, { mask, bias, engine });
    const options = { mask: onnx(mask), bias: onnx(bias), engine };
    const own = await attention(onnx(q), onnx(k), onnx(v), options);
    expect(own.output).toEqual(plain.output);
    expect(own.logSumExp).toEqual(plain.logSumExp);
    const given = { output: plain.output, logSumExp: plain.logSumExp, dOutput: plain.output };
    const a = await attentionBackward({ q, k, v, options: { mask, bias, engine }, ...given });
    const b = await attentionBackward({ q: onnx(q), k: onnx(k), v: onnx(v), options, ...given });
    expect([b.dq, b.dk, b.dv, b.dBias]).toEqual([a.dq, a.dk, a.dv, a.dBias]);
  });

  test('float16 is widened exactly, float64 rounded once to the nearest float32', async () => {
    const halves = [q, k, v].map((x) => as('float16', x));
    const widened = halves.map(({ shape, data }) => ({
      shape,
      data: Float32Array.from(data as Uint16Array, fromHalf),
    }));
    const [a, b] = [
      await attention(onnx(halves[0]), onnx(halves[1]), onnx(halves[2]), { engine }),
      await attention(widened[0], widened[1], widened[2], { engine }),
    ];
    expect(a.output.dtype).toBe('float16');
    expect(a.output.data).toEqual(Uint16Array.from(b.output.data as Float32Array, toHalf));
    expect(a.logSumExp.data).toEqual(b.logSumExp.data);

    const fine = { shape: q.shape, data: Float64Array.from(q.data as Float32Array, (x) => x * (1 + 1e-9)) };
    const rounded = { shape: q.shape, data: new Float32Array(fine.data) };
    const [c, d] = [await attention(fine, k, v, { engine }), await attention(rounded, k, v, { engine })];
    expect(c.output.dtype).toBe('float64');
    expect(c.output.data).toEqual(new Float64Array(d.output.data as Float32Array));
  });

  test.each([
    ['int64', new BigInt64Array(1120)],
    ['int32', new Int32Array(1120)],
    ['uint8', new Uint8Array(1120)],
    ['bfloat16', new Uint16Array(1120)],
  ])('%s is refused by name', async (type, data) => {
    const call = attention(new OnnxTensor(type, data, q.shape), k, v, { engine });
    await expect(call).rejects.toThrow(DTypeError);
    await expect(call).rejects.toThrow(`attention: q: expected float32, float16 or float64, got ${type}`);
  });
});

test('a full engine gives a LimitError that names the operand, and serves again once there is room', async () => {
  const own = await createEngine({ threads: 1 });
  const held = [];
  for (let bytes = 2 ** 30; bytes >= 2 ** 12; ) {
    try {
      held.push(own.empty([bytes / 4]));
    } catch (error) {
      expect(error).toBeInstanceOf(LimitError);
      bytes /= 2;
    }
  }
  const before = own.memory.tensors;
  const call = attention(q, k, v, { engine: own });
  await expect(call).rejects.toThrow(LimitError);
  await expect(call).rejects.toThrow('attention: k of shape [1, 2, 90, 8] finds no memory: out of memory');
  expect(own.memory.tensors).toBe(before);
  for (const tensor of held) tensor.dispose();
  const [a, b] = [await attention(q, k, v, { engine: own }), await attention(q, k, v, { engine })];
  expect(maxError(a.output.data as Float32Array, b.output.data as Float32Array)).toBe(0);
  await own.dispose();
});
