// Keys and values of the positions decoded so far, in an engine: each (batch entry, head) has its rows one after another,
// so that a query streams through them. Knows no attention. Legend: B batch, H key heads, D, Dv widths.
import { EngineError, LimitError, OptionError } from '../tensor/errors.js';
import { type Operand, strided } from './ops/attention-call.js';
import type { Engine, Tensor } from './types.js';

export interface KeyValueSizes {
  /** Sequences that advance together. */
  batch: number;
  /** Heads of keys and values. */
  heads: number;
  /** Widths of one head's keys and values. */
  keyWidth: number;
  valueWidth: number;
  /** Most positions. */
  capacity: number;
}

/** Numbers that one part copies, about. */
const PART_NUMBERS = 1 << 16;

/** Lives outside all scopes until `dispose()`. */
export class KeyValueStore {
  readonly heads: number;
  readonly keyWidth: number;
  readonly valueWidth: number;
  readonly capacity: number;
  #batch: number;
  #length = 0;
  /** How often rows changed place. */
  #moves = 0;
  #rows: { k: Tensor; v: Tensor } | undefined;

  /** Throws LimitError where the engine has no memory. */
  constructor(
    readonly engine: Engine,
    { batch, heads, keyWidth, valueWidth, capacity }: KeyValueSizes,
  ) {
    this.heads = heads;
    this.keyWidth = keyWidth;
    this.valueWidth = valueWidth;
    this.capacity = capacity;
    this.#batch = batch;
    this.#rows = this.#allocate();
  }

  get batch(): number {
    return this.#batch;
  }

  /** Positions held. */
  get length(): number {
    return this.#length;
  }

  get moves(): number {
    return this.#moves;
  }

  get disposed(): boolean {
    return this.#rows === undefined;
  }

  /** All rows of the keys; those from `length` on hold nothing. */
  get k(): Operand {
    return operandOf(this.#live().k, this.heads, this.capacity, this.keyWidth);
  }

  get v(): Operand {
    return operandOf(this.#live().v, this.heads, this.capacity, this.valueWidth);
  }

  /** Throws LimitError unless `count` more positions fit. */
  expectRoom(count: number): void {
    if (this.#length + count <= this.capacity) return;
    throw new LimitError(
      `key/value cache: ${this.#length} of ${this.capacity} positions are taken, no room for ${count} more`,
    );
  }

  /** Copies `count` more rows of each sequence and head. */
  append(k: Operand, v: Operand, count: number): void {
    this.#live();
    this.expectRoom(count);
    const at = (to: Operand) => ({ ...to, offset: this.#length * to.row });
    this.#copy({ k, v }, { k: at(this.k), v: at(this.v) }, count);
    this.#length += count;
  }

  /** Forgets the positions from `length` on. */
  truncate(length: number): void {
    if (length < this.#length) this.#length = length;
  }

  /** Sequence n goes on from sequence indices[n]; the batch becomes as large as the indices are many. */
  reorder(indices: ArrayLike<number>): void {
    const from = this.#live();
    const index = Int32Array.from(indices);
    for (let n = 0; n < index.length; n++) {
      if (index[n] === indices[n] && index[n] >= 0 && index[n] < this.#batch) continue;
      throw new OptionError(
        `key/value cache: index ${n} is a whole number from 0 to below ${this.#batch}, got ${indices[n]}`,
      );
    }
    if (index.length === this.#batch && index.every((own, n) => own === n)) return;
    const source = { k: this.k, v: this.v };
    const before = this.#batch;
    this.#batch = index.length;
    try {
      this.#rows = this.#allocate();
    } catch (error) {
      this.#batch = before;
      throw error;
    }
    this.#moves++;
    this.engine.scope(() => {
      const chosen = this.engine.tensor(index, [index.length]);
      this.#copy(source, { k: this.k, v: this.v }, this.#length, chosen);
    });
    from.k.dispose();
    from.v.dispose();
  }

  /** The keys so far, in a tensor of their own. It belongs to the running scope. */
  copyKeys(): Operand {
    const { engine, heads, keyWidth } = this;
    const tensor = engine.empty([this.#batch, heads, this.#length, keyWidth]);
    const to = operandOf(tensor, heads, this.#length, keyWidth);
    this.#copy({ k: this.k }, { k: to }, this.#length);
    return to;
  }

  /** Frees the memory. Further calls do nothing. */
  dispose(): void {
    this.#rows?.k.dispose();
    this.#rows?.v.dispose();
    this.#rows = undefined;
  }

  #live(): { k: Tensor; v: Tensor } {
    if (!this.#rows) throw new EngineError('key/value cache: used after it was disposed');
    return this.#rows;
  }

  #allocate(): { k: Tensor; v: Tensor } {
    const { engine, heads, capacity, keyWidth, valueWidth } = this;
    const k = engine.keep(engine.empty([this.#batch, heads, capacity, keyWidth]));
    try {
      return { k, v: engine.keep(engine.empty([this.#batch, heads, capacity, valueWidth])) };
    } catch (error) {
      k.dispose();
      throw error;
    }
  }

  #copy(
    from: { k: Operand; v?: Operand },
    to: { k: Operand; v?: Operand },
    rows: number,
    index?: Tensor,
  ): void {
    const { engine, heads: H, keyWidth: D, valueWidth: Dv } = this;
    const B = this.#batch;
    const pairs = rows > 0 ? B * H : 0;
    const perPart = Math.max(1, Math.ceil(PART_NUMBERS / Math.max(1, rows * (D + Dv))));
    const slots = {
      ...strided('kFrom', from.k),
      ...strided('kTo', to.k),
      ...strided('vFrom', from.v),
      ...strided('vTo', to.v),
      ...{ B, H, rows, D, Dv, index: index?.pointer ?? 0, perPart },
    };
    engine.run('cacheRows', slots, Math.ceil(pairs / perPart));
  }
}

/** A contiguous [B,H,L,width] tensor. */
function operandOf(tensor: Tensor, heads: number, rows: number, width: number): Operand {
  return { tensor, offset: 0, batch: heads * rows * width, head: rows * width, row: width };
}
