// All attention of one translation, encoder and decoder, as a trace's entries: q, k, v and row statistics leave the
// engine as the layers computed them.
import type { AttentionRecord, Operand } from '../autograd/ops.js';
import type { Tensor } from '../engine/types.js';
import type { TraceInput } from '../map/trace.js';
import type { MultiHeadAttention } from '../nn/multi-head-attention.js';
import type { HostTensor } from '../tensor/host.js';
import type { Seq2Seq } from './seq2seq.js';

/** Names of the texts that entries stand on: the source with its end mark, the target with its start mark, and the
 * same target with its end mark, which the decoder's queries lead to. */
export const TEXTS = { source: 'source', target: 'target', output: 'output' } as const;

interface Seen {
  readonly name: string;
  readonly layer: MultiHeadAttention;
  readonly record: AttentionRecord;
  readonly sides: Pick<TraceInput, 'queries' | 'keys' | 'predicts'>;
}

/** Attention while the model reads `sourceIds` and says `targetIds` (without start mark). */
export async function traceSeq2Seq(
  model: Seq2Seq,
  sourceIds: ArrayLike<number>,
  targetIds: ArrayLike<number>,
): Promise<TraceInput[]> {
  const seen: Seen[] = [];
  const kept = model.engine.scope(() => {
    model.readPair(sourceIds, targetIds, (name, record) => seen.push(describe(model, name, record)));
    return seen.flatMap(({ record: { call, stats } }) => [
      ...[call.q.tensor, call.k.tensor, call.v.tensor, stats.rowMax, stats.rowSum],
    ]);
  });
  try {
    const numbers = new Map<Tensor, Promise<Float32Array>>();
    const read = (tensor: Tensor) => {
      if (!numbers.has(tensor)) numbers.set(tensor, tensor.read() as Promise<Float32Array>);
      return numbers.get(tensor)!;
    };
    const entries: TraceInput[] = [];
    for (const attention of seen) entries.push(await entryOf(attention, read));
    return entries;
  } finally {
    for (const tensor of kept) tensor.dispose();
  }
}

/** `encoder.layers.2.self_attn` is a trace's `encoder.2.selfAttention`. */
function describe(model: Seq2Seq, path: string, record: AttentionRecord): Seen {
  const [side, , number, part] = path.split('.');
  const { source, target, output } = TEXTS;
  if (side === 'encoder') {
    const layer = model.encoder.layers[+number].selfAttention;
    return {
      name: `encoder.${number}.selfAttention`,
      layer,
      record,
      sides: { queries: source, keys: source },
    };
  }
  const { selfAttention, crossAttention } = model.decoder.layers[+number];
  const cross = part === 'multihead_attn';
  return {
    name: `decoder.${number}.${cross ? 'crossAttention' : 'selfAttention'}`,
    layer: cross ? crossAttention : selfAttention,
    record,
    sides: { queries: target, keys: cross ? source : target, predicts: output },
  };
}

async function entryOf(
  { name, layer, record: { call, stats }, sides }: Seen,
  read: (tensor: Tensor) => Promise<Float32Array>,
): Promise<TraceInput> {
  const { H, Hkv, Lq, Lk, D, Dv, causal, scale } = call;
  const rows = async (x: Operand, heads: number, length: number, width: number) =>
    headRows(await read(x.tensor), x, [heads, length, width]);
  const [rowMax, rowSum] = [await read(stats.rowMax), await read(stats.rowSum)];
  // Statistics of packed rows are [Lq,H].
  const lse = Float64Array.from({ length: H * Lq }, (_, n) => {
    const at = (n % Lq) * H + Math.floor(n / Lq);
    return rowMax[at] + Math.log(rowSum[at]);
  });
  const { value } = layer.outProjection.weight;
  return {
    name,
    ...sides,
    q: await rows(call.q, H, Lq, D),
    k: await rows(call.k, Hkv, Lk, D),
    v: await rows(call.v, Hkv, Lk, Dv),
    projection: { dtype: 'float32', shape: value.shape, data: await read(value) },
    logSumExp: { dtype: 'float64', shape: [H, Lq], data: lse },
    options: { scale, ...(causal && { causal: true }) },
  };
}

/** Rows of a projection, where heads lie side by side, as [heads, length, width]. */
function headRows(
  numbers: Float32Array,
  { offset, head, row }: Operand,
  shape: [heads: number, length: number, width: number],
): HostTensor<'float32'> {
  const [heads, length, width] = shape;
  const data = new Float32Array(heads * length * width);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < length; i++) {
      const from = offset + h * head + i * row;
      data.set(numbers.subarray(from, from + width), (h * length + i) * width);
    }
  }
  return { dtype: 'float32', shape, data };
}
