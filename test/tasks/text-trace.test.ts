// The attention of a long text to itself: passages planted in it, some with words changed, are found where they stand.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import { openTrace, saveTrace, type Trace } from '../../dist/index.js';
import { loadTranslator, type Translator, traceText } from '../../dist/tasks/index.js';

vi.setConfig({ testTimeout: 300_000 });

const root = join(import.meta.dirname, '../..');
const data = join(root, '../shared/data/tatoeba-en-fr/test.tsv');

let engine: Awaited<ReturnType<typeof createEngine>>;
let translator: Translator;

beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
  translator = await loadTranslator(join(root, 'models/en-fr'), { engine });
}, 120_000);
afterAll(() => engine.dispose());

const ENTRY = 'text.selfAttention';

/** Sentences of everyday English in lines of a fixed width, with passages copied: how many words of each are changed, and
 * where the words of the passage and its copy stand, in words between spaces. */
function plantedText() {
  const sentences = readFileSync(data, 'utf8')
    .split('\n')
    .map((line) => line.split('\t')[0])
    .filter((line) => /[.?!]$/.test(line));
  const words = sentences.map((sentence) => sentence.split(' '));
  const vocabulary = words.flat().filter((word) => /^[a-z]+$/.test(word));
  const passages = [0, 0, 10, 10, 5].map((every, i) => ({ every, from: 60 + 150 * i, to: 84 + 150 * i }));
  const at = (passage: number) => 900 + 130 * passage;
  const units: { word: string; original?: number; changed?: boolean; passage?: number }[] = [];
  const starts: number[] = [];
  let seed = 1;
  words.slice(0, 1600).forEach((sentence, s) => {
    passages.forEach(({ every, from, to }, passage) => {
      if (s !== at(passage)) return;
      let n = starts[from];
      for (const word of words.slice(from, to).flat()) {
        const changed = every > 0 && n % every === 0;
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        const other = vocabulary[seed % vocabulary.length];
        units.push({ word: changed ? other : word, original: n++, changed, passage });
      }
    });
    starts[s] = units.length;
    units.push(...sentence.map((word) => ({ word })));
  });
  let column = 0;
  const text = units
    .map(({ word }) => {
      column += word.length + 1;
      if (column < 80) return `${word} `;
      column = 0;
      return `${word}\r\n`;
    })
    .join('');
  return { text, units };
}

describe.skipIf(!existsSync(data))('planted passages (needs ../shared/data/tatoeba-en-fr)', () => {
  let planted: ReturnType<typeof plantedText>;
  let trace: Trace;
  /** The word of the trace that begins where a word between spaces does. */
  let first: number[];

  beforeAll(async () => {
    planted = plantedText();
    trace = await traceText(translator, planted.text);
    const { text, wordSpans } = trace.texts.text;
    const wordAt = new Map(wordSpans.map(([start], word) => [start, word]));
    let at = 0;
    first = planted.units.map(({ word }) => {
      const start = text.indexOf(word, at);
      at = start + word.length;
      return wordAt.get(start)!;
    });
  }, 300_000);
  afterAll(() => trace.dispose());

  const twins = (passage: number) =>
    planted.units.flatMap((unit, n) =>
      unit.passage === passage && !unit.changed ? [[first[n], first[unit.original!]]] : [],
    );

  /** The share of words, unchanged ones, whose weightiest key other than the word itself is its twin. */
  async function found(passage: number): Promise<number> {
    const map = await trace.entries[0].map();
    const pairs = twins(passage);
    let hits = 0;
    for (const [query, twin] of pairs) {
      const { keys } = await map.topKeys({ query, count: 2 });
      if ([...keys].find((key) => key !== query) === twin) hits++;
    }
    expect(pairs.length).toBeGreaterThan(100);
    return hits / pairs.length;
  }

  test('the text is kept, its lines joined, and its tokens are its words', () => {
    const { text, tokens, offsets, words } = trace.texts.text;
    expect(text).toBe(planted.units.map(({ word }) => word).join(' '));
    expect(offsets.map(([start, end]) => text.slice(start, end))).toEqual(tokens);
    expect(words).toEqual(tokens.map((_, i) => i));
    expect(tokens.length).toBeGreaterThan(12_000);
    expect(trace.entries[0]).toMatchObject({ name: ENTRY, shape: [1, tokens.length, tokens.length], D: 128 });
  });

  test('every word of a passage that repeats attends most to itself and its twin, and to both alike', async () => {
    const map = await trace.entries[0].map();
    for (const passage of [0, 1]) {
      expect(await found(passage)).toBeGreaterThan(0.97);
      for (const [query, twin] of twins(passage).slice(0, 20)) {
        const row = await map.row({ query });
        expect(row[twin]).toBeGreaterThan(0.9 * row[query]);
      }
    }
  });

  test('where every tenth word is changed at least 60% of the others find their twin, where every fifth 40%', async () => {
    for (const passage of [2, 3]) expect(await found(passage)).toBeGreaterThan(0.6);
    expect(await found(4)).toBeGreaterThan(0.4);
  });

  test('in a picture of 64 × 64 each passage is among the brightest thousandth off the diagonal', async () => {
    const map = await trace.entries[0].map();
    const R = 64;
    const [, , N] = map.shape;
    const { data: picture } = await map.pool({ rows: R, columns: R, reduce: 'sum' });
    const bin = (word: number) => Math.floor((word * R) / N);
    const others: number[] = [];
    const cells = new Map<number, number[]>();
    const taken = new Set<number>();
    for (let passage = 0; passage < 5; passage++) {
      for (const [query, twin] of twins(passage)) {
        const [i, j] = [bin(query), bin(twin)];
        taken.add(i * R + j).add(j * R + i);
        cells.set(passage, [...(cells.get(passage) ?? []), picture[i * R + j]]);
      }
    }
    for (let i = 0; i < R; i++)
      for (let j = 0; j < R; j++)
        if (Math.abs(i - j) > 1 && !taken.has(i * R + j)) others.push(picture[i * R + j]);
    others.sort((a, b) => b - a);
    const thousandth = others[Math.floor(others.length / 1000)];
    for (const values of cells.values()) expect(Math.max(...values)).toBeGreaterThan(2 * thousandth);
  });

  test('words at the same position have nothing in common: the mean of the first words of sentences is below 0.15', async () => {
    const { text, wordSpans } = trace.texts.text;
    const { data: q } = (await trace.entries[0].read('q'))!;
    const mean = new Float64Array(128);
    let count = 0;
    wordSpans.forEach(([start], word) => {
      if (start > 0 && !/[.?!] $/.test(text.slice(start - 2, start))) return;
      count++;
      for (let d = 0; d < 128; d++) mean[d] += q[word * 128 + d];
    });
    expect(count).toBeGreaterThan(1500);
    expect(Math.hypot(...mean) / count).toBeLessThan(0.15);
  });

  test('a saved one opens again, with the same rows', async () => {
    const again = await openTrace(await saveTrace(trace), { engine });
    expect(again.texts).toEqual(trace.texts);
    const [a, b] = [await again.entries[0].map(), await trace.entries[0].map()];
    expect(await a.row({ query: 77 })).toEqual(await b.row({ query: 77 }));
    again.dispose();
  });
});

const STORY = 'The cat sees the dog. The dog sees the cat.\n\nWhere is the cat?';

test('the shortest text has two words; nothing remains in the engine', async () => {
  const before = engine.memory.tensors;
  for (const text of [
    'Yes.',
    STORY,
    '\ufeffa b',
    `${'x'.repeat(5000)} ${'y '.repeat(700)}`,
    '한국어 문장.',
  ]) {
    const trace = await traceText(translator, text);
    expect(engine.memory.tensors).toBe(before);
    const { data } = (await trace.entries[0].read('q'))!;
    expect(data.every(Number.isFinite)).toBe(true);
    const map = await trace.entries[0].map();
    const row = await map.row({ query: 0 });
    expect(row.reduce((sum, w) => sum + w, 0)).toBeCloseTo(1, 5);
    trace.dispose();
    expect(engine.memory.tensors).toBe(before);
  }
});

test('an empty line ends a paragraph, and the words of each sentence follow in order', async () => {
  const trace = await traceText(translator, STORY);
  expect(trace.texts.text.text).toBe('The cat sees the dog. The dog sees the cat.\nWhere is the cat?');
  expect(trace.texts.text.tokens.slice(0, 7)).toEqual(['The', 'cat', 'sees', 'the', 'dog', '.', 'The']);
  expect(trace.entries[0].shape).toEqual([1, 17, 17]);
  trace.dispose();
});

test('it tells its progress up to 1, and stops at a signal with its reason', async () => {
  const told: number[] = [];
  const long = `${STORY} `.repeat(500);
  const trace = await traceText(translator, long, { onProgress: (fraction) => told.push(fraction) });
  trace.dispose();
  expect(told.length).toBeGreaterThan(3);
  expect(told).toEqual([...told].sort((a, b) => a - b));
  expect(told.at(-1)).toBe(1);
  const before = engine.memory.tensors;
  const stop = new AbortController();
  const stopped = traceText(translator, long, {
    signal: stop.signal,
    onProgress: () => stop.abort(new Error('enough')),
  });
  await expect(stopped).rejects.toThrow('enough');
  expect(engine.memory.tensors).toBe(before);
});

test.each([
  ['', /at least two words, got none/],
  [' \n\t', /at least two words, got none/],
  ['word', /at least two words, got one/],
  [7, /expected a string, got number/],
])('%j is refused', async (text, message) => {
  await expect(traceText(translator, text as string)).rejects.toThrow(message);
});

test('a text of over a million words is refused before any is encoded', async () => {
  const start = performance.now();
  const error = await traceText(translator, 'one two three four. '.repeat(210_000)).catch((caught) => caught);
  expect(error).toMatchObject({ code: 'FOVEA_LIMIT', message: expect.stringMatching(/over 1000000 words/) });
  expect(performance.now() - start).toBeLessThan(120_000);
});
