// Transformer encoder, with the parameters of torch.nn.TransformerEncoder(Layer).
import { discard } from '../autograd/ops.js';
import type { Tape } from '../autograd/tape.js';
import type { Engine, Tensor } from '../engine/types.js';
import type { AttentionLimits } from './attention-inputs.js';
import { type AttentionObserver, TransformerLayer, type TransformerLayerOptions } from './feed-forward.js';
import { type Init, LayerNorm, type Linear } from './linear.js';
import { Module } from './module.js';
import type { MultiHeadAttention } from './multi-head-attention.js';
import type { PackedSequences } from './packed.js';

export interface EncoderForwardOptions extends AttentionLimits {
  /** x is [T,E]: packed sequences. */
  packed?: PackedSequences;
  onAttention?: AttentionObserver;
}

/** Parameters `self_attn.*`, `linear1.*`, `linear2.*`, `norm1.*`, `norm2.*`. */
export class EncoderLayer extends TransformerLayer {
  readonly selfAttention: MultiHeadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;

  constructor(engine: Engine, options: TransformerLayerOptions, random: Init) {
    super(engine, options);
    const { embedDim, feedForwardDim } = options;
    this.selfAttention = this.attention('self_attn', random);
    this.linear1 = this.linear('linear1', embedDim, feedForwardDim, random);
    this.linear2 = this.linear('linear2', feedForwardDim, embedDim, random);
    this.norm1 = this.norm('norm1');
    this.norm2 = this.norm('norm2');
  }

  /** x [B,L,E] ([L,B,E], [L,E], or packed [T,E]) → the same shape. */
  forward(tape: Tape | null, x: Tensor, options: EncoderForwardOptions = {}): Tensor {
    const { packed, onAttention, ...limits } = options;
    const both = packed && { query: packed, key: packed };
    const attended = this.residual(tape, x, this.norm1, (input) => {
      const { output, record } = this.selfAttention.forward(tape, input, input, input, {
        ...limits,
        packed: both,
      });
      onAttention?.('self_attn', record);
      return output;
    });
    const y = this.residual(tape, attended, this.norm2, (input) =>
      this.feedForward(tape, input, this.linear1, this.linear2),
    );
    discard(tape, attended);
    return y;
  }
}

export interface StackOptions extends TransformerLayerOptions {
  layers: number;
  /** A layer norm after the last layer (parameters `norm.*`), as pre-norm needs; default false. */
  finalNorm?: boolean;
}

/** Parameters `layers.0.*` …, `norm.*`. */
export class Encoder extends Module {
  readonly layers: readonly EncoderLayer[];
  readonly norm: LayerNorm | null;

  constructor(engine: Engine, options: StackOptions, random: Init) {
    super(engine);
    const { layers, finalNorm = false, ...layer } = options;
    this.layers = Array.from({ length: layers }, (_, i) =>
      this.child(`layers.${i}`, new EncoderLayer(engine, layer, random)),
    );
    this.norm = finalNorm ? this.child('norm', new LayerNorm(engine, layer.embedDim, layer.eps)) : null;
  }

  forward(tape: Tape | null, x: Tensor, options: EncoderForwardOptions = {}): Tensor {
    let y = x;
    this.layers.forEach((layer, i) => {
      const observe = observeLayer(options.onAttention, i);
      const next = layer.forward(tape, y, { ...options, onAttention: observe });
      if (y !== x) discard(tape, y);
      y = next;
    });
    if (this.norm === null) return y;
    const normed = this.norm.forward(tape, y);
    if (y !== x) discard(tape, y);
    return normed;
  }
}

/** Puts the layer's place before the name. */
export function observeLayer(
  observer: AttentionObserver | undefined,
  layer: number,
): AttentionObserver | undefined {
  return observer && ((name, record) => observer(`layers.${layer}.${name}`, record));
}
