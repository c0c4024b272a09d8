// The model that ships, on the sentences of `npm start`: what holds for any good weights, whatever words they choose.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import { alignWords, crossWeights } from '../../dist/inspect/index.js';
import { loadTranslator, type Translation, type Translator } from '../../dist/tasks/translate.js';

const folder = join(import.meta.dirname, '../../models/en-fr');
const SENTENCES = [
  'Who is taking responsibility for the loss?',
  'I have never seen such a beautiful sunset.',
  'We were all present at the meeting yesterday.',
];

let engine: Awaited<ReturnType<typeof createEngine>>;
let translator: Translator;
let translations: Translation[];

beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
  translator = await loadTranslator(folder, { engine });
  translations = await translator.translate(SENTENCES);
}, 120_000);
afterAll(() => engine.dispose());

const align = async ({ source, target, attention }: Translation) =>
  alignWords(source, target, crossWeights(await attention()));

test('it takes at most 12 MB', async () => {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  const bytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  expect(bytes).toBeGreaterThan(1e6);
  expect(bytes).toBeLessThanOrEqual(12e6);
});

test('each sentence becomes another, whole and not unlikely; the questions stay questions', () => {
  for (const { text, source, ended, score, logProbability } of translations) {
    expect(ended).toBe(true);
    expect(text).not.toBe(source.text);
    expect(text.at(-1)).toBe(source.text.at(-1));
    expect(text.split(' ').length).toBeGreaterThanOrEqual(5);
    // Natural logarithms: a mean probability per token of over 1/e, and no certainty.
    expect(score).toBeGreaterThan(-1);
    expect(logProbability).toBeLessThan(0);
  }
});

test('every row of attention, in every layer and head, sums to 1 (± 1e-5)', async () => {
  const { decoderLayers, heads } = translator.loaded.config;
  for (const { source, target, attention } of translations) {
    const all = await attention();
    expect([all.layers, all.heads]).toEqual([decoderLayers, heads]);
    expect([all.targetLength, all.sourceLength]).toEqual([target.ids.length + 1, source.ids.length + 1]);
    let worst = 0;
    for (let at = 0; at < all.weights.length; at += all.sourceLength) {
      const row = all.weights.subarray(at, at + all.sourceLength);
      worst = Math.max(worst, Math.abs(row.reduce((sum, w) => sum + w, 0) - 1));
      expect(row.every((w) => w >= 0)).toBe(true);
    }
    expect(worst).toBeLessThan(1e-5);
  }
});

test('alignment follows the order of the words: at most a quarter of all pairs of words cross', async () => {
  for (const translation of translations) {
    const { pairs, sourceWords } = await align(translation);
    const places = pairs.map(({ source }) => source);
    // Not all words look at one: half of the source's are looked at.
    expect(new Set(places).size).toBeGreaterThanOrEqual(sourceWords.length / 2);
    let [crossed, all] = [0, 0];
    for (let i = 0; i < places.length; i++)
      for (let j = i + 1; j < places.length; j++, all++) if (places[i] > places[j]) crossed++;
    expect(crossed / all).toBeLessThanOrEqual(0.25);
  }
});

test('names and numbers come through, and look at themselves', async () => {
  const { pairs, sourceWords, targetWords } = await align(
    await translator.translate('Tom paid Mary 30 dollars in Boston.'),
  );
  for (const word of ['Tom', 'Mary', '30', 'Boston']) {
    expect(targetWords).toContain(word);
    expect(sourceWords[pairs[targetWords.indexOf(word)].source]).toBe(word);
  }
});

test('translating and reading attention leave the engine as it was', async () => {
  const before = engine.memory;
  for (const translation of await translator.translate(SENTENCES)) await translation.attention();
  expect(engine.memory).toEqual(before);
});
