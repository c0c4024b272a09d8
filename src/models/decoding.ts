// Step-by-step decoding of a Seq2Seq: several sentences at once, several rows (hypotheses) each. Keys and values of
// earlier steps are kept; the source's are made once per sentence and read by all its rows. No copies but `reorder`'s.
// Cache layout, time first: [capacity, layers, rows, 3·width], so that a step's projection is written straight into
// its place, and what has been used is one contiguous range.
import { attentionForward } from '../engine/ops/attention.js';
import { activation } from '../engine/ops/elementwise.js';
import { embedding, gatherRows } from '../engine/ops/embedding.js';
import { logSoftmax } from '../engine/ops/loss.js';
import { matmul } from '../engine/ops/matmul.js';
import { layerNorm } from '../engine/ops/norm.js';
import type { Engine, Tensor } from '../engine/types.js';
import { LimitError, OptionError, ShapeError } from '../tensor/errors.js';
import type { Seq2Seq } from './seq2seq.js';

/** Parameters of one decoder layer, as engine tensors. */
export interface DecoderWeights {
  readonly norms: readonly { weight: Tensor; bias: Tensor }[];
  readonly selfIn: { weight: Tensor; bias: Tensor };
  readonly selfOut: { weight: Tensor; bias: Tensor };
  readonly crossQuery: { weight: Tensor; bias: Tensor };
  readonly crossKeyValue: { weight: Tensor; bias: Tensor };
  readonly crossOut: { weight: Tensor; bias: Tensor };
  readonly first: { weight: Tensor; bias: Tensor };
  readonly second: { weight: Tensor; bias: Tensor };
}

/** Encoded sentences: what every decoding step reads. */
export interface EncodedSources {
  readonly count: number;
  readonly longest: number;
  /** int32 [count + 1] */
  readonly offsets: Tensor;
  /** Per layer, keys and values side by side [tokens, 2·width]. */
  readonly keyValues: readonly Tensor[];
}

type Affine = { weight: Tensor; bias: Tensor };

/** x·Wᵀ + b, or added to `into`. */
export function project(x: Tensor, { weight, bias }: Affine, into?: Tensor): Tensor {
  return matmul(x, weight, { transposeB: true, bias, out: into, accumulate: into !== undefined });
}

/** One decoder layer without a tape, pre-norm; x [R, width] is changed in place. */
export function decoderLayer(
  x: Tensor,
  w: DecoderWeights,
  config: { normEps: number; activation: 'relu' | 'gelu' },
  attendSelf: (normed: Tensor) => Tensor,
  attendSource: (query: Tensor) => Tensor,
): void {
  const norm = (i: number) => layerNorm(x, w.norms[i].weight, w.norms[i].bias, config.normEps).y;
  project(attendSelf(norm(0)), w.selfOut, x);
  project(attendSource(project(norm(1), w.crossQuery)), w.crossOut, x);
  project(activation(project(norm(2), w.first), config.activation), w.second, x);
}

/** The state of hypotheses under way. Rows of one sentence lie together, in the order of the sentences. */
export class Decoding {
  readonly #engine: Engine;
  readonly #model: Seq2Seq;
  readonly #source: EncodedSources;
  readonly #capacity: number;
  #rowCounts: number[];
  #rows: number;
  #rowOffsets: Tensor;
  #mostRows: number;
  #cache: Tensor;
  #length = 0;

  /** Takes `source` over. At most `capacity` steps. */
  constructor(model: Seq2Seq, source: EncodedSources, rowsPerSentence: number, capacity: number) {
    if (!(Number.isInteger(capacity) && capacity >= 1)) {
      throw new OptionError(`decoding: capacity must be a whole number from 1, got ${capacity}`);
    }
    this.#engine = model.engine;
    this.#model = model;
    this.#source = source;
    this.#capacity = Math.min(capacity, model.config.maximumLength);
    this.#rowCounts = new Array(source.count).fill(rowsPerSentence);
    this.#rows = source.count * rowsPerSentence;
    this.#mostRows = rowsPerSentence;
    this.#rowOffsets = this.#offsets();
    this.#cache = this.#allocate();
  }

  /** Rows now, over all sentences. */
  get rows(): number {
    return this.#rows;
  }

  /** Steps done. */
  get length(): number {
    return this.#length;
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Reads the last token of every row, ids [rows] → log-probabilities of the next [rows, vocabulary], read back. */
  async step(ids: Int32Array): Promise<Float32Array> {
    const scores = this.issueStep(ids);
    try {
      return (await scores.read()) as Float32Array;
    } finally {
      scores.dispose();
    }
  }

  /** As `step`, but the result stays in the engine; dispose it. */
  issueStep(ids: Int32Array): Tensor {
    if (ids.length !== this.#rows) throw new ShapeError(`decoding: ids has ${ids.length} rows, expected ${this.#rows}`);
    if (this.#length >= this.#capacity) throw new LimitError(`decoding: all ${this.#capacity} steps are done`);
    const engine = this.#engine;
    const { config, table, positions, decoderWeights, decoderNorm } = this.#model;
    const out = engine.scope(() => {
      const index = engine.tensor(new Int32Array(this.#rows).fill(this.#length), [this.#rows]);
      const x = embedding(engine.tensor(ids, [this.#rows]), table, Math.sqrt(config.width), { table: positions, index });
      decoderWeights().forEach((w, layer) => {
        decoderLayer(x, w, config, (n) => this.#attendSelf(n, w, layer), (q) => this.#attendSource(q, layer));
      });
      const { weight, bias } = decoderNorm();
      const { y } = layerNorm(x, weight, bias, config.normEps);
      return logSoftmax(matmul(y, table, { transposeB: true }));
    });
    this.#length++;
    return engine.keep(out);
  }

  #attendSelf(normed: Tensor, w: DecoderWeights, layer: number): Tensor {
    const { width: E, heads: H, decoderLayers: L } = this.#model.config;
    const R = this.#rows;
    const D = E / H;
    const start = (this.#length * L + layer) * R;
    const here = this.#cache.rows(start, start + R);
    matmul(normed, w.selfIn.weight, { transposeB: true, bias: w.selfIn.bias, out: here });
    const past = { tensor: this.#cache, batch: 3 * E, head: D, row: L * R * 3 * E };
    const { output } = attentionForward({
      q: { tensor: here, offset: 0, batch: 3 * E, head: D, row: 3 * E },
      k: { ...past, offset: layer * R * 3 * E + E },
      v: { ...past, offset: layer * R * 3 * E + 2 * E },
      B: R, H, Hkv: H, Lq: 1, Lk: this.#length + 1, D, Dv: D,
      scale: 1 / Math.sqrt(D), softcap: 0, causal: false, window: [-1, -1], offset: 0,
    });
    return output.reshape([R, E]);
  }

  #attendSource(query: Tensor, layer: number): Tensor {
    const { width: E, heads: H } = this.#model.config;
    const { keyValues, offsets, count, longest } = this.#source;
    return attendPacked(query, keyValues[layer], {
      E, H, B: count, queries: this.#rowOffsets, keys: offsets, Lq: this.#mostRows, Lk: longest,
    }).output;
  }

  /**
   * New row i goes on from old row parents[i]; rows of one sentence stay together. A sentence may end up with more,
   * fewer or no rows. Copies the cache in use.
   */
  reorder(parents: Int32Array): void {
    const engine = this.#engine;
    const L = this.#model.config.decoderLayers;
    const before = this.#rows;
    const counts = this.#countRows(parents);
    if (parents.length === before && parents.every((p, i) => p === i)) return;
    const cache = this.#cache;
    const blocks = this.#length * L;
    const index = new Int32Array(blocks * parents.length);
    for (let block = 0, at = 0; block < blocks; block++) {
      for (let i = 0; i < parents.length; i++) index[at++] = block * before + parents[i];
    }
    this.#rowCounts = counts;
    this.#rows = parents.length;
    this.#mostRows = Math.max(0, ...counts);
    this.#rowOffsets.dispose();
    this.#rowOffsets = this.#offsets();
    this.#cache = this.#allocate();
    engine.scope(() => {
      if (index.length > 0) {
        gatherRows(cache, engine.tensor(index, [index.length]), { out: this.#cache.rows(0, index.length) });
      }
    });
    cache.dispose();
  }

  #countRows(parents: Int32Array): number[] {
    const sentenceOf = this.#rowCounts.flatMap((count, sentence) => new Array<number>(count).fill(sentence));
    const counts = new Array<number>(this.#rowCounts.length).fill(0);
    let last = 0;
    for (const parent of parents) {
      const sentence = sentenceOf[parent];
      if (sentence === undefined || sentence < last) {
        throw new OptionError(`decoding: parent row ${parent} is none of ${this.#rows}, or out of its sentence's order`);
      }
      counts[sentence]++;
      last = sentence;
    }
    return counts;
  }

  #offsets(): Tensor {
    const offsets = new Int32Array(this.#rowCounts.length + 1);
    this.#rowCounts.forEach((count, i) => {
      offsets[i + 1] = offsets[i] + count;
    });
    return this.#engine.keep(this.#engine.tensor(offsets, [offsets.length]));
  }

  #allocate(): Tensor {
    const { width, decoderLayers } = this.#model.config;
    return this.#engine.keep(this.#engine.empty([this.#capacity * decoderLayers * this.#rows, 3 * width]));
  }

  dispose(): void {
    this.#cache.dispose();
    this.#rowOffsets.dispose();
    this.#source.offsets.dispose();
    for (const tensor of this.#source.keyValues) tensor.dispose();
  }
}

/** Attention of packed queries [Tq, E] over keys and values side by side [Tk, 2E]. */
export function attendPacked(
  query: Tensor,
  keyValues: Tensor,
  o: { E: number; H: number; B: number; queries: Tensor; keys: Tensor; Lq: number; Lk: number },
) {
  const D = o.E / o.H;
  const source = { tensor: keyValues, batch: 0, head: D, row: 2 * o.E };
  const call = {
    q: { tensor: query, offset: 0, batch: 0, head: D, row: o.E },
    k: { ...source, offset: 0 },
    v: { ...source, offset: o.E },
    B: o.B, H: o.H, Hkv: o.H, Lq: o.Lq, Lk: o.Lk, D, Dv: D,
    scale: 1 / Math.sqrt(D), softcap: 0, causal: false, window: [-1, -1] as [number, number], offset: 0,
    packed: { q: o.queries, k: o.keys },
  };
  const { output, ...stats } = attentionForward(call);
  return { output, call, stats };
}
