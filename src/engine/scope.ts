// Scopes: which tensors are freed when a synchronous stretch of work ends. Knows handles, not memory.
import type { EngineTensor } from './tensor.js';

/** Tensors made while this scope was the innermost one. */
export class Scope {
  private tensors: EngineTensor[] = [];
  private gone = 0;

  constructor(readonly outer: Scope | undefined) {}

  add(tensor: EngineTensor): void {
    tensor.owner = this;
    this.tensors.push(tensor);
  }

  /** One of this scope's tensors was disposed, kept or handed on; a long loop must not grow the list. */
  left(): void {
    this.gone++;
    if (this.gone < 256 || this.gone * 2 < this.tensors.length) return;
    this.tensors = this.tensors.filter((tensor) => tensor.owner === this);
    this.gone = 0;
  }

  /** Hands this scope's tensors among `survivors` to the scope around it and frees the others. */
  close(survivors: readonly EngineTensor[]): void {
    for (const tensor of survivors) {
      if (tensor.owner !== this) continue;
      tensor.owner = undefined;
      this.outer?.add(tensor);
    }
    const leaving = this.tensors;
    this.tensors = [];
    for (const tensor of leaving) if (tensor.owner === this) tensor.dispose();
  }
}

/** Everything in `value`, through arrays and plain objects of any depth, that `is` recognises. */
export function collect<T extends object>(value: unknown, is: (candidate: object) => candidate is T): T[] {
  const found: T[] = [];
  const seen = new Set<object>();
  const waiting: unknown[] = [value];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (typeof next !== 'object' || next === null || seen.has(next)) continue;
    seen.add(next);
    if (is(next)) found.push(next);
    else if (Array.isArray(next) || isPlain(next)) for (const item of Object.values(next)) waiting.push(item);
  }
  return found;
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
