// Fields of a JSON object from outside, read one by one: each is checked, errors name its full path and what came.
import { describe } from './host.js';

const show = (value: unknown) => (value === undefined ? 'nothing' : describe(value));

/** Reads fields of one object, and remembers which are known. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #error: (message: string) => Error;
  readonly #seen = new Set<string>();

  /** `error` makes what is thrown for a field that does not fit. */
  constructor(value: unknown, path: string, error: (message: string) => Error) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw error(`${path ? `${path}: ` : ''}expected a JSON object, got ${show(value)}`);
    }
    this.#values = value as Record<string, unknown>;
    this.#path = path;
    this.#error = error;
  }

  get(name: string): unknown {
    this.#seen.add(name);
    return Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
  }

  fail(name: string, expected: string, got: unknown): never {
    throw this.#error(`${this.#path ? `${this.#path}.` : ''}${name}: expected ${expected}, got ${show(got)}`);
  }

  number(name: string, low: number, high: number, fallback?: number, openLow = false): number {
    const value = this.get(name) ?? fallback;
    const fits = typeof value === 'number' && (openLow ? value > low : value >= low) && value <= high;
    if (!fits) this.fail(name, `a number ${openLow ? 'over' : 'from'} ${low} to ${high}`, value);
    return value;
  }

  whole(name: string, low: number, high: number, fallback?: number): number {
    const value = this.get(name) ?? fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
      this.fail(name, `a whole number from ${low} to ${high}`, value);
    }
    return value;
  }

  text(name: string, fallback?: string): string {
    const value = this.get(name) ?? fallback;
    if (typeof value !== 'string' || value === '') this.fail(name, 'a string', value);
    return value;
  }

  optionalText(name: string): string | undefined {
    const value = this.get(name);
    return value === undefined || value === null ? undefined : this.text(name);
  }

  choice<T extends string>(name: string, choices: readonly T[], fallback?: T): T {
    const value = this.get(name) ?? fallback;
    if (!choices.includes(value as T)) this.fail(name, choices.map((c) => `"${c}"`).join(' or '), value);
    return value as T;
  }

  section(name: string, optional = true): Fields {
    const value = this.get(name);
    if (value === undefined && !optional) this.fail(name, 'an object', value);
    return new Fields(value ?? {}, this.#path ? `${this.#path}.${name}` : name, this.#error);
  }

  maybe(name: string): Fields | null {
    const value = this.get(name);
    return value === undefined || value === null ? null : this.section(name);
  }

  /** Refuses fields that nobody asked for: a misspelt name must not be ignored. */
  done(): void {
    for (const name of Object.keys(this.#values)) {
      if (!this.#seen.has(name)) this.fail(name, `one of ${[...this.#seen].join(', ')}`, 'an unknown field');
    }
  }
}
