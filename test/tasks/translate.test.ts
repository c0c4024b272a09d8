import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import { EngineTensor } from '../../dist/engine/tensor.js';
import { openTrace, saveTrace } from '../../dist/index.js';
import { alignWords, crossWeights, valueWeightedNorms } from '../../dist/inspect/index.js';
import { evaluate } from '../../dist/tasks/evaluate.js';
import { decodeGreedy } from '../../dist/tasks/greedy.js';
import { loadTranslator, type Translator } from '../../dist/tasks/translate.js';
import { LimitError, OptionError } from '../../dist/tensor/errors.js';
import { FRENCH, makeTinyModel, SENTENCES } from '../helpers/tiny-model.js';

let folder: string;
let engine: Awaited<ReturnType<typeof createEngine>>;
let translator: Translator;

beforeAll(async () => {
  folder = await makeTinyModel();
  engine = await createEngine({ threads: 2 });
  translator = await loadTranslator(folder, { engine });
}, 300_000);
afterAll(async () => {
  await engine.dispose();
  await rm(folder, { recursive: true });
});

describe('translate', () => {
  test('one sentence, several, and a stream give the same, in order', async () => {
    const all = await translator.translate(SENTENCES);
    expect(all.map(({ source }) => source.text)).toEqual(SENTENCES);
    expect(all.map(({ text }) => text)).toEqual(FRENCH);
    const streamed: string[] = [];
    for await (const { text } of translator.stream(SENTENCES, { together: 3 })) streamed.push(text);
    expect(streamed).toEqual(all.map(({ text }) => text));
    for (const [i, sentence] of SENTENCES.entries()) {
      const one = await translator.translate(`  ${sentence.replace(' ', ' \u00a0')}\n`);
      expect(one.text).toBe(all[i].text);
      expect(Math.abs(one.score - all[i].score)).toBeLessThan(1e-4);
      expect(one.text).toBe(one.target.text);
    }
  });

  test('beam 1 is greedy decoding; a beam of 4 scores no worse on the whole', async () => {
    const { model, tokenizer, config } = translator.loaded;
    const sources = SENTENCES.map((text) => Int32Array.of(...tokenizer.encodeIds(text), config.end));
    const greedy = await decodeGreedy(model, sources);
    const beam1 = await translator.translate(SENTENCES, { beam: 1 });
    const beam4 = await translator.translate(SENTENCES, { beam: 4 });
    expect(beam1.map(({ target }) => Array.from(target.ids))).toEqual(greedy);
    const sum = (list: { score: number }[]) => list.reduce((total, { score }) => total + score, 0);
    expect(sum(beam4)).toBeGreaterThanOrEqual(sum(beam1));
  });

  test('the log-probability is that of the translation under the model (± 1e-3)', async () => {
    const { model, config } = translator.loaded;
    for (const translation of await translator.translate(SENTENCES, { maximumLength: 12 })) {
      const source = Int32Array.of(...translation.source.ids, config.end);
      const out = [...translation.target.ids, ...(translation.ended ? [config.end] : [])];
      const steps = model.startDecoding([source], 1, out.length);
      let sum = 0;
      for (let i = 0; i < out.length; i++) {
        const scores = await steps.step(Int32Array.of(i === 0 ? config.start : out[i - 1]));
        sum += scores[out[i]];
      }
      steps.dispose();
      expect(Math.abs(sum - translation.logProbability)).toBeLessThan(1e-3);
      expect(translation.score).toBeCloseTo(translation.logProbability / out.length, 6);
    }
  });

  test('attention has a row for each target token and the end, a column for each source token and the end; rows sum to 1 (± 1e-5)', async () => {
    const translation = await translator.translate(SENTENCES[2], { maximumLength: 9 });
    const attention = await translation.attention();
    const { layers, heads, targetLength, sourceLength, weights } = attention;
    expect([layers, heads]).toEqual([2, 4]);
    expect([targetLength, sourceLength]).toEqual([
      translation.target.ids.length + 1,
      translation.source.ids.length + 1,
    ]);
    for (let row = 0; row < layers * heads * targetLength; row++) {
      const sum = weights.subarray(row * sourceLength, (row + 1) * sourceLength).reduce((a, b) => a + b, 0);
      expect(Math.abs(sum - 1)).toBeLessThan(1e-5);
    }
    expect(await translation.attention()).toBe(attention);
    const aligned = alignWords(translation.source, translation.target, crossWeights(attention, { layer: 1 }));
    expect(aligned.sourceWords).toEqual(['Who', 'is', 'taking', 'responsibility', 'for', 'the', 'loss', '?']);
    expect(aligned.pairs).toHaveLength(aligned.targetWords.length);
    for (let i = 0; i < aligned.matrix.rows; i++) {
      const row = aligned.matrix.values.subarray(i * 8, (i + 1) * 8);
      expect(row.reduce((a, b) => a + b, 0)).toBeLessThan(1 + 1e-5);
    }
    expect(() => crossWeights(attention, { layer: 2 })).toThrow(/layer: expected 0 to 1, got 2/);
  });

  test('bad sentences and options are typed errors, and a stream fails at its place', async () => {
    await expect(translator.translate(' \u200b\n')).rejects.toMatchObject({
      code: 'FOVEA_OPTION',
      message: 'translate: the sentence is blank',
    });
    await expect(translator.translate(['I see.', ''])).rejects.toThrow('sentence 2 is blank');
    await expect(translator.translate('house '.repeat(10_000))).rejects.toMatchObject({
      code: 'FOVEA_LIMIT',
    });
    await expect(translator.translate('house '.repeat(10_000))).rejects.toThrow(
      /the sentence has at least \d{4} tokens, the model takes 63/,
    );
    await expect(translator.translate('a b '.repeat(40))).rejects.toThrow(
      /the sentence has \d+ tokens, the model takes 63/,
    );
    await expect(translator.translate('x'.repeat(2 ** 20))).rejects.toThrow(LimitError);
    await expect(translator.translate('I see.', { beam: 0 })).rejects.toThrow(
      /beam: expected a whole number from 1 to 64, got 0/,
    );
    await expect(translator.translate('I see.', { maximumLength: 0 })).rejects.toThrow(/maximumLength/);
    await expect(translator.translate(['I see.'], { together: 0 })).rejects.toThrow(/together/);
    const texts: string[] = [];
    const stream = translator.stream(['I see.', 'You see.', '', 'I see.']);
    await expect(async () => {
      for await (const { source } of stream) texts.push(source.text);
    }).rejects.toThrow('sentence 3 is blank');
    expect(texts).toEqual(['I see.', 'You see.']);
  });

  test('1,000 translations leave the engine’s memory where it was', async () => {
    await translator.translate(SENTENCES, { maximumLength: 6 });
    const { inUse, tensors, reserved } = engine.memory;
    const texts = Array.from({ length: 1000 }, (_, i) => SENTENCES[i % SENTENCES.length]);
    let count = 0;
    for await (const translation of translator.stream(texts, { maximumLength: 6 }))
      if (++count % 100 === 0) await translation.attention();
    expect(count).toBe(1000);
    expect({ inUse: engine.memory.inUse, tensors: engine.memory.tensors }).toEqual({ inUse, tensors });
    expect(engine.memory.reserved).toBeLessThanOrEqual(reserved + 64 * 2 ** 20);
  }, 300_000);

  test('attention whose read fails leaves nothing in the engine', async () => {
    const translation = await translator.translate(SENTENCES[0]);
    const before = engine.memory.tensors;
    vi.spyOn(EngineTensor.prototype, 'read').mockRejectedValueOnce(new Error('lost'));
    await expect(translation.attention()).rejects.toThrow('lost');
    expect(engine.memory.tensors).toBe(before);
  });

  test('a disposed translator leaves nothing in the engine', async () => {
    const before = engine.memory.tensors;
    const other = await loadTranslator(folder, { engine });
    await (await other.translate('I see.')).attention();
    other.dispose();
    expect(engine.memory.tensors).toBe(before);
  });
});

describe('trace', () => {
  test('its cross-attention is that of attention() (± 1e-6), in memory and from a file', async () => {
    const translation = await translator.translate(SENTENCES[2], { maximumLength: 9 });
    const { heads, targetLength, sourceLength, weights } = await translation.attention();
    const own = await translation.trace();
    const opened = await openTrace(await saveTrace(own), { engine });
    for (const trace of [own, opened]) {
      for (const layer of [0, 1]) {
        const entry = trace.entries.find(({ name }) => name === `decoder.${layer}.crossAttention`)!;
        expect(entry.shape).toEqual([heads, targetLength, sourceLength]);
        const { data } = await (await entry.map()).toTensor();
        const truth = weights.subarray(layer * data.length, (layer + 1) * data.length);
        const worst = truth.reduce((most, w, i) => Math.max(most, Math.abs(w - data[i])), 0);
        expect(worst).toBeLessThan(1e-6);
      }
      trace.dispose();
    }
  });

  test('every attention is there by name; rows sum to 1, and the decoder sees no later token', async () => {
    const trace = await (await translator.translate(SENTENCES[0])).trace();
    expect(trace.entries.map(({ name }) => name)).toEqual([
      'encoder.0.selfAttention',
      'encoder.1.selfAttention',
      'decoder.0.selfAttention',
      'decoder.0.crossAttention',
      'decoder.1.selfAttention',
      'decoder.1.crossAttention',
    ]);
    expect(trace.model).toBe('translation, English to French');
    for (const entry of trace.entries) {
      const [H, Lq, Lk] = entry.shape;
      expect([trace.texts[entry.queries!].tokens.length, trace.texts[entry.keys!].tokens.length]).toEqual([
        Lq,
        Lk,
      ]);
      const map = await entry.map();
      for (let head = 0; head < H; head++) {
        for (let query = 0; query < Lq; query++) {
          const row = await map.row({ head, query });
          expect(Math.abs(row.reduce((a, b) => a + b, 0) - 1)).toBeLessThan(1e-5);
          if (entry.name.startsWith('decoder') && entry.name.endsWith('selfAttention'))
            expect(row.subarray(query + 1).every((w) => w === 0)).toBe(true);
        }
      }
    }
    trace.dispose();
  });

  test('texts hold the tokens, marks and words; queries of the decoder lead to the next token', async () => {
    const translation = await translator.translate(SENTENCES[0]);
    const trace = await translation.trace();
    const { source, target, output } = trace.texts;
    expect(source.text).toBe(SENTENCES[0]);
    expect(source.tokens).toEqual([...translation.source.tokens, '</s>']);
    expect(source.words.at(-1)).toBe(-1);
    expect(target.text).toBe(translation.text);
    expect(target.tokens).toEqual(['<s>', ...translation.target.tokens]);
    expect(output.tokens).toEqual([...translation.target.tokens, '</s>']);
    expect(output.words).toEqual([...translation.target.words, -1]);
    const { queries, keys, predicts } = trace.entries[3];
    expect({ queries, keys, predicts }).toEqual({ queries: 'target', keys: 'source', predicts: 'output' });
    trace.dispose();
  });

  test('values and projection: summed value vectors of a row are the layer’s output without bias (± 1e-4)', async () => {
    const translation = await translator.translate(SENTENCES[1]);
    const trace = await translation.trace();
    const { model, config } = translator.loaded;
    const outputs = new Map<string, Float32Array>();
    const { outProjection } = model.encoder.layers[1].selfAttention;
    const spy = vi.spyOn(outProjection, 'forward');
    const ids = Int32Array.of(...translation.source.ids, config.end);
    const results: Promise<unknown>[] = [];
    spy.mockImplementationOnce((tape, x) => {
      const y = Object.getPrototypeOf(outProjection).forward.call(outProjection, tape, x);
      results.push(y.read().then((data: Float32Array) => outputs.set('y', data)));
      return y;
    });
    engine.scope(() => {
      model.forward(null, {
        source: ids,
        sourceOffsets: Int32Array.of(0, ids.length),
        targetIn: Int32Array.of(config.start),
        targetOffsets: Int32Array.of(0, 1),
      });
    });
    await Promise.all(results);
    spy.mockRestore();
    const bias = (await outProjection.bias!.value.read()) as Float32Array;
    const entry = trace.entries[1];
    const { v, projection } = (await entry.values())!;
    const map = await entry.map();
    const [H, , Lk] = entry.shape;
    const [E, Dv] = [config.width, v.shape[2]];
    const rows = await Promise.all(Array.from({ length: H }, (_, head) => map.row({ head, query: 2 })));
    for (let e = 0; e < E; e++) {
      let sum = bias[e];
      for (let h = 0; h < H; h++)
        for (let j = 0; j < Lk; j++)
          for (let d = 0; d < Dv; d++)
            sum +=
              rows[h][j] *
              Number(v.data[(h * Lk + j) * Dv + d]) *
              Number(projection.data[e * E + h * Dv + d]);
      expect(Math.abs(sum - outputs.get('y')![2 * E + e])).toBeLessThan(1e-4);
    }
    const norms = await valueWeightedNorms(map, { v, projection });
    expect(norms.shape).toEqual([Lk, Lk]);
    trace.dispose();
  });

  test('traces leave nothing in the engine, read or failed', async () => {
    const translation = await translator.translate(SENTENCES[0]);
    const { tensors, inUse } = engine.memory;
    for (let i = 0; i < 3; i++) {
      const trace = await translation.trace();
      await (await trace.entries[2].map()).row({ head: 0, query: 1 });
      trace.dispose();
    }
    vi.spyOn(EngineTensor.prototype, 'read').mockRejectedValueOnce(new Error('lost'));
    await expect(translation.trace()).rejects.toThrow('lost');
    expect({ tensors: engine.memory.tensors, inUse: engine.memory.inUse }).toEqual({ tensors, inUse });
  });
});

describe('evaluate', () => {
  test('a model’s own translations score 100; progress is told; the loss is finite', async () => {
    const own = await translator.translate(SENTENCES, { beam: 1 });
    const lines = SENTENCES.map((source, i) => ({ source, references: [own[i].text, 'other'] }));
    const told: number[] = [];
    const result = await evaluate(translator, lines, { beam: 1, onProgress: (done) => told.push(done) });
    expect(result.bleu.score).toBeCloseTo(100, 6);
    expect(result.chrf.score).toBeCloseTo(100, 6);
    expect(told).toEqual([1, 2, 3, 4]);
    expect(result.loss).toBeGreaterThan(0);
    expect(Number.isFinite(result.loss)).toBe(true);
    expect(result.left).toBe(0);
  });

  test('the loss leaves out and counts references too long, and reads sources as decoding does', async () => {
    const long = `${FRENCH[0]} `.repeat(translator.loaded.config.maximumLength);
    const [source, reference] = [SENTENCES[0], FRENCH[0]];
    const plain = await evaluate(translator, [{ source, references: [reference] }], { beam: 1 });
    const spaced = { source: `  ${source.replace(' ', ' \u00a0')} `, references: [reference] };
    const result = await evaluate(translator, [spaced, { source, references: [long] }], { beam: 1 });
    expect(result.left).toBe(1);
    expect(result.loss).toBe(plain.loss);
    await expect(evaluate(translator, [{ source, references: [long] }])).rejects.toThrow(OptionError);
  });
});
