// Checks of what a caller asks a map for. All throw OptionError.
import { OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';
import type { Range } from './parts.js';

/** The place itself, where it is an object. */
export function place<T extends object>(value: T): T {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new OptionError(`attention map: expected a place, such as { head, query }, got ${describe(value)}`);
}

/** The value itself, where it is a whole number from 0 to below `end`. */
export function below(what: string, value: unknown, end: number): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= end) {
    throw new OptionError(`${what} is a whole number from 0 to below ${end}, got ${describe(value)}`);
  }
  return value as number;
}

/** As below(); what has but one may be left out. */
export function index(name: string, value: number | undefined, end: number): number {
  return value === undefined && end === 1 ? 0 : below(`attention map: ${name}`, value, end);
}

export function range(name: string, value: Range | undefined, end: number): Range {
  if (value === undefined) return [0, end];
  const [from, to] = Array.isArray(value) && value.length === 2 ? (value as Range) : [Number.NaN, Number.NaN];
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > end) {
    const got = Array.isArray(value) ? `[${value.map(describe).join(', ')}]` : describe(value);
    throw new OptionError(`attention map: ${name} is [from, to) within 0 to ${end}, got ${got}`);
  }
  return [from, to];
}

export function count(name: string, value: unknown, least: number): void {
  if (!Number.isSafeInteger(value) || (value as number) < least) {
    throw new OptionError(`attention map: ${name} is a whole number from ${least}, got ${describe(value)}`);
  }
}
