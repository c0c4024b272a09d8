// Parameters ↔ model.safetensors (float32 or float16). What is read is checked: names, shapes, finite numbers.
import { FileFormatError, LimitError } from '../tensor/errors.js';
import { float32ToHalf, halfToFloat32 } from '../tensor/half.js';
import { parseSafetensors, serializeSafetensors } from '../tensor/safetensors.js';

export interface HostParameter {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export type WeightDType = 'float32' | 'float16';

const HALF_MAX = 65504;
const FLOAT_MAX = (2 - 2 ** -23) * 2 ** 127;

const shapeText = (shape: readonly number[]) => `[${shape.join(', ')}]`;

/**
 * Reads a model.safetensors whose tensors must be exactly `expected`. Throws FileFormatError for a missing, unknown
 * or misshapen tensor, for another dtype, and for weights that are not finite.
 */
export function parseWeights(
  bytes: Uint8Array,
  expected: ReadonlyMap<string, readonly number[]>,
): Map<string, HostParameter> {
  const fail = (message: string, cause?: unknown): never => {
    throw new FileFormatError(`model.safetensors: ${message}`, { cause });
  };
  const tensors = readTensors(bytes, fail);
  for (const name of tensors.keys())
    if (!expected.has(name)) fail(`unexpected tensor ${JSON.stringify(name)}`);
  const out = new Map<string, HostParameter>();
  for (const [name, shape] of expected) {
    const found = tensors.get(name);
    if (!found) return fail(`expected a tensor ${name} ${shapeText(shape)}, found none`);
    if (found.shape.join() !== shape.join()) {
      fail(`tensor ${name}: expected shape ${shapeText(shape)}, got ${shapeText(found.shape)}`);
    }
    if (found.dtype !== 'float32' && found.dtype !== 'float16') {
      fail(`tensor ${name}: expected float32 or float16, got ${found.dtype}`);
    }
    const data =
      found.dtype === 'float16' ? halfToFloat32(found.data as Uint16Array) : (found.data as Float32Array);
    checkFinite(name, data);
    out.set(name, { shape, data });
  }
  return out;
}

function readTensors(bytes: Uint8Array, fail: (message: string, cause: unknown) => never) {
  try {
    return parseSafetensors(bytes).tensors;
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    return fail(error.message.replace(/^safetensors: /, ''), error);
  }
}

function checkFinite(name: string, data: Float32Array): void {
  // x − x is 0 for finite numbers and NaN for all others: one sum tells.
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i] - data[i];
  if (sum === 0) return;
  const at = data.findIndex((x) => !Number.isFinite(x));
  throw new FileFormatError(
    `model.safetensors: tensor ${name}: expected finite weights, got ${data[at]} at ${at}`,
  );
}

/**
 * The bytes of a model.safetensors.
 * @throws LimitError where a weight is not finite, or over float16's range if that is asked for.
 */
export function serializeWeights(
  parameters: ReadonlyMap<string, HostParameter>,
  dtype: WeightDType,
): Uint8Array {
  return serializeSafetensors(
    Array.from(parameters, ([name, { shape, data }]) => {
      const largest = dtype === 'float16' ? HALF_MAX : FLOAT_MAX;
      const at = data.findIndex((x) => !(Math.abs(x) <= largest));
      if (at >= 0) {
        const range = dtype === 'float16' ? `float16's range of ±${HALF_MAX}` : 'the finite numbers';
        throw new LimitError(
          `model.safetensors: tensor ${name}: weight ${data[at]} at ${at} is outside ${range}`,
        );
      }
      if (dtype === 'float32') return [name, { dtype, shape, data }] as const;
      return [name, { dtype, shape, data: float32ToHalf(data) }] as const;
    }),
    [['format', 'pt']],
  );
}
