// Multi-head attention (Vaswani et al. 2017) with the parameters of torch.nn.MultiheadAttention.
// Projections are fused where operands are the same tensor; attention reads their columns in place.

import { attentionSeed } from '../autograd/dropout-stream.js';
import {
  type AttentionCall,
  type AttentionRecord,
  attention,
  concatRows,
  discard,
  dropoutActive,
  gatherRows,
  linear,
  type Operand,
  reshaped,
} from '../autograd/ops.js';
import { ParameterRows, type Weight } from '../autograd/parameter.js';
import type { Tape } from '../autograd/tape.js';
import type { KeyValueStore } from '../engine/key-value-store.js';
import { attentionWeights } from '../engine/ops/attention.js';
import { attentionDecode } from '../engine/ops/attention-decode.js';
import { addInto } from '../engine/ops/elementwise.js';
import type { Engine, Tensor } from '../engine/types.js';
import { OptionError, ShapeError } from '../tensor/errors.js';
import {
  type AttentionLimits,
  type Geometry,
  operand,
  readGeometry,
  readLimits,
} from './attention-inputs.js';
import { uniform, xavierNormal, xavierUniform } from './init.js';
import { type Init, Linear } from './linear.js';
import { Module } from './module.js';
import { type PackedSequences, packSequences } from './packed.js';

export interface MultiHeadAttentionOptions {
  /** Width E of queries and of the output. */
  embedDim: number;
  /** Number of heads; divides embedDim. */
  heads: number;
  /** Biases of all projections; default true. */
  bias?: boolean;
  /** Widths of key and value; default embedDim. */
  kdim?: number;
  vdim?: number;
  /** One learned key and value behind each sequence of keys: parameters `bias_k`, `bias_v`. */
  addBiasKV?: boolean;
  /** One key and value of zeros behind each sequence of keys. */
  addZeroAttention?: boolean;
  /** Padded input is [B,L,E] (default), or [L,B,E]. */
  batchFirst?: boolean;
  /** Rate of dropout on the weights; default 0. */
  dropout?: number;
}

export interface AttentionForwardOptions extends AttentionLimits {
  /** Query and key are packed sequences, [T,E]. */
  packed?: { query: PackedSequences; key: PackedSequences };
  /** Also return weights before dropout: [B,H,Lq,Lk], or [B,Lq,Lk] averaged over heads; no B where unbatched. */
  needWeights?: 'heads' | 'mean';
  /** What `projectMemory` gave: stands for key and value, which are not read. */
  projected?: Tensor;
}

export interface AttentionResult {
  /** As query, with width embedDim. */
  output: Tensor;
  /** Recomputes any weight; its tensors belong to the running scope, and to the tape until backward. */
  record: AttentionRecord;
  weights?: Tensor;
}

interface Operands {
  q: Operand;
  k: Operand;
  v: Operand;
  /** cuSeqlens of packed keys that grew. */
  packedKeys?: Tensor;
}

interface Projection {
  weight: Weight;
  bias: Weight | null;
}

/** Each alone, and fused where key and value are as wide as the query. */
type Projections = Record<'q' | 'k' | 'v', Projection> & { kv?: Projection; qkv?: Projection };

/** Parameters `in_proj_weight` [3E,E] (or `q_`, `k_`, `v_proj_weight`), `in_proj_bias` [3E], `out_proj.*`. */
export class MultiHeadAttention extends Module {
  readonly options: Readonly<Required<MultiHeadAttentionOptions>>;
  readonly outProjection: Linear;
  readonly #parts: Projections;
  readonly #appended: { k: Weight | Tensor; v: Weight | Tensor }[] = [];

  /** Initial values as in torch; `random` null leaves 0 for a module that is loaded next. */
  constructor(engine: Engine, options: MultiHeadAttentionOptions, random: Init) {
    super(engine);
    const { embedDim: E, heads } = options;
    if (!Number.isInteger(heads) || heads < 1 || E % heads !== 0) {
      throw new OptionError(`multiHeadAttention: embedDim ${E} is not a multiple of heads ${heads}`);
    }
    this.options = {
      bias: true,
      kdim: E,
      vdim: E,
      addBiasKV: false,
      addZeroAttention: false,
      batchFirst: true,
      dropout: 0,
      ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
    } as Required<MultiHeadAttentionOptions>;
    this.#parts = this.#makeProjections(random);
    if (this.options.addBiasKV) {
      const row = (name: string) =>
        this.parameter(name, [1, 1, E], random && xavierNormal([1, 1, E], random));
      this.#appended.push({ k: row('bias_k'), v: row('bias_v') });
    }
    if (this.options.addZeroAttention) {
      const zero = engine.keep(engine.zeros([1, E]));
      this.#appended.push({ k: zero, v: zero });
    }
    this.outProjection = this.child('out_proj', new Linear(engine, E, E, null, { bias: this.options.bias }));
    if (random) this.outProjection.weight.value.write(uniform([E, E], 1 / Math.sqrt(E), random));
  }

  /** Attention of query over key and value; both default to query (self-attention), value to key. */
  forward(
    tape: Tape | null,
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: AttentionForwardOptions = {},
  ): AttentionResult {
    const { embedDim, heads, batchFirst, dropout } = this.options;
    const geometry = readGeometry(query, options.projected ?? key, batchFirst, options.packed);
    if (options.packed && options.needWeights) {
      throw new OptionError(
        'multiHeadAttention: needWeights with packed sequences: read them from the record',
      );
    }
    const extra = this.#appended.length;
    const limits = readLimits(this.engine, geometry, heads, options, extra);
    const { q, k, v, packedKeys } = this.#project(tape, query, key, value, geometry, options.projected);
    const D = embedDim / heads;
    const dropKey = dropoutActive(tape, dropout) ? tape!.dropout!.next() : null;
    const call: AttentionCall = {
      ...limits,
      ...(packedKeys && limits.packed && { packed: { q: limits.packed.q, k: packedKeys } }),
      ...{ q, k, v, B: geometry.B, H: heads, Hkv: heads, Lq: geometry.Lq, Lk: geometry.Lk + extra, D, Dv: D },
      scale: 1 / Math.sqrt(D),
      softcap: 0,
      window: [-1, -1],
      dropout: dropKey ? { rate: dropout, seed: attentionSeed(dropKey) } : undefined,
    };
    const context = this.engine.empty([...query.shape.slice(0, -1), embedDim]);
    const record = attention(tape, call, operand(context, 0, D, geometry.query));
    const weights =
      options.needWeights && this.#weights(record, options.needWeights, query.shape.length === 2);
    const output = this.outProjection.forward(tape, context);
    discard(tape, context);
    return weights ? { output, record, weights } : { output, record };
  }

  /** Keys and values of cross-attention, [..., 2E] fused: made once, used by many queries (`projected`). */
  projectMemory(tape: Tape | null, memory: Tensor): Tensor {
    if (!this.#parts.kv || this.#appended.length > 0) {
      throw new OptionError(
        'multiHeadAttention: projectMemory needs kdim = vdim = embedDim and no appended keys',
      );
    }
    return this.#linear(tape, memory, this.#parts.kv);
  }

  /**
   * Self-attention of the newest position, inference only: x [N,E] is the next position of N sequences, whose keys and
   * values join those in the cache. → [N,E]. @internal
   */
  attendCached(x: Tensor, cache: KeyValueStore): { output: Tensor; record: AttentionRecord } {
    const { embedDim: E, heads } = this.options;
    const { qkv: ofAll } = this.#parts;
    if (!ofAll || this.#appended.length > 0) {
      throw new OptionError('multiHeadAttention: a cache needs kdim = vdim = embedDim and no appended keys');
    }
    const N = x.shape[0];
    const D = E / heads;
    const side = { batch: 1, row: N };
    const qkv = this.#linear(null, x, ofAll);
    const [q, k, v] = [0, E, 2 * E].map((column) => operand(qkv, column, D, side));
    cache.append(k, v, 1);
    const call: AttentionCall = {
      ...{ q, k: cache.k, v: cache.v, B: N, H: heads, Hkv: heads, Lq: 1, Lk: cache.length, D, Dv: D },
      ...{ scale: 1 / Math.sqrt(D), softcap: 0, window: [-1, -1], causal: false, offset: 0 },
    };
    const context = this.engine.empty([N, E]);
    const stats = attentionDecode(call, operand(context, 0, D, side));
    const output = this.outProjection.forward(null, context);
    context.dispose();
    const weights: AttentionRecord['weights'] = (...place) => attentionWeights(call, stats, ...place);
    return { output, record: { call, stats, logSumExp: stats.logSumExp, weights } };
  }

  override dispose(): void {
    for (const { k } of this.#appended) if (!('value' in k)) k.dispose();
    for (const { weight, bias } of Object.values(this.#parts)) {
      if (weight instanceof ParameterRows) weight.dispose();
      if (bias instanceof ParameterRows) bias.dispose();
    }
    super.dispose();
  }

  #makeProjections(random: Init): Projections {
    const { embedDim: E, kdim, vdim, bias } = this.options;
    const make = (name: string, shape: [number, number]) =>
      this.parameter(name, shape, random && xavierUniform(shape, random));
    const fused = kdim === E && vdim === E;
    const whole = fused ? make('in_proj_weight', [3 * E, E]) : null;
    const apart = fused
      ? null
      : [make('q_proj_weight', [E, E]), make('k_proj_weight', [E, kdim]), make('v_proj_weight', [E, vdim])];
    const biases = bias ? this.parameter('in_proj_bias', [3 * E]) : null;
    const part = (from: number, to: number): Projection => ({
      weight: whole ? whole.rows(from * E, to * E) : apart![from],
      bias: biases?.rows(from * E, to * E) ?? null,
    });
    const parts = { q: part(0, 1), k: part(1, 2), v: part(2, 3) };
    return whole ? { ...parts, kv: part(1, 3), qkv: { weight: whole, bias: biases } } : parts;
  }

  #linear(tape: Tape | null, x: Tensor, { weight, bias }: Projection): Tensor {
    return linear(tape, x, weight, bias);
  }

  /** Projected operands; the fewest products that the sameness of the inputs allows. */
  #project(
    tape: Tape | null,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    geometry: Geometry,
    projected?: Tensor,
  ): Operands {
    const { embedDim: E, heads, kdim, vdim } = this.options;
    if (projected) {
      this.#checkWidths({ query: [query, E], projected: [projected, 2 * E] });
      const q = operand(this.#linear(tape, query, this.#parts.q), 0, E / heads, geometry.query);
      const kv = (column: number) => operand(projected, column, E / heads, geometry.key);
      return { q, k: kv(0), v: kv(E) };
    }
    this.#checkWidths({ query: [query, E], key: [key, kdim], value: [value, vdim] });
    if (value !== key && value.size / vdim !== key.size / kdim) {
      throw new ShapeError(
        `multiHeadAttention: value has shape [${value.shape}], but key has [${key.shape}]`,
      );
    }
    const D = E / heads;
    const parts = this.#parts;
    const ofQuery = (tensor: Tensor) => operand(tensor, 0, D, geometry.query);
    const ofKeys = (tensor: Tensor, column: number) => operand(tensor, column * E, D, geometry.key);
    if (this.#appended.length > 0) {
      const q = ofQuery(this.#linear(tape, query, parts.q));
      return { q, ...this.#appendedKeys(tape, key, value, geometry) };
    }
    if (parts.qkv && query === key && key === value) {
      const qkv = this.#linear(tape, query, parts.qkv);
      return { q: ofQuery(qkv), k: ofKeys(qkv, 1), v: ofKeys(qkv, 2) };
    }
    const q = ofQuery(this.#linear(tape, query, parts.q));
    if (parts.kv && key === value) {
      const kv = this.#linear(tape, key, parts.kv);
      return { q, k: ofKeys(kv, 0), v: ofKeys(kv, 1) };
    }
    const k = this.#linear(tape, key, parts.k);
    return { q, k: ofKeys(k, 0), v: ofKeys(this.#linear(tape, value, parts.v), 0) };
  }

  /** Keys and values with the learned and zero rows behind each sequence, batch-first or packed. */
  #appendedKeys(tape: Tape | null, key: Tensor, value: Tensor, geometry: Geometry): Omit<Operands, 'q'> {
    const { embedDim: E, heads } = this.options;
    const extra = this.#appended.length;
    const { packed } = geometry;
    const lengths = packed ? packed.key.lengths : new Array<number>(geometry.B).fill(geometry.Lk);
    const rows: number[] = [];
    let start = 0;
    const total = lengths.reduce((a, b) => a + b, 0);
    lengths.forEach((length, b) => {
      const first = packed ? start : b * geometry.key.batch;
      for (let j = 0; j < length; j++) rows.push(first + j * geometry.key.row);
      for (let e = 0; e < extra; e++) rows.push(total + e);
      start += length;
    });
    const index = this.engine.tensor(Int32Array.from(rows), [rows.length]);
    const side = packed ? { batch: 0, row: 1 } : { batch: geometry.Lk + extra, row: 1 };
    const extend = (x: Tensor, name: 'k' | 'v') => {
      const own = this.#linear(tape, x, this.#parts[name]);
      const all = concatRows(tape, [own, ...this.#appended.map((row) => row[name])]);
      return operand(gatherRows(tape, all, index), 0, E / heads, side);
    };
    const packedKeys =
      packed &&
      packSequences(
        this.engine,
        lengths.map((n) => n + extra),
      ).cuSeqlens;
    return { k: extend(key, 'k'), v: extend(value, 'v'), packedKeys };
  }

  #checkWidths(operands: Record<string, [Tensor, number]>): void {
    for (const [name, [{ shape }, width]] of Object.entries(operands)) {
      if (shape[shape.length - 1] !== width) {
        throw new ShapeError(
          `multiHeadAttention: ${name} has shape [${shape}], expected a last dimension of ${width}`,
        );
      }
    }
  }

  #weights(record: AttentionRecord, kind: 'heads' | 'mean', unbatched: boolean): Tensor {
    const { B, H, Lq, Lk } = record.call;
    const perBatch = kind === 'heads' ? H : 1;
    const all = this.engine.zeros([B * perBatch, Lq, Lk]);
    for (let b = 0; b < B; b++) {
      for (let h = 0; h < H; h++) {
        const at = kind === 'heads' ? b * H + h : b;
        const tile = record.weights(b, h, [0, Lq], [0, Lk]);
        const target = all.rows(at, at + 1);
        addInto(target, tile, kind === 'heads' ? 1 : 1 / H);
        target.dispose();
        tile.dispose();
      }
    }
    const heads = kind === 'heads' ? [H] : [];
    return reshaped(all, [...(unbatched ? [] : [B]), ...heads, Lq, Lk]);
  }
}
