// Buffers shaped like a model's parameters: Adam's moments, averages; copied out to and in from host arrays by name.
import type { Parameter } from '../autograd/parameter.js';
import type { Engine, Tensor } from '../engine/types.js';
import { FileFormatError, OptionError } from '../tensor/errors.js';

export type Parameters = ReadonlyMap<string, Parameter>;
export type HostValues = Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>;

/** The engine all parameters belong to. */
export function engineOf(parameters: Parameters): Engine {
  for (const parameter of parameters.values()) return parameter.value.engine;
  throw new OptionError('training: the model has no parameters');
}

/** One zero-filled tensor per parameter, outside of every scope. */
export function zerosLike(parameters: Parameters): Map<string, Tensor> {
  const engine = engineOf(parameters);
  return new Map(
    Array.from(parameters, ([name, { value }]) => [name, engine.keep(engine.zeros(value.shape))]),
  );
}

/** The parameters' values, as buffers. */
export function valuesOf(parameters: Parameters): Map<string, Tensor> {
  return new Map(Array.from(parameters, ([name, { value }]) => [name, value]));
}

export async function readBuffers(buffers: ReadonlyMap<string, Tensor>): Promise<HostValues> {
  const out: HostValues = new Map();
  for (const [name, tensor] of buffers) {
    out.set(name, { shape: tensor.shape, data: (await tensor.read()) as Float32Array });
  }
  return out;
}

/** Overwrites buffers from named arrays; a missing name or another shape is a FileFormatError. `prefix` names them. */
export function writeBuffers(
  buffers: ReadonlyMap<string, Tensor>,
  values: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>,
  prefix = '',
): void {
  for (const [name, tensor] of buffers) {
    const found = values.get(prefix + name);
    const expected = `[${tensor.shape.join(', ')}]`;
    if (!found)
      throw new FileFormatError(`checkpoint: expected a tensor ${prefix}${name} ${expected}, found none`);
    if (found.shape.join() !== tensor.shape.join()) {
      throw new FileFormatError(
        `checkpoint: tensor ${prefix}${name}: expected shape ${expected}, got [${found.shape.join(', ')}]`,
      );
    }
    tensor.write(found.data);
  }
}

export function disposeBuffers(buffers: ReadonlyMap<string, Tensor>): void {
  for (const tensor of buffers.values()) tensor.dispose();
}
