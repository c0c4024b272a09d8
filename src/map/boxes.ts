// Copies boxes, the strided pieces of host arrays that one part of a call takes, into an engine and out of it, where
// they lie dense. Long runs go straight; short ones, and float16 and float64, over a small staging array.
import type { Engine, HostData, Tensor } from '../engine/types.js';
import type { DType, TypedArrayOf } from '../tensor/dtype.js';
import { halfInto } from '../tensor/half.js';
import type { HostTensor } from '../tensor/host.js';

/** Elements start + Σ index·stride for every start and all indices below the counts, in this order. */
export interface Box {
  readonly starts: readonly number[];
  /** The outermost first; the innermost is contiguous. */
  readonly dimensions: readonly (readonly [count: number, stride: number])[];
}

const STAGE = 16384;
const floats = new Float32Array(STAGE);
const bytes = new Uint8Array(STAGE);
/** Runs of so many elements are copied without staging. */
const LONG = 2048;

/** Elements of a box from one start. */
export function blockOf({ dimensions }: Box): number {
  return dimensions.reduce((size, [count]) => size * count, 1);
}

export function sizeOfBox(box: Box): number {
  return box.starts.length * blockOf(box);
}

/** Calls `visit` with where each run begins; runs are as long as the strides allow. */
function runs({ starts, dimensions }: Box): { length: number; each(visit: (at: number) => void): void } {
  let length = 1;
  let depth = dimensions.length;
  while (depth > 0) {
    const [count, stride] = dimensions[depth - 1];
    if (count !== 1 && stride !== length) break;
    length *= count;
    depth--;
  }
  if (depth === 0 && starts.length > 0 && starts.every((at, n) => at === starts[0] + n * length)) {
    return { length: length * starts.length, each: (visit) => visit(starts[0]) };
  }
  const walk = (level: number, at: number, visit: (at: number) => void): void => {
    if (level === depth) visit(at);
    else {
      const [count, stride] = dimensions[level];
      for (let i = 0; i < count; i++) walk(level + 1, at + i * stride, visit);
    }
  };
  return {
    length,
    each(visit) {
      if (length > 0) for (const start of starts) walk(0, start, visit);
    },
  };
}

/** Elements [from, to) as what the kernels read, written to `out` at `at`. */
type Convert = (from: number, to: number, out: Float32Array | Uint8Array, at: number) => void;

function converter(dtype: DType, data: TypedArrayOf): Convert {
  if (dtype === 'float16') {
    return (from, to, out, at) => halfInto(data as Uint16Array, from, to, out as Float32Array, at);
  }
  return (from, to, out, at) => {
    if (to - from >= 16) out.set((data as Float32Array).subarray(from, to), at);
    else for (let i = from; i < to; i++, at++) out[at] = data[i] as number;
  };
}

/** As large as a finite bias may be: the kernels use the lowest float32 as their sign of −∞. */
const MOST_BIAS = 3.3e38;

/**
 * Finite numbers of a bias stay finite and above the lowest float32, which models often write for "forbidden": −∞
 * alone forbids here, and a row of nothing but such numbers has even weights.
 */
function boundedBias(data: Float32Array | Float64Array): Convert {
  return (from, to, out, at) => {
    for (let i = from; i < to; i++, at++) {
      const x = data[i];
      out[at] = Number.isFinite(x) ? Math.max(-MOST_BIAS, Math.min(MOST_BIAS, x)) : x;
    }
  };
}

/**
 * A tensor [starts · block] with the box's elements: bool as it is, floats as float32 (float64 rounded to nearest,
 * float16 exactly). Throws LimitError where the engine has no memory for it.
 */
export function upload(engine: Engine, { dtype, data }: HostTensor, box: Box, { bias = false } = {}): Tensor {
  const held = dtype === 'bool' ? 'bool' : 'float32';
  const tensor = engine.empty([sizeOfBox(box)], held);
  const bounded = bias && dtype !== 'float16';
  const convert = bounded ? boundedBias(data as Float32Array) : converter(dtype, data);
  const stage = held === 'bool' ? bytes : floats;
  const { length, each } = runs(box);
  // In browsers V8 copies to shared memory word by word, and byte by byte where the two do not lie alike.
  const straight = dtype === held && !bounded && length >= LONG;
  let [done, staged] = [0, 0];
  const flush = () => {
    if (staged === 0) return;
    tensor.write(stage.subarray(0, staged), done);
    done += staged;
    staged = 0;
  };
  each((at) => {
    if (straight && ((data.byteOffset + at * data.BYTES_PER_ELEMENT) & 7) === 0) {
      flush();
      tensor.write((data as HostData).subarray(at, at + length), done);
      done += length;
      return;
    }
    for (let from = at; from < at + length; ) {
      if (staged === STAGE) flush();
      const to = Math.min(at + length, from + STAGE - staged);
      convert(from, to, stage, staged);
      staged += to - from;
      from = to;
    }
  });
  flush();
  return tensor;
}

/** Numbers that a tensor's go to. */
export type Numbers = Float32Array | Float64Array;

/** Copies dense numbers to where the box has them; with `add` they are added to what is there. */
export function scatter(dense: Float32Array, target: Numbers, box: Box, add = false): void {
  const { length, each } = runs(box);
  let from = 0;
  each((at) => {
    if (!add && length >= 16) target.set(dense.subarray(from, from + length), at);
    else if (add) for (let i = 0; i < length; i++) target[at + i] += dense[from + i];
    else for (let i = 0; i < length; i++) target[at + i] = dense[from + i];
    from += length;
  });
}

/** Reads a tensor to where the box has its numbers. Issued at once: the tensor may be disposed before it resolves. */
export async function download(tensor: Tensor, target: Numbers, box: Box, add = false): Promise<void> {
  const { length, each } = runs(box);
  if (!add && target.BYTES_PER_ELEMENT === 4 && (length === tensor.size || length >= LONG)) {
    await readRuns(tensor, target as Float32Array, length, each);
    return;
  }
  scatter((await tensor.read()) as Float32Array, target, box, add);
}

/** Reads run by run, straight to where each goes. */
async function readRuns(
  tensor: Tensor,
  target: Float32Array,
  length: number,
  each: (visit: (at: number) => void) => void,
): Promise<void> {
  const reads: Promise<void>[] = [];
  if (length === tensor.size) each((at) => reads.push(tensor.readInto(target.subarray(at, at + length))));
  else {
    const flat = tensor.reshape([tensor.size]);
    let from = 0;
    each((at) => {
      const run = flat.rows(from, from + length);
      reads.push(run.readInto(target.subarray(at, at + length)));
      run.dispose();
      from += length;
    });
    flat.dispose();
  }
  await Promise.all(reads);
}
