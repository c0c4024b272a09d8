// The tape itself: ownership of gradients, what is freed when, and what is refused.
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as ops from '../../dist/autograd/ops.js';
import { Parameter } from '../../dist/autograd/parameter.js';
import { Tape } from '../../dist/autograd/tape.js';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 1 });
});
afterAll(() => engine.dispose());

const row = (...numbers: number[]) => engine.tensor(Float32Array.from(numbers), [1, numbers.length]);
const read = async (tensor: Tensor | undefined) => Array.from((await tensor!.read()) as Float32Array);

test('a gradient shared by several consumers is never changed under one of them', async () => {
  const result = engine.scope(() => {
    const tape = new Tape(engine);
    const [a, b] = [tape.watch(row(1, 2)), tape.watch(row(3, 4))];
    const c = ops.add(tape, a, b);
    // d and e are passed first: they hold the seed together with c, then a gets more on top of it.
    const d = ops.add(tape, c, a);
    const e = ops.add(tape, d, ops.scale(tape, a, 10));
    tape.backward(e, row(1, -1));
    return [tape.gradient(a)!, tape.gradient(b)!];
  });
  expect(await read(result[0])).toEqual([12, -12]);
  expect(await read(result[1])).toEqual([1, -1]);
  for (const tensor of result) tensor.dispose();
});

test('two holders of one gradient: more for the first leaves the second alone', async () => {
  const result = engine.scope(() => {
    const tape = new Tape(engine);
    const [p, q] = [tape.watch(row(1, 2)), tape.watch(row(3, 4))];
    const more = ops.scale(tape, p, 10);
    const half = ops.scale(tape, ops.add(tape, p, q), 0.5);
    tape.backward(ops.add(tape, half, more), row(1, -1));
    return [tape.gradient(p)!, tape.gradient(q)!];
  });
  expect(await read(result[0])).toEqual([10.5, -10.5]);
  expect(await read(result[1])).toEqual([0.5, -0.5]);
  for (const tensor of result) tensor.dispose();
});

test("the caller's seed is neither changed nor freed", async () => {
  const seed = row(1, 2);
  const gradient = engine.scope(() => {
    const tape = new Tape(engine);
    const x = tape.watch(row(5, 6));
    const y = ops.add(tape, x, ops.add(tape, x, x));
    tape.backward(y, seed);
    return tape.gradient(x)!;
  });
  expect(await read(seed)).toEqual([1, 2]);
  expect(await read(gradient)).toEqual([3, 6]);
  seed.dispose();
  gradient.dispose();
});

test('parameter gradients add up over tapes until they are zeroed', async () => {
  const weight = new Parameter('weight', row(2, 3));
  expect(weight.hasGrad).toBe(false);
  const step = () =>
    engine.scope(() => {
      const tape = new Tape(engine);
      tape.backward(ops.linear(tape, row(10, 20), weight));
    });
  step();
  step();
  expect(await read(weight.grad)).toEqual([20, 40]);
  weight.zeroGrad();
  step();
  expect(await read(weight.grad)).toEqual([10, 20]);
  weight.dispose();
});

test('backward frees what it has passed, but not its start and what is retained', () => {
  const before = engine.memory.tensors;
  engine.scope(() => {
    const tape = new Tape(engine);
    const x = tape.watch(row(1, 2));
    const passed = ops.scale(tape, x, 2);
    const retained = tape.retain(ops.scale(tape, passed, 2));
    const y = ops.scale(tape, retained, 2);
    expect(tape.length).toBe(3);
    tape.backward(y, row(1, 1));
    expect(tape.length).toBe(0);
    expect([passed, retained, y, x].map((tensor) => tensor.disposed)).toEqual([true, false, false, false]);
    expect(tape.gradient(passed)).toBeUndefined();
    expect(tape.gradient(retained)).toBeDefined();
  });
  expect(engine.memory.tensors).toBe(before);
});

test('what does not lead to the output gets no gradient, and untracked inputs record nothing', () => {
  engine.scope(() => {
    const tape = new Tape(engine);
    const [x, other] = [tape.watch(row(1)), tape.watch(row(2))];
    ops.scale(tape, other, 2);
    ops.scale(tape, row(3), 2);
    expect(tape.length).toBe(1);
    tape.backward(ops.scale(tape, x, 2));
    expect(tape.gradient(other)).toBeUndefined();
    expect(tape.gradient(x)).toBeDefined();
  });
});

test('refused: backward twice, recording after it, a seed that does not fit', () => {
  engine.scope(() => {
    const tape = new Tape(engine);
    const x = tape.watch(row(1, 2));
    const y = ops.scale(tape, x, 2);
    expect(() => new Tape(engine).backward(y)).toThrow('needs a gradient of its shape');
    expect(() => new Tape(engine).backward(y, row(1))).toThrow(
      "gradient has shape [1,1], expected the output's [1,2]",
    );
    tape.backward(y, row(1, 1));
    expect(() => tape.backward(y, row(1, 1))).toThrow('backward has run already');
    expect(() => ops.scale(tape, x, 2)).toThrow('backward has run already');
  });
});
