// Initial values of parameters, as torch.nn.init defines them, from the library's own generator.
import type { Module } from './module.js';
import type { Random } from './random.js';

const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Fan-in and fan-out of a weight [out, in, ...rest]. */
function fans(shape: readonly number[]): [number, number] {
  const rest = count(shape.slice(2));
  return [(shape[1] ?? 1) * rest, (shape[0] ?? 1) * rest];
}

/** Uniform in [−limit, limit). */
export function uniform(shape: readonly number[], limit: number, random: Random): Float32Array {
  return new Float32Array(count(shape)).map(() => (2 * random.uniform() - 1) * limit);
}

/** Normal with mean 0. */
export function normal(shape: readonly number[], deviation: number, random: Random): Float32Array {
  return new Float32Array(count(shape)).map(() => random.normal() * deviation);
}

/** Glorot & Bengio (2010): uniform within gain·√(6/(fan-in + fan-out)). */
export function xavierUniform(shape: readonly number[], random: Random, gain = 1): Float32Array {
  const [fanIn, fanOut] = fans(shape);
  return uniform(shape, gain * Math.sqrt(6 / (fanIn + fanOut)), random);
}

/** Glorot & Bengio (2010): normal with deviation gain·√(2/(fan-in + fan-out)). */
export function xavierNormal(shape: readonly number[], random: Random, gain = 1): Float32Array {
  const [fanIn, fanOut] = fans(shape);
  return normal(shape, gain * Math.sqrt(2 / (fanIn + fanOut)), random);
}

/** Gives every parameter of rank 2 and more new Xavier-uniform values, as torch.nn.Transformer does. */
export function resetTransformer(module: Module, random: Random): void {
  for (const parameter of module.parameters().values()) {
    if (parameter.shape.length > 1) parameter.value.write(xavierUniform(parameter.shape, random));
  }
}
