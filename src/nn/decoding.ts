// Step-by-step decoding: a cache of self-attention's keys and values, and the memory's projections, made once.
// N = sentences × beam rows advance together; the hypotheses of a sentence share its memory.

import { KeyValueStore } from '../engine/key-value-store.js';
import { gatherRows } from '../engine/ops/embedding.js';
import type { Engine, Tensor } from '../engine/types.js';
import { LimitError, OptionError, ShapeError } from '../tensor/errors.js';
import type { Decoder } from './decoder.js';
import { observeLayer } from './encoder.js';
import type { AttentionObserver } from './feed-forward.js';
import { type PackedSequences, packSequences } from './packed.js';

export interface DecodingOptions {
  /** Hypotheses per sentence; default 1. */
  beam?: number;
  /** Most positions that will be decoded. */
  capacity: number;
}

/** Lives outside all scopes until `dispose()`; each `step` runs in the caller's scope. */
export class DecodingState {
  readonly capacity: number;
  readonly beam: number;
  readonly #decoder: Decoder;
  readonly #engine: Engine;
  #position = 0;
  #rows: number;
  /** Per layer. */
  readonly #caches: KeyValueStore[];
  /** Per layer [S,2E]. */
  #memories: Tensor[];
  #memory: PackedSequences;
  #queries: PackedSequences;

  /** memory [S,E] is the encoder's output for packed sentences. */
  constructor(
    decoder: Decoder,
    memory: Tensor,
    packed: PackedSequences,
    { beam = 1, capacity }: DecodingOptions,
  ) {
    if (!Number.isInteger(beam) || beam < 1 || !Number.isInteger(capacity) || capacity < 1) {
      throw new OptionError(
        `decoding: beam and capacity must be whole numbers from 1, got ${beam}, ${capacity}`,
      );
    }
    this.#decoder = decoder;
    this.#engine = decoder.engine;
    this.beam = beam;
    this.capacity = capacity;
    this.#rows = packed.count * beam;
    this.#memory = this.#pack(packed.lengths);
    this.#queries = this.#pack(packed.lengths.map(() => beam));
    this.#memories = decoder.layers.map(({ crossAttention }) =>
      this.#engine.keep(crossAttention.projectMemory(null, memory)),
    );
    this.#caches = decoder.layers.map(({ selfAttention }) => {
      const { embedDim, heads } = selfAttention.options;
      const [keyWidth, valueWidth] = [embedDim / heads, embedDim / heads];
      return new KeyValueStore(this.#engine, { batch: this.#rows, heads, keyWidth, valueWidth, capacity });
    });
  }

  /** Positions decoded so far. */
  get position(): number {
    return this.#position;
  }

  /** Rows that the next step takes: sentences × beam. */
  get rows(): number {
    return this.#rows;
  }

  /** x [N,E]: the next position of every hypothesis, embedded → decoder output [N,E]. */
  step(x: Tensor, onAttention?: AttentionObserver): Tensor {
    const { embedDim } = this.#decoder;
    if (x.shape.length !== 2 || x.shape[0] !== this.#rows || x.shape[1] !== embedDim) {
      throw new ShapeError(`decoding: x has shape [${x.shape}], expected [${this.#rows},${embedDim}]`);
    }
    if (this.#position === this.capacity) {
      throw new LimitError(`decoding: the cache holds ${this.capacity} positions and is full`);
    }
    // A step that failed halfway left positions behind.
    for (const cache of this.#caches) cache.truncate(this.#position);
    const packed = { query: this.#queries, key: this.#memory };
    const y = this.#decoder.through(null, x, (layer, input, i) => {
      const observe = observeLayer(onAttention, i);
      return layer.connect(
        null,
        input,
        (h) => {
          const { output, record } = layer.selfAttention.attendCached(h, this.#caches[i]);
          observe?.('self_attn', record);
          return output;
        },
        (h) => {
          const options = { projected: this.#memories[i], packed };
          const { output, record } = layer.crossAttention.forward(null, h, h, h, options);
          observe?.('multihead_attn', record);
          return output;
        },
      );
    });
    this.#position++;
    return y;
  }

  /**
   * Row n goes on from row index[n]. Each run of `beam` indices stays within one sentence; sentences that no run
   * names are dropped, and the number of rows becomes index.length.
   */
  reorder(index: ArrayLike<number>): void {
    const sentences = this.#sentencesOf(index);
    const identity =
      index.length === this.#rows && Array.prototype.every.call(index, (from, n) => from === n);
    if (identity) return;
    this.#engine.scope(() => {
      const dropped = sentences.length !== this.#memory.count || sentences.some((s, i) => s !== i);
      if (dropped) this.#selectSentences(sentences);
      this.#rows = index.length;
      for (const cache of this.#caches) cache.reorder(index);
    });
  }

  dispose(): void {
    for (const tensor of [...this.#caches, ...this.#memories]) tensor.dispose();
    this.#memory.cuSeqlens.dispose();
    this.#queries.cuSeqlens.dispose();
  }

  #pack(lengths: ArrayLike<number>): PackedSequences {
    const packed = packSequences(this.#engine, lengths);
    this.#engine.keep(packed.cuSeqlens);
    return packed;
  }

  #sentencesOf(index: ArrayLike<number>): number[] {
    if (index.length % this.beam !== 0) {
      throw new OptionError(`decoding: ${index.length} indices are not a multiple of beam ${this.beam}`);
    }
    const sentences: number[] = [];
    for (let n = 0; n < index.length; n++) {
      const from = index[n];
      if (!Number.isInteger(from) || from < 0 || from >= this.#rows) {
        throw new OptionError(`decoding: index[${n}] must be a row from 0 to ${this.#rows - 1}, got ${from}`);
      }
      const sentence = Math.floor(from / this.beam);
      if (n % this.beam === 0) sentences.push(sentence);
      else if (sentence !== sentences[sentences.length - 1]) {
        throw new OptionError(`decoding: index[${n}] is of another sentence than the rest of its beam`);
      }
    }
    return sentences;
  }

  /** Keeps the memory of these sentences alone, in this order. */
  #selectSentences(sentences: number[]): void {
    const { lengths } = this.#memory;
    const starts = [0];
    for (const length of lengths) starts.push(starts[starts.length - 1] + length);
    const rows = sentences.flatMap((s) => Array.from({ length: lengths[s] }, (_, i) => starts[s] + i));
    const index = this.#engine.tensor(Int32Array.from(rows), [rows.length]);
    this.#memories = this.#memories.map((memory) => {
      const selected = this.#engine.keep(gatherRows(memory, index));
      memory.dispose();
      return selected;
    });
    this.#memory.cuSeqlens.dispose();
    this.#queries.cuSeqlens.dispose();
    this.#memory = this.#pack(sentences.map((s) => lengths[s]));
    this.#queries = this.#pack(sentences.map(() => this.beam));
  }
}
