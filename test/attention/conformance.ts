// Reads the conformance cases that other software computed, and says them as calls of attention.
import { existsSync, readFileSync } from 'node:fs';
import type { AttentionOptions } from '../../dist/attention/options.js';
import { bytesPerElement, makeArray, type TypedArrayOf } from '../../dist/tensor/dtype.js';
import { type HostTensor, toFloat64 } from '../../dist/tensor/host.js';
import { parseSafetensors } from '../../dist/tensor/safetensors.js';

const root = new URL('../../../shared/conformance/', import.meta.url);
export const missing = !existsSync(root);

type Attributes = Record<string, unknown>;

export interface Case {
  name: string;
  kind?: string;
  attributes: Attributes;
  tensors: Map<string, HostTensor>;
}

function cases(folder: string, wanted: (name: string) => boolean): { name: string; load: () => Case }[] {
  if (missing) return [];
  const manifest = JSON.parse(readFileSync(new URL(`${folder}/manifest.json`, root), 'utf8'));
  return (manifest.cases as { name: string; kind?: string; attributes: Attributes; file: string }[])
    .filter(({ name }) => wanted(name))
    .map(({ name, kind, attributes, file }) => ({
      name,
      load: () => {
        const bytes = readFileSync(new URL(`${folder}/${file}`, root));
        return { name, kind, attributes, tensors: new Map(parseSafetensors(bytes).tensors) };
      },
    }));
}

export const onnxCases = () => cases('onnx-attention', () => true);
export const torchCases = () => cases('torch-reference', (name) => /^(sdpa|varlen)_/.test(name));

/** Largest difference; equal infinities and NaN beside NaN count as none, any other non-finite pair as ∞. */
export function maxError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i], expected[i]];
    if (Object.is(a, b) || a === b) continue;
    const error = Math.abs(a - b);
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst;
}

export interface Call {
  q: HostTensor;
  k: HostTensor;
  v: HostTensor;
  options: AttentionOptions;
}

/** A torch case's call; its causal names are spelled with underscores, its windows are aligned lower-right. */
export function torchCall({ attributes, tensors }: Case): Call {
  const { causal, window, scale, softcap, drop_p: rate } = attributes as Record<string, never>;
  const drop = tensors.get('in.drop');
  const cuQ = tensors.get('in.cu_seqlens_q');
  const given = {
    causal: causal ? (String(causal).replace('_', '-') as 'lower-right') : undefined,
    window,
    scale,
    softcap,
    mask: tensors.get('in.mask'),
    bias: tensors.get('in.bias'),
    sinks: tensors.get('in.sink'),
    dropout: drop && { rate, keep: drop },
    cuSeqlens: cuQ && { q: cuQ, k: tensors.get('in.cu_seqlens_k')! },
  };
  return { q: tensors.get('in.q')!, k: tensors.get('in.k')!, v: tensors.get('in.v')!, options: given };
}

/** [B,L,H·D] seen as [B,L,H,D]. */
function splitHeads(x: HostTensor, heads: number): HostTensor {
  const [B, L, width] = x.shape;
  return { ...x, shape: [B, L, heads, width / heads] };
}

/** [B,L,H,D] copied to [B,H,L,D]. */
function headsFirst(x: HostTensor): HostTensor {
  const [B, L, H, D] = x.shape;
  const data = makeArray(x.dtype, x.data.length);
  for (let b = 0; b < B; b++) {
    for (let l = 0; l < L; l++) {
      for (let h = 0; h < H; h++) {
        for (let d = 0; d < D; d++)
          data[((b * H + h) * L + l) * D + d] = x.data[((b * L + l) * H + h) * D + d];
      }
    }
  }
  return { dtype: x.dtype, shape: [B, H, L, D], data };
}

/** Joins [B,H,L1,D] and [B,H,L2,D] along L. */
function joinLength(a: HostTensor, b: HostTensor): HostTensor {
  const [B, H, La, D] = a.shape;
  const L = La + b.shape[2];
  const data = makeArray(a.dtype, B * H * L * D);
  for (let p = 0; p < B * H; p++) {
    (data as Float32Array).set((a.data as Float32Array).subarray(p * La * D, (p + 1) * La * D), p * L * D);
    const own = (L - La) * D;
    (data as Float32Array).set((b.data as Float32Array).subarray(p * own, (p + 1) * own), (p * L + La) * D);
  }
  return { dtype: a.dtype, shape: [B, H, L, D], data };
}

/** Widens the last dimension to Lk with `fill`: keys that a narrower mask does not name are forbidden. */
function widen(mask: HostTensor, Lk: number, fill: number): HostTensor {
  const own = mask.shape.at(-1)!;
  if (own === Lk || own === 1) return mask;
  const rows = mask.data.length / own;
  const data = makeArray(mask.dtype, rows * Lk) as Float32Array;
  data.fill(fill);
  for (let r = 0; r < rows; r++)
    data.set((mask.data as Float32Array).subarray(r * own, (r + 1) * own), r * Lk);
  return { dtype: mask.dtype, shape: [...mask.shape.slice(0, -1), Lk], data };
}

export interface OnnxCall extends Call {
  /** The output that the case expects, in the call's layout. */
  expected: Float64Array;
  tolerance: number;
}

/** An ONNX Attention node's call. */
export function onnxCall({ attributes, tensors }: Case): OnnxCall {
  const heads = attributes.q_num_heads as number | undefined;
  let [q, k, v] = ['Q', 'K', 'V'].map((name) => tensors.get(`in.${name}`)!);
  const flat = q.shape.length === 3;
  const pastKey = tensors.get('in.past_key');
  let layout: 'bhld' | 'blhd' = 'bhld';
  if (flat) {
    const keyHeads = attributes.kv_num_heads as number;
    [q, k, v] = [splitHeads(q, heads!), splitHeads(k, keyHeads), splitHeads(v, keyHeads)];
    if (pastKey) [q, k, v] = [q, k, v].map(headsFirst);
    else layout = 'blhd';
  }
  if (pastKey) [k, v] = [joinLength(pastKey, k), joinLength(tensors.get('in.past_value')!, v)];
  const along = layout === 'bhld' ? 2 : 1;
  const [B, Lq, Lk] = [q.shape[0], q.shape[along], k.shape[along]];
  const nonpad = tensors.get('in.nonpad_kv_seqlen');
  const keyLengths = nonpad && Int32Array.from(nonpad.data as BigInt64Array, Number);
  let offset: number | Int32Array = pastKey ? pastKey.shape[2] : 0;
  if (keyLengths) offset = Int32Array.from({ length: B }, (_, b) => keyLengths[b] - Lq);
  const mask = tensors.get('in.attn_mask');
  const bool = mask?.dtype === 'bool';
  const lowest = q.dtype === 'float16' ? 0xfc00 : Number.NEGATIVE_INFINITY;
  const options: AttentionOptions = {
    layout,
    causal: attributes.is_causal ? { offset } : undefined,
    scale: attributes.scale as number | undefined,
    softcap: attributes.softcap as number | undefined,
    keyLengths,
    mask: mask && bool ? widen(mask, Lk, 0) : undefined,
    bias: mask && !bool ? widen(mask, Lk, lowest) : undefined,
  };
  // An output [B,L,H·D] has the order of 'blhd'.
  let y = tensors.get('out.Y')!;
  if (flat && layout === 'bhld') y = headsFirst(splitHeads(y, heads!));
  return {
    q,
    k,
    v,
    options,
    expected: toFloat64(y),
    tolerance: bytesPerElement(q.dtype) === 2 ? 1e-3 : 1e-5,
  };
}

/** What ONNX's qk_matmul_output holds before the softmax, computed plainly: mode 0, 1 or 2. Heads come first. */
export function onnxScores({ q, k, options }: OnnxCall, mode: number, allowed: (at: number[]) => boolean) {
  const [qh, kh] = options.layout === 'blhd' ? [headsFirst(q), headsFirst(k)] : [q, k];
  const [B, H, Lq, D] = qh.shape;
  const [, Hkv, Lk] = kh.shape.length === 4 ? kh.shape : [0, 0, 0];
  const [x, y] = [toFloat64(qh), toFloat64(kh)];
  const bias = options.bias as HostTensor | undefined;
  const added = bias && toFloat64(bias);
  const out = new Float64Array(B * H * Lq * Lk);
  for (let n = 0; n < out.length; n++) {
    const [j, i, h, b] = [
      n % Lk,
      Math.floor(n / Lk) % Lq,
      Math.floor(n / Lk / Lq) % H,
      Math.floor(n / Lk / Lq / H),
    ];
    const atK = ((b * Hkv + Math.floor((h * Hkv) / H)) * Lk + j) * D;
    let dot = 0;
    for (let d = 0; d < D; d++) dot += x[((b * H + h) * Lq + i) * D + d] * y[atK + d];
    let score = dot * (options.scale ?? 1 / Math.sqrt(D));
    if (mode >= 1 && options.softcap) score = options.softcap * Math.tanh(score / options.softcap);
    if (mode >= 2) {
      if (bias && added) score += added[broadcastIndex(bias.shape, [b, h, i, j])];
      if (!allowed([b, h, i, j])) score = Number.NEGATIVE_INFINITY;
    }
    out[n] = score;
  }
  return out;
}

/** The flat index of a cell in a tensor that aligns to the right of [B,H,Lq,Lk] and broadcasts. */
export function broadcastIndex(shape: readonly number[], cell: readonly number[]): number {
  let index = 0;
  for (let a = 0; a < shape.length; a++) {
    index = index * shape[a] + (shape[a] === 1 ? 0 : cell[cell.length - shape.length + a]);
  }
  return index;
}

/** The numbers of any tensor, as float64. */
export function numbers(tensor: HostTensor | undefined): Float64Array {
  if (tensor === undefined) throw new Error('the case lacks an expected tensor');
  return toFloat64(tensor);
}

export type { TypedArrayOf };
