// What was computed and drawn, within a budget of bytes: the least recently used is dropped.

export class TileCache<T extends { readonly bytes: number }> {
  private readonly held = new Map<string, T>();
  private used = 0;

  constructor(readonly budget: number) {}

  get bytes(): number {
    return this.used;
  }

  get size(): number {
    return this.held.size;
  }

  /** Makes it the most recently used. */
  get(key: string): T | undefined {
    const tile = this.held.get(key);
    if (tile) {
      this.held.delete(key);
      this.held.set(key, tile);
    }
    return tile;
  }

  /** Leaves the order alone. */
  peek(key: string): T | undefined {
    return this.held.get(key);
  }

  set(key: string, tile: T): void {
    this.used += tile.bytes - (this.held.get(key)?.bytes ?? 0);
    this.held.delete(key);
    this.held.set(key, tile);
    for (const [oldest, { bytes }] of this.held) {
      if (this.used <= this.budget || oldest === key) break;
      this.held.delete(oldest);
      this.used -= bytes;
    }
  }

  values(): IterableIterator<T> {
    return this.held.values();
  }

  clear(): void {
    this.held.clear();
    this.used = 0;
  }
}
