// Rows of q and k that lie in files, kept in an engine: the least recently used are given up first, all of one engine
// together within a stated size.
import type { Engine, Tensor } from '../engine/types.js';
import { EngineError, LimitError } from '../tensor/errors.js';

/** Bytes kept per engine. An object, so that tests can set it. */
export const shelf = { bytes: 2 ** 30 };

interface Held {
  readonly owner: object;
  readonly tensor: Tensor;
}

const engines = new WeakMap<Engine, Map<string, Held>>();
let named = 0;

/** What one map holds: heads, or all of q or k, by name. */
export class HeldHeads {
  private readonly all: Map<string, Held>;
  private readonly name: number;
  private ended = false;

  constructor(private readonly engine: Engine) {
    this.all = engines.get(engine) ?? new Map();
    engines.set(engine, this.all);
    this.name = named++;
  }

  /** Rows, if they are there: then they count as used. */
  find(own: string): Tensor | undefined {
    const name = `${this.name}:${own}`;
    const held = this.all.get(name);
    if (held === undefined) return undefined;
    this.all.delete(name);
    this.all.set(name, held);
    return held.tensor;
  }

  /**
   * Adds rows [rows, D], float32, which `fill` writes. Others that are needed `beside` them stay.
   * Rejects with LimitError where there is no room, EngineError once this is disposed.
   */
  async add(
    [own, beside]: readonly [string, string | undefined],
    shape: readonly [rows: number, D: number],
    fill: (tensor: Tensor) => Promise<void>,
  ): Promise<void> {
    const stays = `${this.name}:${beside}`;
    this.makeRoom(4 * shape[0] * shape[1], stays);
    const tensor = this.allocate(shape, stays);
    try {
      await fill(tensor);
      if (this.ended) throw new EngineError('attention map: disposed while it was read');
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    this.all.set(`${this.name}:${own}`, { owner: this, tensor });
  }

  dispose(): void {
    this.ended = true;
    this.clear();
  }

  /** Gives up what this map holds. */
  clear(): void {
    for (const [name, { owner }] of this.all) if (owner === this) this.drop(name);
  }

  private makeRoom(bytes: number, stays: string): void {
    let sum = bytes;
    for (const { tensor } of this.all.values()) sum += 4 * tensor.size;
    for (const [name, { tensor }] of this.all) {
      if (sum <= shelf.bytes) return;
      if (name === stays) continue;
      sum -= 4 * tensor.size;
      this.drop(name);
    }
  }

  /** Gives up one after the other where the engine has no memory. */
  private allocate(shape: readonly number[], stays: string): Tensor {
    for (;;) {
      try {
        return this.engine.keep(this.engine.empty(shape));
      } catch (error) {
        const oldest = [...this.all.keys()].find((name) => name !== stays);
        if (!(error instanceof LimitError) || oldest === undefined) throw error;
        this.drop(oldest);
      }
    }
  }

  private drop(name: string): void {
    this.all.get(name)!.tensor.dispose();
    this.all.delete(name);
  }
}
