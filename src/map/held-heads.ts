// Rows of q and k that lie in files, kept in an engine: the least recently used are given up first, all of one engine
// together within a stated size, those that are being read included.
import type { Engine, Tensor } from '../engine/types.js';
import { EngineError, LimitError } from '../tensor/errors.js';
import { Lock } from './lock.js';
import { type Progress, turn } from './progress.js';

/** Bytes kept per engine. An object, so that tests can set it. */
export const shelf = { bytes: 2 ** 30 };

interface Held {
  readonly owner: object;
  readonly tensor: Tensor;
}

/** What a reading under way needs: it stays, and room for all of it is kept. */
interface Reserved {
  readonly names: readonly string[];
  readonly bytes: number;
}

class Shelf {
  /** By map and name, the least recently used first. */
  readonly held = new Map<string, Held>();
  readonly reserved = new Set<Reserved>();
  /** Readings ask for room one after the other. */
  readonly door = new Lock();
  /** Tells the one at the door that a reading has ended. */
  wake = () => {};

  stays(name: string): boolean {
    for (const { names } of this.reserved) if (names.includes(name)) return true;
    return false;
  }

  drop(name: string): void {
    this.held.get(name)!.tensor.dispose();
    this.held.delete(name);
  }

  /** Resolves when a reading ends. */
  ending(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  /** Bytes of readings under way. */
  get promised(): number {
    let sum = 0;
    for (const { bytes } of this.reserved) sum += bytes;
    return sum;
  }

  /** Gives up what no reading needs until all fits. */
  makeRoom(): void {
    const idle = [...this.held].filter(([name]) => !this.stays(name));
    let sum = this.promised;
    for (const [, { tensor }] of idle) sum += 4 * tensor.size;
    for (const [name, { tensor }] of idle) {
      if (sum <= shelf.bytes) return;
      sum -= 4 * tensor.size;
      this.drop(name);
    }
  }
}

const shelves = new WeakMap<Engine, Shelf>();
let named = 0;

/** What one map holds: heads, or all of q or k, by name. */
export class HeldHeads {
  private readonly shelf: Shelf;
  private readonly map: number;
  private ended = false;

  constructor(private readonly engine: Engine) {
    this.shelf = shelves.get(engine) ?? new Shelf();
    shelves.set(engine, this.shelf);
    this.map = named++;
  }

  /** Rows, if they are there: then they count as used. */
  find(own: string): Tensor | undefined {
    const { held } = this.shelf;
    const found = held.get(this.name(own));
    if (found === undefined) return undefined;
    held.delete(this.name(own));
    held.set(this.name(own), found);
    return found.tensor;
  }

  /**
   * Runs a reading that finds or adds rows of these names, so many bytes in all: they stay until it ends. It waits while
   * others that are under way leave no room; one alone goes on whatever its size. Rejects with the watch's reason.
   */
  async reserve(
    names: readonly string[],
    bytes: number,
    watch: Progress,
    read: () => Promise<void>,
  ): Promise<void> {
    const { shelf: own } = this;
    const reserved = { names: names.map((name) => this.name(name)), bytes };
    await own.door.run(watch, async () => {
      while (own.reserved.size > 0 && own.promised + bytes > shelf.bytes) await watch.wait(own.ending());
      own.reserved.add(reserved);
      own.makeRoom();
    });
    try {
      await read();
    } finally {
      own.reserved.delete(reserved);
      // Whoever waited for these rows uses them before the next may take their room.
      void turn().then(() => own.wake());
    }
  }

  /**
   * Adds rows [rows, D], float32, which `fill` writes, within a reading that has reserved them.
   * Rejects with LimitError where there is no room, EngineError once this is disposed.
   */
  async add(
    own: string,
    shape: readonly [rows: number, D: number],
    fill: (tensor: Tensor) => Promise<void>,
  ): Promise<void> {
    const tensor = this.allocate(shape);
    try {
      await fill(tensor);
      if (this.ended) throw new EngineError('attention map: disposed while it was read');
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    this.shelf.held.set(this.name(own), { owner: this, tensor });
  }

  dispose(): void {
    this.ended = true;
    this.clear();
  }

  /** Gives up what this map holds. */
  clear(): void {
    for (const [name, { owner }] of this.shelf.held) if (owner === this) this.shelf.drop(name);
  }

  private name(own: string): string {
    return `${this.map}:${own}`;
  }

  /** Gives up one after the other where the engine has no memory. */
  private allocate(shape: readonly number[]): Tensor {
    const { shelf: own } = this;
    for (;;) {
      try {
        return this.engine.keep(this.engine.empty(shape));
      } catch (error) {
        const oldest = [...own.held.keys()].find((name) => !own.stays(name));
        if (!(error instanceof LimitError) || oldest === undefined) throw error;
        own.drop(oldest);
      }
    }
  }
}
