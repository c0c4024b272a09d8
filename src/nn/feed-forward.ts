// The position-wise half of a transformer layer, and what encoder and decoder layers share.

import type { AttentionRecord } from '../autograd/ops.js';
import { type Activation, activation, discard, dropout } from '../autograd/ops.js';
import type { Tape } from '../autograd/tape.js';
import type { Engine, Tensor } from '../engine/types.js';
import { type Init, LayerNorm, Linear } from './linear.js';
import { Module } from './module.js';
import { MultiHeadAttention } from './multi-head-attention.js';

export interface TransformerLayerOptions {
  /** Width E of input and output. */
  embedDim: number;
  heads: number;
  /** Width between the two linear layers. */
  feedForwardDim: number;
  /** Rate of all dropouts: on attention weights, inside the feed-forward part and on each residual; default 0. */
  dropout?: number;
  /** Default 'relu'. 'gelu' is the exact form. */
  activation?: Activation;
  /** Of the layer norms; default 1e-5. */
  eps?: number;
  /** Norm before each part (pre-norm) instead of after its residual; default false, as in torch. */
  normFirst?: boolean;
  /** Padded input is [B,L,E] (default), or [L,B,E]. */
  batchFirst?: boolean;
  /** Biases of all linear layers; default true. */
  bias?: boolean;
}

/** Is told of each attention as it happens: name as in the parameters (`layers.0.self_attn`), and its record. */
export type AttentionObserver = (name: string, record: AttentionRecord) => void;

/** Residual wiring and feed-forward part of a transformer layer: `linear1`, `linear2`, `norm1` … */
export abstract class TransformerLayer extends Module {
  readonly options: Readonly<Required<TransformerLayerOptions>>;

  constructor(engine: Engine, options: TransformerLayerOptions) {
    super(engine);
    this.options = {
      dropout: 0,
      activation: 'relu',
      eps: 1e-5,
      normFirst: false,
      batchFirst: true,
      bias: true,
      ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
    } as Required<TransformerLayerOptions>;
  }

  protected attention(name: string, random: Init): MultiHeadAttention {
    const { embedDim, heads, dropout, batchFirst, bias } = this.options;
    const options = { embedDim, heads, dropout, batchFirst, bias };
    return this.child(name, new MultiHeadAttention(this.engine, options, random));
  }

  protected norm(name: string): LayerNorm {
    return this.child(name, new LayerNorm(this.engine, this.options.embedDim, this.options.eps));
  }

  protected linear(name: string, inputs: number, outputs: number, random: Init): Linear {
    return this.child(name, new Linear(this.engine, inputs, outputs, random, { bias: this.options.bias }));
  }

  /** x + dropout(part(norm(x))) in pre-norm, norm(x + dropout(part(x))) in post-norm. */
  protected residual(tape: Tape | null, x: Tensor, norm: LayerNorm, part: (x: Tensor) => Tensor): Tensor {
    const { normFirst, dropout: rate } = this.options;
    const input = normFirst ? norm.forward(tape, x) : x;
    const change = part(input);
    if (normFirst) discard(tape, input);
    const sum = dropout(tape, change, rate, x);
    // Neither the sum nor dropout's backward reads the change again.
    change.dispose();
    if (normFirst) return sum;
    const y = norm.forward(tape, sum);
    discard(tape, sum);
    return y;
  }

  /** linear2(dropout(activation(linear1(x)))). */
  protected feedForward(tape: Tape | null, x: Tensor, linear1: Linear, linear2: Linear): Tensor {
    const { activation: kind, dropout: rate } = this.options;
    const inner = activation(tape, linear1.forward(tape, x), kind, { dropout: rate, consume: true });
    const y = linear2.forward(tape, inner);
    discard(tape, inner);
    return y;
  }
}
