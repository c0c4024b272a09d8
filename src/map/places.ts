// Checks of what a caller asks a map for. All throw OptionError.
import { OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';
import type { Range } from './parts.js';

export function index(name: string, value: number | undefined, end: number): number {
  if (value === undefined && end === 1) return 0;
  if (!Number.isInteger(value) || value! < 0 || value! >= end) {
    throw new OptionError(
      `attention map: ${name} is a whole number from 0 to below ${end}, got ${describe(value)}`,
    );
  }
  return value!;
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
