// The encoder–decoder transformer of "Attention Is All You Need", pre-norm with final norms. One table embeds source
// and target and makes the logits; embeddings are scaled by √width; positions are sinusoidal. Parameters are named as
// in torch.nn.Transformer, the table is `embedding.weight`. All input is packed: sentences one below the other.
import { crossEntropy, discard, dropout, linear, logSoftmax } from '../autograd/ops.js';
import type { Tape } from '../autograd/tape.js';
import { sumAll } from '../engine/ops/loss.js';
import type { Engine, Tensor } from '../engine/types.js';
import { Decoder } from '../nn/decoder.js';
import { DecodingState } from '../nn/decoding.js';
import { Embedding, SinusoidalPositions } from '../nn/embedding.js';
import { Encoder } from '../nn/encoder.js';
import type { AttentionObserver } from '../nn/feed-forward.js';
import { normal, xavierUniform } from '../nn/init.js';
import { Module } from '../nn/module.js';
import { type PackedSequences, packedPositions, packSequences } from '../nn/packed.js';
import type { Random } from '../nn/random.js';
import { LimitError, OptionError, ShapeError } from '../tensor/errors.js';
import type { PackedBatch } from '../train/batches.js';
import type { StepLoss } from '../train/trainer.js';
import type { Seq2SeqConfig } from './config.js';

export interface Seq2SeqOptions {
  /** Source of initial values; null leaves zeros, for a model that is loaded next. */
  random: Random | null;
  /** Rate on embeddings, attention weights, feed-forward and residual branches, while training. Default 0. */
  dropout?: number;
}

/** Cross-attention of one target over its source, in every layer and head. */
export interface CrossAttention {
  readonly layers: number;
  readonly heads: number;
  readonly targetLength: number;
  readonly sourceLength: number;
  /** [layers, heads, targetLength, sourceLength]; rows sum to 1. */
  readonly weights: Float32Array;
}

export class Seq2Seq extends Module {
  readonly config: Seq2SeqConfig;
  readonly embedding: Embedding;
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  readonly #dropout: number;
  readonly #positions: SinusoidalPositions;

  /** Throws LimitError where the engine has no memory for it; then nothing of it is left there. */
  constructor(engine: Engine, config: Seq2SeqConfig, { random, dropout: rate = 0 }: Seq2SeqOptions) {
    super(engine);
    this.config = config;
    this.#dropout = rate;
    const { vocabulary, width, heads, feedForward, activation, normEps, maximumLength } = config;
    const stack = {
      embedDim: width,
      heads,
      feedForwardDim: feedForward,
      dropout: rate,
      activation,
      eps: normEps,
      normFirst: true,
      finalNorm: true,
    };
    const scale = Math.sqrt(width);
    const { embedding, encoder, decoder, positions } = engine.allOrNothing(() => ({
      embedding: new Embedding(engine, vocabulary, width, null, { scale }),
      encoder: new Encoder(engine, { ...stack, layers: config.encoderLayers }, random),
      decoder: new Decoder(engine, { ...stack, layers: config.decoderLayers }, random),
      positions: new SinusoidalPositions(engine, maximumLength, width),
    }));
    this.embedding = this.child('embedding', embedding);
    this.encoder = this.child('encoder', encoder);
    this.decoder = this.child('decoder', decoder);
    this.#positions = positions;
    if (random) this.#initialise(random);
  }

  /** Matrices Xavier-uniform as torch.nn.Transformer makes them; the table normal with deviation 1/√width. */
  #initialise(random: Random): void {
    for (const [name, { shape, value }] of this.parameters()) {
      if (name === 'embedding.weight') value.write(normal(shape, this.config.width ** -0.5, random));
      else if (shape.length > 1) value.write(xavierUniform(shape, random));
    }
  }

  #embed(tape: Tape | null, ids: Int32Array, positions: Int32Array): Tensor {
    const { engine } = this;
    const tensor = engine.tensor(ids, [ids.length]);
    const index = engine.tensor(positions, [ids.length]);
    const x = this.embedding.forward(tape, tensor, { table: this.#positions, index });
    return dropout(tape, x, this.#dropout);
  }

  #embedSequences(tape: Tape | null, ids: Int32Array, sequences: PackedSequences): Tensor {
    const { maximumLength } = this.config;
    if (sequences.longest > maximumLength) {
      throw new LimitError(
        `model: a sentence of ${sequences.longest} tokens is over the model's limit of ${maximumLength}`,
      );
    }
    return this.#embed(tape, ids, packedPositions(sequences.lengths));
  }

  /** Logits [Tt, vocabulary] of the next token at every target position. Within a scope. */
  forward(
    tape: Tape | null,
    batch: Pick<PackedBatch, 'source' | 'sourceOffsets' | 'targetIn' | 'targetOffsets'>,
    onAttention?: AttentionObserver,
  ): Tensor {
    const source = packSequences(this.engine, lengthsOf(batch.sourceOffsets));
    const target = packSequences(this.engine, lengthsOf(batch.targetOffsets));
    const embedded = this.#embedSequences(tape, batch.source, source);
    const within = (side: string) => onAttention && prefixed(side, onAttention);
    const memory = this.encoder.forward(tape, embedded, { packed: source, onAttention: within('encoder') });
    const x = this.#embedSequences(tape, batch.targetIn, target);
    const options = { packed: { target, memory: source }, causal: true };
    const y = this.decoder.forward(tape, x, memory, { ...options, onAttention: within('decoder') });
    discard(tape, embedded, memory, x);
    const logits = linear(tape, y, this.embedding.weight);
    discard(tape, y);
    return logits;
  }

  /** Summed cross-entropy of a batch, with label smoothing as in torch, and without. Within a scope. */
  loss(tape: Tape | null, batch: PackedBatch, smoothing: number): StepLoss {
    const logits = this.forward(tape, batch);
    const targets = this.engine.tensor(batch.targetOut, [batch.targetOut.length]);
    const { total, plain } = crossEntropy(tape, logits, targets, { smoothing, inPlace: true });
    const tokens = batch.targetOut.length;
    return { loss: total, plain: sumAll(plain), tokens, allTokens: tokens + batch.source.length };
  }

  #encode(sources: readonly ArrayLike<number>[]): { memory: Tensor; sequences: PackedSequences } {
    const lengths = sources.map(({ length }) => length);
    const sequences = packSequences(this.engine, lengths);
    const ids = new Int32Array(sequences.total);
    let at = 0;
    for (const source of sources) {
      ids.set(source, at);
      at += source.length;
    }
    const x = this.#embedSequences(null, ids, sequences);
    return { memory: this.encoder.forward(null, x, { packed: sequences }), sequences };
  }

  /**
   * The encoder's output for sentences (ids with end mark): float32 [T, width], their rows one below the other. Nothing
   * stays in the engine. Rejects with LimitError for a sentence over config.maximumLength.
   */
  async encode(sources: readonly ArrayLike<number>[]): Promise<Float32Array> {
    const memory = this.engine.scope(() => this.#encode(sources).memory);
    try {
      return (await memory.read()) as Float32Array;
    } finally {
      memory.dispose();
    }
  }

  /**
   * Encodes sentences (ids with end mark) and prepares to decode `beam` hypotheses of each, of at most `capacity`
   * tokens. Throws LimitError for a sentence over config.maximumLength.
   */
  startDecoding(sources: readonly ArrayLike<number>[], beam: number, capacity: number): Seq2SeqDecoding {
    if (sources.length === 0) throw new OptionError('model: expected at least one sentence, got none');
    const { engine } = this;
    const most = Math.min(capacity, this.config.maximumLength);
    return engine.scope(() => {
      const { memory, sequences } = this.#encode(sources);
      const state = new DecodingState(this.decoder, memory, sequences, { beam, capacity: most });
      return new Seq2SeqDecoding(this, state, (ids, position) =>
        this.#embed(null, ids, new Int32Array(ids.length).fill(position)),
      );
    });
  }

  /**
   * Where the decoder looks while it says `targetIds` (without start mark): row t is read at the position that
   * predicts targetIds[t].
   */
  async crossAttention(sourceIds: ArrayLike<number>, targetIds: ArrayLike<number>): Promise<CrossAttention> {
    const { heads, decoderLayers: layers } = this.config;
    const [S, T] = [sourceIds.length, targetIds.length];
    const weights = new Float32Array(layers * heads * T * S);
    const result = { layers, heads, targetLength: T, sourceLength: S, weights };
    if (T === 0 || S === 0) return result;
    const tiles = this.engine.scope(() => {
      const tiles: Tensor[] = [];
      this.readPair(sourceIds, targetIds, (name, record) => {
        if (!name.endsWith('multihead_attn')) return;
        for (let head = 0; head < heads; head++) tiles.push(record.weights(0, head, [0, T], [0, S]));
      });
      return tiles;
    });
    try {
      for (const [i, tile] of tiles.entries()) {
        weights.set((await tile.read()) as Float32Array, i * T * S);
        tile.dispose();
      }
    } finally {
      // Those left where a read failed; a second dispose() does nothing.
      for (const tile of tiles) tile.dispose();
    }
    return result;
  }

  /** Reads a source while it says `targetIds` (without start mark), for the attention on the way. Within a scope. @internal */
  readPair(sourceIds: ArrayLike<number>, targetIds: ArrayLike<number>, onAttention: AttentionObserver): void {
    const { start } = this.config;
    const targetIn = Int32Array.from(targetIds, (_, i) => (i === 0 ? start : targetIds[i - 1]));
    const batch = {
      source: Int32Array.from(sourceIds),
      sourceOffsets: Int32Array.of(0, sourceIds.length),
      targetIn,
      targetOffsets: Int32Array.of(0, targetIn.length),
    };
    this.forward(null, batch, onAttention);
  }

  override dispose(): void {
    this.#positions.dispose();
    super.dispose();
  }
}

/** Hypotheses under way: sentences × beam rows. Dispose it. */
export class Seq2SeqDecoding {
  readonly #model: Seq2Seq;
  readonly #state: DecodingState;
  readonly #embed: (ids: Int32Array, position: number) => Tensor;

  /** @internal */
  constructor(model: Seq2Seq, state: DecodingState, embed: (ids: Int32Array, position: number) => Tensor) {
    this.#model = model;
    this.#state = state;
    this.#embed = embed;
  }

  /** Rows that the next step takes. */
  get rows(): number {
    return this.#state.rows;
  }

  /** Steps done, and the most there can be. */
  get length(): number {
    return this.#state.position;
  }

  get capacity(): number {
    return this.#state.capacity;
  }

  /** The last token of every row, ids [rows] → log-probabilities of the next, row-major [rows, vocabulary]. */
  async step(ids: Int32Array): Promise<Float32Array> {
    if (ids.length !== this.rows)
      throw new ShapeError(`decoding: ids has ${ids.length} rows, expected ${this.rows}`);
    const scores = this.#model.engine.scope(() => {
      const y = this.#state.step(this.#embed(ids, this.#state.position));
      return logSoftmax(null, linear(null, y, this.#model.embedding.weight));
    });
    try {
      return (await scores.read()) as Float32Array;
    } finally {
      scores.dispose();
    }
  }

  /**
   * Row n goes on from row index[n]. Each run of `beam` indices stays within one sentence; sentences that no run
   * names are dropped.
   */
  reorder(index: ArrayLike<number>): void {
    this.#state.reorder(index);
  }

  dispose(): void {
    this.#state.dispose();
  }
}

function prefixed(side: string, observer: AttentionObserver): AttentionObserver {
  return (name, record) => observer(`${side}.${name}`, record);
}

function lengthsOf(offsets: Int32Array): number[] {
  return Array.from({ length: offsets.length - 1 }, (_, i) => offsets[i + 1] - offsets[i]);
}
