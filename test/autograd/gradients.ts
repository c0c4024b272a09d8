// Checks a differentiable op against a float64 function: values directly, gradients by central differences.
import { expect } from 'vitest';
import { Parameter } from '../../dist/autograd/parameter.js';
import { Tape, type TapeOptions } from '../../dist/autograd/tape.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import { Random } from '../../dist/nn/random.js';

/** Row-major float64 numbers with a shape. */
export interface Host {
  data: Float64Array;
  shape: number[];
}

export function randomHost(random: Random, shape: number[], scale = 1): Host {
  const size = shape.reduce((a, b) => a * b, 1);
  // Rounded to float32, so that both sides compute from the same numbers.
  return { data: Float64Array.from({ length: size }, () => Math.fround(random.normal() * scale)), shape };
}

export const toEngine = (engine: Engine, { data, shape }: Host): Tensor =>
  engine.tensor(Float32Array.from(data), shape);

/** Largest difference, in units of the expected values' largest magnitude (at least 1). */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let largest = 0;
  let magnitude = 1;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(actual[i] - expected[i]));
    magnitude = Math.max(magnitude, Math.abs(expected[i]));
  }
  return largest / magnitude;
}

/** d(Σ dy·f(inputs)) / d inputs[which], by central differences in float64. */
export function numericGradient(
  f: (inputs: Host[]) => Float64Array,
  inputs: Host[],
  which: number,
  dy: Float64Array,
): Float64Array {
  const h = 1e-5;
  const total = () => f(inputs).reduce((sum, y, i) => sum + y * dy[i], 0);
  return inputs[which].data.map((value, i) => {
    inputs[which].data[i] = value + h;
    const up = total();
    inputs[which].data[i] = value - h;
    const down = total();
    inputs[which].data[i] = value;
    return (up - down) / (2 * h);
  });
}

export interface Check {
  engine: Engine;
  inputs: Host[];
  /** Which inputs are parameters; the others are watched tensors. */
  parameters?: number[];
  op: (tape: Tape | null, inputs: (Tensor & Parameter)[]) => Tensor;
  reference: (inputs: Host[]) => Float64Array;
  tolerance: number;
  tape?: TapeOptions;
  seed?: number;
}

/** The op's value, and all its gradients, within `tolerance` of the reference. */
export async function checkGradients(check: Check): Promise<void> {
  const { engine, inputs, parameters = [], op, reference, tolerance } = check;
  const live = engine.memory.tensors;
  const expected = reference(inputs);
  const random = new Random(check.seed ?? 99);
  const dy = Float64Array.from(expected, () => Math.fround(random.normal()));
  const leaves: Parameter[] = [];
  const { y, gradients } = engine.scope(() => {
    const tape = new Tape(engine, check.tape);
    const operands = inputs.map((input, i) => {
      const tensor = toEngine(engine, input);
      if (!parameters.includes(i)) return tape.watch(tensor);
      leaves.push(new Parameter(`p${i}`, tensor));
      return leaves[leaves.length - 1];
    });
    const y = op(tape, operands as (Tensor & Parameter)[]);
    tape.backward(y, engine.tensor(Float32Array.from(dy), y.shape));
    const gradients = operands.map((operand) =>
      operand instanceof Parameter ? operand.grad : tape.gradient(operand),
    );
    return { y, gradients };
  });
  expect(difference((await y.read()) as Float32Array, expected)).toBeLessThan(tolerance);
  for (let i = 0; i < inputs.length; i++) {
    const numeric = numericGradient(reference, inputs, i, dy);
    const actual = gradients[i];
    expect(actual, `gradient of input ${i}`).toBeDefined();
    const error = difference((await actual!.read()) as Float32Array, numeric);
    expect(error, `gradient of input ${i}`).toBeLessThan(tolerance);
    actual!.dispose();
  }
  y.dispose();
  for (const leaf of leaves) leaf.dispose();
  expect(engine.memory.tensors, 'tensors left behind').toBe(live);
}
