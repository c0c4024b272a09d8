// How long work is watched: what it tells of its progress, and that a signal ends it.
import { expect } from 'vitest';
import type { Watch } from '../../dist/map/progress.js';

/**
 * Runs work that takes a watch three times: it tells more than `least` fractions, rising to 1; it rejects with the reason
 * of a signal that comes after its first part, and of one that came before it. Returns what the first run gave.
 */
export async function expectWatched<T>(least: number, run: (watch: Watch) => Promise<T>): Promise<T> {
  const told: number[] = [];
  const result = await run({ onProgress: (fraction) => told.push(fraction) });
  expect(told.length).toBeGreaterThan(least);
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect(told.at(-1)).toBe(1);
  const stop = new AbortController();
  let parts = 0;
  const onProgress = () => {
    parts++;
    stop.abort(new Error('enough'));
  };
  await expect(run({ signal: stop.signal, onProgress })).rejects.toThrow('enough');
  expect(parts).toBe(1);
  await expect(run({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
  return result;
}
