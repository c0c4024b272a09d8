// Transformer decoder, with the parameters of torch.nn.TransformerDecoder(Layer).
import { discard } from '../autograd/ops.js';
import type { Tape } from '../autograd/tape.js';
import type { Engine, Tensor } from '../engine/types.js';
import { OptionError } from '../tensor/errors.js';
import type { AttentionLimits } from './attention-inputs.js';
import { observeLayer, type StackOptions } from './encoder.js';
import { type AttentionObserver, TransformerLayer, type TransformerLayerOptions } from './feed-forward.js';
import { type Init, LayerNorm, type Linear } from './linear.js';
import { Module } from './module.js';
import type { MultiHeadAttention } from './multi-head-attention.js';
import type { PackedSequences } from './packed.js';

/** The limits on top are those of self-attention; `causal` is not set by itself. */
export interface DecoderForwardOptions extends AttentionLimits {
  /** Limits of cross-attention. */
  memory?: AttentionLimits;
  /** x [T,E] and memory [S,E] are packed sequences, as many of each. */
  packed?: { target: PackedSequences; memory: PackedSequences };
  onAttention?: AttentionObserver;
}

/** Parameters `self_attn.*`, `multihead_attn.*`, `linear1.*`, `linear2.*`, `norm1.*`, `norm2.*`, `norm3.*`. */
export class DecoderLayer extends TransformerLayer {
  readonly selfAttention: MultiHeadAttention;
  readonly crossAttention: MultiHeadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly norm3: LayerNorm;

  constructor(engine: Engine, options: TransformerLayerOptions, random: Init) {
    super(engine, options);
    const { embedDim, feedForwardDim } = options;
    this.selfAttention = this.attention('self_attn', random);
    this.crossAttention = this.attention('multihead_attn', random);
    this.linear1 = this.linear('linear1', embedDim, feedForwardDim, random);
    this.linear2 = this.linear('linear2', feedForwardDim, embedDim, random);
    this.norm1 = this.norm('norm1');
    this.norm2 = this.norm('norm2');
    this.norm3 = this.norm('norm3');
  }

  /** x [B,L,E], memory [B,S,E] (seq-first, unbatched or packed alike) → x's shape. */
  forward(tape: Tape | null, x: Tensor, memory: Tensor, options: DecoderForwardOptions = {}): Tensor {
    const { packed, onAttention, memory: memoryLimits, ...limits } = options;
    const own = packed && { query: packed.target, key: packed.target };
    const cross = packed && { query: packed.target, key: packed.memory };
    return this.connect(
      tape,
      x,
      (input) => {
        const result = this.selfAttention.forward(tape, input, input, input, { ...limits, packed: own });
        onAttention?.('self_attn', result.record);
        return result.output;
      },
      (input) => {
        const options = { ...memoryLimits, packed: cross };
        const result = this.crossAttention.forward(tape, input, memory, memory, options);
        onAttention?.('multihead_attn', result.record);
        return result.output;
      },
    );
  }

  /** The three parts with their residuals and norms around the given attentions. @internal */
  connect(
    tape: Tape | null,
    x: Tensor,
    attendSelf: (x: Tensor) => Tensor,
    attendMemory: (x: Tensor) => Tensor,
  ): Tensor {
    const first = this.residual(tape, x, this.norm1, attendSelf);
    const second = this.residual(tape, first, this.norm2, attendMemory);
    discard(tape, first);
    const third = this.residual(tape, second, this.norm3, (input) =>
      this.feedForward(tape, input, this.linear1, this.linear2),
    );
    discard(tape, second);
    return third;
  }
}

/** Parameters `layers.0.*` …, `norm.*`. */
export class Decoder extends Module {
  readonly layers: readonly DecoderLayer[];
  readonly norm: LayerNorm | null;
  readonly embedDim: number;

  constructor(engine: Engine, options: StackOptions, random: Init) {
    super(engine);
    const { layers, finalNorm = false, ...layer } = options;
    if (!Number.isInteger(layers) || layers < 1) {
      throw new OptionError(`decoder: layers must be a whole number from 1, got ${layers}`);
    }
    this.embedDim = layer.embedDim;
    this.layers = Array.from({ length: layers }, (_, i) =>
      this.child(`layers.${i}`, new DecoderLayer(engine, layer, random)),
    );
    this.norm = finalNorm ? this.child('norm', new LayerNorm(engine, layer.embedDim, layer.eps)) : null;
  }

  forward(tape: Tape | null, x: Tensor, memory: Tensor, options: DecoderForwardOptions = {}): Tensor {
    return this.through(tape, x, (layer, input, i) =>
      layer.forward(tape, input, memory, { ...options, onAttention: observeLayer(options.onAttention, i) }),
    );
  }

  /** Runs each layer by `step`, then the final norm. @internal */
  through(
    tape: Tape | null,
    x: Tensor,
    step: (layer: DecoderLayer, x: Tensor, index: number) => Tensor,
  ): Tensor {
    let y = x;
    this.layers.forEach((layer, i) => {
      const next = step(layer, y, i);
      if (y !== x) discard(tape, y);
      y = next;
    });
    if (this.norm === null) return y;
    const normed = this.norm.forward(tape, y);
    if (y !== x) discard(tape, y);
    return normed;
  }
}
