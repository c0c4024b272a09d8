// Random attention calls for the kernels' tests: every option, lengths around the tiles' edges, and the float64 truth
// with the plain float32 yardstick for each.
import fc from 'fast-check';
import type { AttentionOptions } from '../../dist/attention/options.js';
import type { AttentionProblem, RowLayout } from '../../dist/attention/problem.js';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { attentionBackwardReference } from '../../dist/attention/reference-backward.js';
import { validateAttention } from '../../dist/attention/validate.js';
import {
  type AttentionCall,
  attentionBackward,
  attentionForward,
  attentionWeights,
  type Operand,
} from '../../dist/engine/ops/attention.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import { type Piece, uploadPiece, uploadRows } from '../../dist/map/call.js';
import { plainAttention } from '../attention/plain.js';

/** Small seeded generator (mulberry32): uniform in [0, 1). */
export function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function normals(n: number, random: () => number, spread = 1): Float32Array {
  const next = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Float32Array.from({ length: n }, () => spread * next());
}

export const sizeOf = (shape: readonly number[]) => shape.reduce((a, n) => a * n, 1);
const floats = (shape: number[], random: () => number, spread = 1) => ({
  data: normals(sizeOf(shape), random, spread),
  shape,
});
const bools = (shape: number[], random: () => number, share: number) => ({
  data: Uint8Array.from({ length: sizeOf(shape) }, () => +(random() < share)),
  shape,
  dtype: 'bool' as const,
});

export interface Case {
  problem: AttentionProblem;
  dOutput: Float32Array;
  dLogSumExp: Float32Array;
}

/** A case for q, k, v of these shapes. `rows` are the lengths: [B,H,L,D] tensors, or sequences where packed. */
export function makeCase(
  shapes: { q: number[]; k: number[]; v: number[] },
  options: AttentionOptions,
  random: () => number,
): Case {
  const problem = validateAttention(
    floats(shapes.q, random),
    floats(shapes.k, random),
    floats(shapes.v, random),
    options,
  );
  return {
    problem,
    dOutput: normals(sizeOf(problem.output.shape), random),
    dLogSumExp: normals(sizeOf(problem.statistics.shape), random),
  };
}

const length = fc.constantFrom(0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 20, 63, 64, 65, 70, 113);
const width = fc.constantFrom(1, 2, 3, 4, 7, 8, 12, 16, 31, 32, 33, 64);
const often = fc.boolean();
const seldom = fc.integer({ min: 0, max: 3 }).map((n) => n === 0);

/** What fast-check draws; buildCase makes a Case of it. */
export const drawnCase = fc.record({
  seed: fc.integer(),
  packed: seldom,
  blhd: often,
  B: fc.integer({ min: 1, max: 3 }),
  Hkv: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 3 }),
  Lq: fc.array(length, { minLength: 3, maxLength: 3 }),
  Lk: fc.array(length, { minLength: 3, maxLength: 3 }),
  D: width,
  Dv: width,
  shareK: seldom,
  shareV: seldom,
  causal: fc.constantFrom(undefined, 'upper-left', 'lower-right', { offset: -2 }, { offset: 3 }, 'each'),
  window: fc.constantFrom(undefined, undefined, [0, 0], [2, -1], [-1, 0], [10, 3]),
  lengths: seldom,
  mask: seldom,
  bias: seldom,
  scale: fc.constantFrom(undefined, undefined, -0.3, 0, 2),
  softcap: fc.constantFrom(0, 0, 1, 50),
  alibi: seldom,
  sinks: seldom,
  dropout: fc.constantFrom('none', 'none', 'seed', 'keep'),
  keyOffset: fc.constantFrom(0, 0, 1, 6),
});
type Drawn = typeof drawnCase extends fc.Arbitrary<infer T> ? T : never;

export function buildCase(c: Drawn): Case {
  const random = generator(c.seed);
  const { B, Hkv } = c;
  const H = Hkv * c.group;
  const options: Record<string, unknown> = { scale: c.scale, softcap: c.softcap, window: c.window };
  options.causal =
    c.causal === 'each'
      ? { offset: Int32Array.from({ length: B }, () => Math.floor(random() * 9) - 4) }
      : c.causal;
  if (c.alibi) options.alibi = floats([B, H], random, 0.5);
  if (c.sinks) options.sinks = floats([H], random);
  if (c.dropout === 'seed')
    options.dropout = { rate: 0.3, seed: BigInt(c.seed >>> 0) * 1234567n, keyOffset: c.keyOffset };
  for (const name of Object.keys(options)) if (options[name] === undefined) delete options[name];
  if (c.packed) {
    const starts = (lengths: number[]) => {
      let end = 0;
      return Int32Array.from([0, ...lengths.slice(0, B).map((n) => (end += n))]);
    };
    const cu = { q: starts(c.Lq), k: starts(c.Lk) };
    options.cuSeqlens = cu;
    const shapes = { q: [cu.q[B], H, c.D], k: [cu.k[B], Hkv, c.D], v: [cu.k[B], Hkv, c.Dv] };
    return makeCase(shapes, options as AttentionOptions, random);
  }
  const [Lq, Lk] = [c.Lq[0], c.Lk[0]];
  const rows = (batch: number, heads: number, L: number, D: number) =>
    c.blhd ? [batch, L, heads, D] : [batch, heads, L, D];
  const some = () => [B, H, Lq, Lk].map((n) => (random() < 0.5 ? n : 1));
  if (c.blhd) options.layout = 'blhd';
  if (c.lengths) options.keyLengths = Int32Array.from({ length: B }, () => Math.floor(random() * (Lk + 1)));
  if (c.mask) options.mask = bools(some(), random, 0.7);
  if (c.bias) {
    options.bias = floats(some(), random);
    const { data } = options.bias as { data: Float32Array };
    for (let n = 0; n < data.length; n++) if (random() < 0.1) data[n] = Number.NEGATIVE_INFINITY;
  }
  if (c.dropout === 'keep') options.dropout = { rate: 0.3, keep: bools(some(), random, 0.7) };
  const shapes = {
    q: rows(B, H, Lq, c.D),
    k: rows(c.shareK ? 1 : B, Hkv, Lk, c.D),
    v: rows(c.shareV ? 1 : B, Hkv, Lk, c.Dv),
  };
  return makeCase(shapes, options as AttentionOptions, random);
}

/** A whole call in the engine, in one piece. */
export function uploadCall(engine: Engine, p: AttentionProblem): AttentionCall {
  const all = { batches: [0, p.B], heads: [0, p.H], keyHeads: [0, p.Hkv] } as const;
  const piece: Piece = p.packed ? all : { ...all, rows: [0, p.Lq], keys: [0, p.Lk] };
  const [k, v] = (['k', 'v'] as const).map((name) => uploadRows(engine, p, name, piece));
  return uploadPiece(engine, p, piece, { k, v });
}

/** Strides of a tensor that lies as `rows` says. */
export function operandOf(tensor: Tensor, rows: RowLayout): Operand {
  return { tensor, offset: 0, batch: rows.batch ?? 0, head: rows.head, row: rows.row };
}

export type Results = Record<string, Float32Array>;

/** Numbers before and after every result that the kernels write where they are told to; nothing may touch them. */
export const MARGIN = 16;
const UNTOUCHED = 77;
const nothing = new Float32Array(1 << 15).fill(Number.NaN);

/** A tensor of `size` numbers between margins, in memory that holds `value` so far. */
export function framed(engine: Engine, size: number, value: number): Tensor {
  const numbers = new Float32Array(size + 2 * MARGIN).fill(UNTOUCHED);
  return engine.tensor(numbers.fill(value, MARGIN, MARGIN + size), [numbers.length]);
}

export async function readFramed(name: string, tensor: Tensor): Promise<Float32Array> {
  const numbers = (await tensor.read()) as Float32Array;
  const edges = [numbers.subarray(0, MARGIN), numbers.subarray(-MARGIN)];
  if (edges.some((edge) => edge.some((x) => x !== UNTOUCHED)))
    throw new Error(`${name}: something was written beside it`);
  return numbers.slice(MARGIN, -MARGIN);
}

/**
 * Runs forward, backward and one tile of weights per (batch, head); empty results are left out. Memory holds NaN before,
 * so that what is never written shows; operands must come out as they went in.
 */
export async function runKernels(
  engine: Engine,
  { problem: p, dOutput, dLogSumExp }: Case,
): Promise<Results> {
  engine.tensor(nothing, [nothing.length]).dispose();
  const { results, framedOnes, operands } = engine.scope(() => {
    const call = uploadCall(engine, p);
    const frame = (x: AttentionProblem['q'], value: number) => ({
      ...operandOf(framed(engine, sizeOf(x.shape), value), x),
      offset: MARGIN,
    });
    const forward = attentionForward(call, frame(p.output, Number.NaN));
    const [dq, dk, dv] = [p.q, p.k, p.v].map((x) => frame(x, 99));
    const upstream = operandOf(engine.tensor(dOutput, p.output.shape), p.output);
    const wants = {
      dq,
      dk,
      dv,
      dBias: true,
      dSinks: true,
      dLogSumExp: engine.tensor(dLogSumExp, p.statistics.shape),
    };
    const output = { ...operandOf(forward.output, p.output), offset: MARGIN };
    const made = attentionBackward(call, output, upstream, forward, wants);
    const { logSumExp, rowMax, rowSum } = forward;
    const results: Record<string, Tensor> = { logSumExp, rowMax, rowSum };
    for (const name of ['dBias', 'dSinks'] as const) if (made[name]) results[name] = made[name];
    tiles(p, (name, b, h, queries, keys) => {
      results[name] = attentionWeights(call, forward, b, h, queries, keys);
    });
    const framedOnes = { output: forward.output, dq: dq.tensor, dk: dk.tensor, dv: dv.tensor };
    return { results, framedOnes, operands: { q: call.q.tensor, k: call.k.tensor, v: call.v.tensor } };
  });
  const read: Results = {};
  for (const [name, tensor] of Object.entries(framedOnes)) read[name] = await readFramed(name, tensor);
  for (const [name, tensor] of Object.entries(results)) read[name] = (await tensor.read()) as Float32Array;
  for (const [name, tensor] of Object.entries(operands)) {
    const given = p[name as 'q'].tensor.data as Float32Array;
    const kept = (await tensor.read()) as Float32Array;
    if (!sameBits(kept, given)) throw new Error(`${name} was changed`);
  }
  for (const x of [results, framedOnes, operands]) for (const tensor of Object.values(x)) tensor.dispose();
  return read;
}

export function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = (x: Float32Array) => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
  return bytes(a).equals(bytes(b));
}

/** Tiles that start and end within blocks. */
function tiles(
  p: AttentionProblem,
  visit: (name: string, b: number, h: number, queries: [number, number], keys: [number, number]) => void,
): void {
  for (let b = 0; b < p.B; b++) {
    const keys = p.packed ? p.keyCounts[b] : p.Lk;
    for (let h = 0; h < p.H; h++) {
      visit(
        `weights ${b} ${h}`,
        b,
        h,
        [p.queryCounts[b] >> 2, p.queryCounts[b]],
        [keys >> 3, keys - (keys >> 2)],
      );
    }
  }
}

/** The truth for each result, and the plain float32 computation's error where there is one. */
export function truthOf({ problem: p, dOutput, dLogSumExp }: Case) {
  const upstream = { dOutput: new Float64Array(dOutput), dLogSumExp: new Float64Array(dLogSumExp) };
  const { output, logSumExp } = attentionReference(p);
  const truth: Record<string, Float64Array> = { output, logSumExp };
  for (const [name, x] of Object.entries(attentionBackwardReference(p, upstream))) if (x) truth[name] = x;
  const plain = plainAttention(p, dOutput, dLogSumExp) as unknown as Results;
  const bounds: Record<string, number> = {};
  for (const name of Object.keys(truth)) bounds[name] = 2 * largestError(plain[name], truth[name]) + 1e-6;
  tiles(p, (name, b, h, queries, keys) => {
    truth[name] = weightsReference(p, b, h, queries, keys);
  });
  return { truth, bounds };
}

/** Largest |got − truth|; 0 where both are the same infinity or both NaN, ∞ where only one is finite. */
export function largestError(got: ArrayLike<number>, truth: ArrayLike<number>): number {
  let largest = 0;
  for (let n = 0; n < truth.length; n++) {
    if (Object.is(got[n], truth[n]) || got[n] === truth[n]) continue;
    const error = Math.abs(got[n] - truth[n]);
    largest = Math.max(largest, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return largest;
}
