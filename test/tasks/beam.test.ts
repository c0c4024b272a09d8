import { describe, expect, test } from 'vitest';
import { type BeamOptions, beamSearch, type Steps } from '../../dist/tasks/beam.js';

const VOCABULARY = 6;
const options: BeamOptions = { beam: 4, lengthPenalty: 1, limits: [5], start: 1, end: 2, banned: [0, 1] };

/** A language whose next token depends on all before it, by a hash: as rough as can be. */
function logProbabilities(sentence: number, ids: readonly number[]): number[] {
  let hash = 17 + sentence * 101;
  for (const id of ids) hash = (Math.imul(hash, 31) + id * 7919) >>> 0;
  const raw = Array.from({ length: VOCABULARY }, (_, token) => {
    const mixed = Math.imul(hash ^ (token * 2654435761), 2246822519) >>> 0;
    return 4 * ((mixed ^ (mixed >>> 13)) / 2 ** 32);
  });
  const sum = Math.log(raw.reduce((total, x) => total + Math.exp(x), 0));
  return raw.map((x) => x - sum);
}

class Toy implements Steps {
  private rows: { sentence: number; ids: number[] }[];
  widths: number[] = [];
  constructor(
    sentences: number[],
    private beam = 4,
  ) {
    this.rows = sentences.flatMap((sentence) => Array.from({ length: beam }, () => ({ sentence, ids: [] })));
  }
  async step(ids: Int32Array): Promise<Float32Array> {
    expect(ids).toHaveLength(this.rows.length);
    this.widths.push(ids.length);
    for (const [i, row] of this.rows.entries()) row.ids.push(ids[i]);
    return Float32Array.from(
      this.rows.flatMap(({ sentence, ids }) => logProbabilities(sentence, ids.slice(1))),
    );
  }
  reorder(parents: Int32Array): void {
    expect(parents.length % this.beam).toBe(0);
    for (let i = 0; i < parents.length; i++) {
      const first = parents[i - (i % this.beam)];
      expect(this.rows[parents[i]].sentence).toBe(this.rows[first].sentence);
    }
    this.rows = Array.from(parents, (parent) => structuredClone(this.rows[parent]));
  }
}

/** All hypotheses, by exhaustion. */
function exhaust(sentence: number, limit: number, penalty: number) {
  const all: { ids: number[]; score: number }[] = [];
  const visit = (ids: number[], logProbability: number) => {
    if (ids.length === limit) {
      all.push({ ids, score: logProbability / ids.length ** penalty });
      return;
    }
    const next = logProbabilities(sentence, ids);
    if (ids.length > 0) all.push({ ids, score: (logProbability + next[2]) / (ids.length + 1) ** penalty });
    for (const token of [3, 4, 5]) visit([...ids, token], logProbability + next[token]);
  };
  visit([], 0);
  return all.sort((a, b) => b.score - a.score);
}

describe('beam search', () => {
  test('a beam as wide as the space finds the best of all (score ± 1e-5)', async () => {
    for (let sentence = 0; sentence < 30; sentence++) {
      const [[found]] = await beamSearch(new Toy([sentence], 64), {
        ...options,
        beam: 64,
        limits: [4],
        lengthPenalty: 0,
      });
      const [best] = exhaust(sentence, 4, 0);
      expect(found.ids).toEqual(best.ids);
      expect(Math.abs(found.score - best.score)).toBeLessThan(1e-5);
    }
  });

  test('beam 1 takes the likeliest token each time, and the end mark not first', async () => {
    for (let sentence = 0; sentence < 30; sentence++) {
      const ids: number[] = [];
      while (ids.length < 5) {
        const next = logProbabilities(sentence, ids);
        const choice = (ids.length === 0 ? [3, 4, 5] : [2, 3, 4, 5]).reduce((a, b) =>
          next[b] > next[a] ? b : a,
        );
        if (choice === 2) break;
        ids.push(choice);
      }
      const [[found]] = await beamSearch(new Toy([sentence], 1), { ...options, beam: 1 });
      expect(found.ids).toEqual(ids);
      expect(found.ended).toBe(ids.length < 5);
    }
  });

  test('a wider beam is never worse on the whole; sentences together give what each gives alone', async () => {
    const sentences = Array.from({ length: 12 }, (_, i) => i);
    const alone = await Promise.all(sentences.map(async (s) => (await beamSearch(new Toy([s]), options))[0]));
    const limits = sentences.map(() => 5);
    expect(await beamSearch(new Toy(sentences), { ...options, limits })).toEqual(alone);
    const total = async (beam: number) =>
      (await beamSearch(new Toy(sentences, beam), { ...options, beam, limits })).reduce(
        (sum, [best]) => sum + best.score,
        0,
      );
    expect(await total(4)).toBeGreaterThan(await total(1));
    expect(await total(16)).toBeGreaterThanOrEqual(await total(4));
  });

  test('rows shrink as sentences end, each at its own limit; a penalty of 2 lengthens', async () => {
    const toy = new Toy([1, 2, 3]);
    const found = await beamSearch(toy, { ...options, limits: [1, 3, 5] });
    for (const [i, [{ ids }]] of found.entries()) expect(ids.length).toBeLessThanOrEqual([1, 3, 5][i]);
    expect(Math.max(...toy.widths)).toBeLessThanOrEqual(12);
    expect(toy.widths.at(-1)).toBeLessThanOrEqual(4);
    const length = async (lengthPenalty: number) =>
      (await beamSearch(new Toy([5, 6, 7, 8]), { ...options, limits: [5, 5, 5, 5], lengthPenalty })).flatMap(
        ([{ ids }]) => ids,
      ).length;
    expect(await length(2)).toBeGreaterThan(await length(0));
  });

  test('refuses options out of range, and scores that are not numbers', async () => {
    await expect(beamSearch(new Toy([1]), { ...options, beam: 0 })).rejects.toThrow(/beam: .* got 0/);
    await expect(beamSearch(new Toy([1]), { ...options, lengthPenalty: Number.NaN })).rejects.toThrow(
      /got NaN/,
    );
    const broken: Steps = {
      step: async (ids) => new Float32Array(ids.length * 6).fill(Number.NaN),
      reorder() {},
    };
    await expect(beamSearch(broken, options)).rejects.toThrow(/not numbers/);
  });
});
