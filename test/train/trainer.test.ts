// The training loop, on a table of logits and on a tiny model: memory, stops, divergence, learning by heart.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Parameter } from '../../dist/autograd/parameter.js';
import type { Tape } from '../../dist/autograd/tape.js';
import { createEngine } from '../../dist/engine/engine.js';
import { sumAll } from '../../dist/engine/ops/loss.js';
import type { Engine } from '../../dist/engine/types.js';
import { Seq2Seq } from '../../dist/models/seq2seq.js';
import { ops, Random } from '../../dist/nn/index.js';
import { encodePairs } from '../../dist/tasks/encode-pairs.js';
import { decodeGreedy } from '../../dist/tasks/greedy.js';
import { END, loadTokenizer, START, trainBpe } from '../../dist/text/index.js';
import {
  Adam,
  DivergenceError,
  InterruptedError,
  packBatch,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
} from '../../dist/train/index.js';
import { SENTENCES } from './tiny-run.js';

// On a machine that does much else, 150 steps take long.
vi.setConfig({ testTimeout: 240_000 });

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 1 });
});
afterAll(() => engine.dispose());

/** Row r of a table of logits learns class r. `at` may spoil the numbers before a step's loss. */
function table(
  change: Partial<TrainerOptions<Int32Array>> = {},
  spoil?: (step: number, weight: Parameter) => void,
) {
  const weight = Parameter.create(engine, 'table', [4, 6]);
  const adam = new Adam(new Map([['table', weight]]));
  const events: TrainingEvent[] = [];
  let steps = 0;
  const loss = (tape: Tape, targets: Int32Array) => {
    spoil?.(++steps, weight);
    const rows = ops.gatherRows(
      tape,
      ops.concatRows(tape, [weight]),
      engine.tensor(targets, [targets.length]),
    );
    const { total, plain } = ops.crossEntropy(tape, rows, engine.tensor(targets, [targets.length]), {});
    return { loss: total, plain: sumAll(plain), tokens: targets.length, allTokens: targets.length };
  };
  const trainer = new Trainer<Int32Array>({
    engine,
    adam,
    schedule: { kind: 'constant', peakRate: 0.1, warmupSteps: 0 },
    epochs: 3,
    seed: 1,
    plan: () => Array.from({ length: 5 }, () => Int32Array.of(0, 1, 2, 3)),
    pack: (members) => members,
    loss,
    logEvery: 1,
    onEvent: (event) => events.push(event),
    ...change,
  });
  const dispose = () => {
    adam.dispose();
    weight.dispose();
  };
  return { trainer, events, weight, dispose };
}

describe('the loop', () => {
  test('runs to the last epoch; the loss falls; a log a step, an event an epoch', async () => {
    const { trainer, events, dispose } = table();
    const state = await trainer.run();
    expect(state).toMatchObject({ step: 15, epoch: 3, place: 0 });
    const losses = events.flatMap((e) => (e.type === 'step' ? [e.loss] : []));
    expect(losses).toHaveLength(15);
    expect(losses[0]).toBeCloseTo(Math.log(6), 5);
    for (let i = 1; i < 15; i++) expect(losses[i]).toBeLessThan(losses[i - 1]);
    expect(events.filter((e) => e.type === 'epoch')).toHaveLength(3);
    dispose();
  });

  test('stopAfter stops after exactly so many steps, saved; also at the end of an epoch', async () => {
    for (const stopAfter of [3, 5, 7]) {
      const saved: number[] = [];
      const run = table({ stopAfter, save: async ({ step }) => void saved.push(step) });
      await expect(run.trainer.run()).rejects.toThrow(InterruptedError);
      expect(run.trainer.state.step).toBe(stopAfter);
      expect(saved.at(-1)).toBe(stopAfter);
      run.dispose();
    }
  });

  test('an aborted signal stops before the next step, saved', async () => {
    const stop = new AbortController();
    const saved: number[] = [];
    const { trainer, dispose } = table({
      signal: stop.signal,
      save: async ({ step }) => void saved.push(step),
      onEvent: (e) => e.type === 'step' && e.step === 4 && stop.abort(),
    });
    await expect(trainer.run()).rejects.toThrow('training: stopped at step 4 of 15; saved');
    expect(saved).toEqual([4]);
    dispose();
  });

  test('a checkpoint every saveEvery steps and at the end of an epoch', async () => {
    const saved: [number, number][] = [];
    const { trainer, dispose } = table({
      saveEvery: 2,
      save: async ({ step, place }) => void saved.push([step, place]),
    });
    await trainer.run();
    expect(saved).toEqual([2, 4, 5, 7, 9, 10, 12, 14, 15].map((step) => [step, step % 5]));
    dispose();
  });

  test('saveBest is called when the score rises, and only then', async () => {
    const scores = [1, 3, 2];
    const best: number[] = [];
    const { trainer, dispose } = table({
      validate: async (epoch) => ({ score: scores[epoch] }),
      saveBest: async ({ epoch }) => void best.push(epoch),
    });
    await trainer.run();
    expect(best).toEqual([1, 2]);
    dispose();
  });

  test('NaN weights: DivergenceError that names step and remedy; nothing is saved after it', async () => {
    const saved: number[] = [];
    const { trainer, dispose } = table(
      { saveEvery: 1, save: async ({ step }) => void saved.push(step) },
      (step, weight) => step === 4 && weight.value.write(new Float32Array(24).fill(Number.NaN)),
    );
    const error = await trainer.run().catch((e) => e);
    expect(error).toBeInstanceOf(DivergenceError);
    expect(error.message).toMatch(
      /^training: the loss became NaN at step 4 \(epoch 1\); the last checkpoint is kept; try/,
    );
    expect(saved).toEqual([1, 2, 3]);
    dispose();
  });

  test('a loss that grows and grows: DivergenceError with its lowest', async () => {
    const { trainer, dispose } = table({ epochs: 40 }, (step, weight) => {
      const away = Float32Array.from({ length: 24 }, (_, i) => (i % 6 === Math.floor(i / 6) ? -step : 0));
      weight.value.write(away);
    });
    const error = await trainer.run().catch((e) => e);
    expect(error).toBeInstanceOf(DivergenceError);
    expect(error.message).toMatch(/^training: the loss diverged to \d+\.\d\d at step \d+ .*its lowest was/);
    dispose();
  });
});

describe('a tiny model', () => {
  const text = SENTENCES.slice(0, 6);
  const json = trainBpe(text.flat(), { vocabularySize: 400, minimumCharacterCount: 1 });
  const tokenizer = loadTokenizer(json);
  const { pairs } = encodePairs(text, tokenizer, 64);

  test('knows six sentences by heart: loss < 0.01 within 150 steps, and translates them; no tensor is left over', async () => {
    const config = {
      vocabulary: tokenizer.vocabularySize,
      width: 32,
      heads: 4,
      feedForward: 64,
      encoderLayers: 1,
      decoderLayers: 1,
      activation: 'relu' as const,
      normEps: 1e-5,
      maximumLength: 64,
      pad: 0,
      start: START,
      end: END,
    };
    const before = engine.memory.tensors;
    const model = new Seq2Seq(engine, config, { random: new Random(7) });
    const adam = new Adam(model.parameters());
    const members = Int32Array.from(text, (_, i) => i);
    const losses: number[] = [];
    const tensors = new Set<number>();
    const trainer = new Trainer({
      engine,
      adam,
      schedule: { kind: 'constant', peakRate: 4e-3, warmupSteps: 10 },
      epochs: 1,
      seed: 1,
      plan: () => new Array<Int32Array>(150).fill(members),
      pack: (m) => packBatch(pairs, m, START, END),
      loss: (tape, batch) => model.loss(tape, batch, 0),
      logEvery: 1,
      onEvent: (e) => {
        if (e.type !== 'step') return;
        losses.push(e.plain);
        tensors.add(engine.memory.tensors);
      },
    });
    await trainer.run();
    expect(losses).toHaveLength(150);
    // A little over ln V at first: the logits' variance adds half of itself.
    expect(losses[0]).toBeGreaterThan(Math.log(config.vocabulary) * 0.9);
    expect(losses[0]).toBeLessThan(Math.log(config.vocabulary) + 1.5);
    expect(Math.min(...losses)).toBeLessThan(0.01);
    expect(losses.at(-1)).toBeLessThan(0.01);
    expect([...tensors]).toHaveLength(1);
    const sources = text.map(([source]) => Int32Array.of(...tokenizer.encodeIds(source), END));
    const translations = (await decodeGreedy(model, sources)).map((ids) => tokenizer.decode(ids));
    expect(translations).toEqual(text.map(([, target]) => target));
    adam.dispose();
    model.dispose();
    expect(engine.memory.tensors).toBe(before);
  });
});
