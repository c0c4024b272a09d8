// What needs no engine: schedules, batches, the configuration, parallel text.
import { describe, expect, test } from 'vitest';
import { parseParallelText } from '../../dist/tasks/parallel-text.js';
import { parseTrainConfig } from '../../dist/tasks/train-config.js';
import { FileFormatError, LimitError, OptionError } from '../../dist/tensor/errors.js';
import {
  type EncodedPairs,
  packBatch,
  planEpoch,
  rateAt,
  type ScheduleOptions,
} from '../../dist/train/index.js';

describe('schedule', () => {
  const base: ScheduleOptions = { kind: 'inverse-square-root', peakRate: 2e-3, warmupSteps: 2000 };

  test('inverse square root: a line to the peak, then 1/√step', () => {
    expect(rateAt(1, 5000, base)).toBeCloseTo(1e-6, 15);
    expect(rateAt(1000, 5000, base)).toBeCloseTo(1e-3, 15);
    expect(rateAt(2000, 5000, base)).toBeCloseTo(2e-3, 15);
    expect(rateAt(8000, 9000, base)).toBeCloseTo(1e-3, 15);
  });

  test('constant; without warm-up the first step has the peak rate', () => {
    const o: ScheduleOptions = { kind: 'constant', peakRate: 0.5, warmupSteps: 0 };
    expect([1, 7, 100].map((step) => rateAt(step, 100, o))).toEqual([0.5, 0.5, 0.5]);
    expect(rateAt(1, 100, { ...base, warmupSteps: 0 })).toBe(2e-3);
  });

  test('cooldown: linear and half a cosine over the last steps, near 0 at the last', () => {
    const o: ScheduleOptions = { kind: 'constant', peakRate: 1, warmupSteps: 0 };
    const linear = { ...o, cooldown: { shape: 'linear', steps: 10 } } as const;
    expect(rateAt(90, 100, linear)).toBe(1);
    expect(rateAt(91, 100, linear)).toBe(1);
    expect(rateAt(96, 100, linear)).toBeCloseTo(0.5, 12);
    expect(rateAt(100, 100, linear)).toBeCloseTo(0.1, 12);
    const cosine = { ...o, cooldown: { shape: 'cosine', steps: 10 } } as const;
    expect(rateAt(96, 100, cosine)).toBeCloseTo(0.5, 12);
    expect(rateAt(100, 100, cosine)).toBeCloseTo(0.5 - 0.5 * Math.cos(Math.PI / 10), 12);
  });

  test('steps count from 1', () => {
    expect(() => rateAt(0, 10, base)).toThrow(OptionError);
  });
});

/** Pairs of given lengths (source with end mark, target without); ids tell pair and place. */
function pairsOf(lengths: readonly (readonly [number, number])[]): EncodedPairs {
  const flat = (side: 0 | 1) => {
    const starts = new Int32Array(lengths.length + 1);
    const ids: number[] = [];
    lengths.forEach((pair, i) => {
      for (let k = 0; k < pair[side]; k++) ids.push(1000 * (i + 1) + k);
      starts[i + 1] = ids.length;
    });
    return [Int32Array.from(ids), starts] as const;
  };
  const [sourceIds, sourceStarts] = flat(0);
  const [targetIds, targetStarts] = flat(1);
  return { count: lengths.length, sourceIds, sourceStarts, targetIds, targetStarts };
}

describe('batches', () => {
  const lengths = Array.from({ length: 203 }, (_, i): [number, number] => [
    1 + ((i * 37) % 29),
    (i * 53) % 31,
  ]);
  const pairs = pairsOf(lengths);
  const options = { tokens: 96, pool: 50, seed: 5 };
  const flat = (plan: Int32Array[]) => plan.map((batch) => [...batch]);

  test('each pair exactly once an epoch; pairs × longest within the budget on both sides', () => {
    for (const epoch of [0, 1, 2]) {
      const plan = planEpoch(pairs, options, epoch);
      const seen = plan.flatMap((batch) => [...batch]).sort((a, b) => a - b);
      expect(seen).toEqual(lengths.map((_, i) => i));
      for (const batch of plan) {
        const of = (side: 0 | 1) => Math.max(...Array.from(batch, (i) => lengths[i][side] + side));
        expect(batch.length * of(0)).toBeLessThanOrEqual(options.tokens);
        expect(batch.length * of(1)).toBeLessThanOrEqual(options.tokens);
      }
    }
  });

  test('an epoch is a function of seed and epoch alone: any place in it can be resumed', () => {
    expect(flat(planEpoch(pairs, options, 3))).toEqual(flat(planEpoch(pairs, options, 3)));
    expect(flat(planEpoch(pairs, options, 3))).not.toEqual(flat(planEpoch(pairs, options, 4)));
    expect(flat(planEpoch(pairs, { ...options, seed: 6 }, 3))).not.toEqual(
      flat(planEpoch(pairs, options, 3)),
    );
  });

  test('sorting by length fills batches: fewer of them than with a pool of one batch', () => {
    const sorted = planEpoch(pairs, { ...options, pool: 203 }, 0).length;
    const mixed = planEpoch(pairs, { ...options, pool: 4 }, 0).length;
    expect(sorted).toBeLessThan(0.8 * mixed);
  });

  test('a pair over the budget is a LimitError that names it', () => {
    expect(() =>
      planEpoch(
        pairsOf([
          [3, 3],
          [5, 96],
        ]),
        options,
        0,
      ),
    ).toThrow(LimitError);
    expect(() =>
      planEpoch(
        pairsOf([
          [3, 3],
          [5, 96],
        ]),
        options,
        0,
      ),
    ).toThrow(/pair 1 has 97 tokens/);
  });

  test('packed end to end, marks around the target', () => {
    const batch = packBatch(
      pairsOf([
        [2, 1],
        [1, 0],
        [3, 2],
      ]),
      [2, 1, 0],
      1,
      2,
    );
    expect(batch).toMatchObject({ pairs: 3, sourceLongest: 3, targetLongest: 3 });
    expect([...batch.source]).toEqual([3000, 3001, 3002, 2000, 1000, 1001]);
    expect([...batch.sourceOffsets]).toEqual([0, 3, 4, 6]);
    expect([...batch.targetIn]).toEqual([1, 3000, 3001, 1, 1, 1000]);
    expect([...batch.targetOut]).toEqual([3000, 3001, 2, 2, 1000, 2]);
    expect([...batch.targetOffsets]).toEqual([0, 3, 4, 6]);
  });
});

describe('configuration', () => {
  const good = {
    format: 'fovea-train',
    version: 1,
    data: { train: 'a.tsv', valid: 'b.tsv' },
    output: 'out',
  };

  test('defaults complete it', () => {
    const config = parseTrainConfig(JSON.stringify(good));
    expect(config).toMatchObject({
      epochs: 10,
      optimizer: { beta1: 0.9, beta2: 0.98, eps: 1e-9, clip: 0 },
      averaging: null,
      init: null,
    });
  });

  const wrong: [field: string, change: object][] = [
    ['version', { version: 0 }],
    ['data.train', { data: { valid: 'b' } }],
    ['data.valid', { data: { train: 'a', valid: 3 } }],
    ['data', { data: undefined }],
    ['languages.source', { languages: { source: 1 } }],
    ['tokenizer.vocabulary', { tokenizer: { vocabulary: 12.5 } }],
    ['model.width', { model: { width: 30, heads: 4 } }],
    ['model.width', { model: { width: 1024, heads: 1 } }],
    ['model.heads', { model: { heads: 0 } }],
    ['model.feedForward', { model: { feedForward: '512' } }],
    ['model.encoderLayers', { model: { encoderLayers: 0 } }],
    ['model.decoderLayers', { model: { decoderLayers: 1e9 } }],
    ['model.activation', { model: { activation: 'swish' } }],
    ['model.normEps', { model: { normEps: 0 } }],
    ['model.maximumLength', { model: { maximumLength: 1 } }],
    ['model.layers', { model: { layers: 4 } }],
    ['optimizer.beta1', { optimizer: { beta1: 1 } }],
    ['optimizer.beta2', { optimizer: { beta2: -0.1 } }],
    ['optimizer.eps', { optimizer: { eps: 0 } }],
    ['optimizer.weightDecay', { optimizer: { weightDecay: -1 } }],
    ['optimizer.clip', { optimizer: { clip: 'no' } }],
    ['schedule.kind', { schedule: { kind: 'step' } }],
    ['schedule.peakRate', { schedule: { peakRate: 0 } }],
    ['schedule.warmupSteps', { schedule: { warmupSteps: 1.5 } }],
    ['schedule.cooldown.shape', { schedule: { cooldown: { shape: 'x', steps: 3 } } }],
    ['schedule.cooldown.steps', { schedule: { cooldown: { shape: 'linear' } } }],
    ['batch.tokens', { batch: { tokens: 1 } }],
    ['batch.pool', { batch: { pool: 0 } }],
    ['epochs', { epochs: 0 }],
    ['labelSmoothing', { labelSmoothing: 1 }],
    ['dropout', { dropout: -0.1 }],
    ['averaging.kind', { averaging: { kind: 'median' } }],
    ['averaging.decay', { averaging: { decay: 1 } }],
    ['averaging.fromStep', { averaging: { fromStep: 0 } }],
    ['averaging.every', { averaging: { every: 0 } }],
    ['seed', { seed: -1 }],
    ['init', { init: 7 }],
    ['output', { output: '' }],
    ['logEvery', { logEvery: 0 }],
    ['saveEvery', { saveEvery: 0.5 }],
    ['weights', { weights: 'int8' }],
    ['epoch', { epoch: 3 }],
    ['schedule', { schedule: [] }],
  ];
  test.each(wrong)('%s out of range is an OptionError that names it', (field, change) => {
    const parse = () => parseTrainConfig(JSON.stringify({ ...good, ...change }));
    expect(parse).toThrow(OptionError);
    expect(parse).toThrow(new RegExp(`^${field.replaceAll('.', '\\.')}: expected .+, got `));
  });

  test('not JSON, or of a newer version: FileFormatError', () => {
    expect(() => parseTrainConfig('{')).toThrow(FileFormatError);
    expect(() => parseTrainConfig(JSON.stringify({ ...good, version: 2 }))).toThrow(/version 2 is newer/);
  });
});

describe('parallel text', () => {
  const bytes = (text: string) => new TextEncoder().encode(text);

  test('columns, blank lines, both line ends', () => {
    expect(parseParallelText('t', bytes('a\tb\r\n\nc\td\te\n'))).toEqual([
      { source: 'a', references: ['b'] },
      { source: 'c', references: ['d', 'e'] },
    ]);
  });

  test.each([
    ['one column', 'a\tb\n\nc\n', 't:3: expected two or more tab-separated columns, got 1'],
    ['an empty column', 'a\tb\nc\t \n', 't:2: column 2 is empty'],
    ['no line', '\n\n', 't: expected at least one line of parallel text, got none'],
    ['a binary file', 'a\tb\0\n', 't: expected text, got a binary file'],
  ])('%s: FileFormatError with the line number', (_, text, message) => {
    expect(() => parseParallelText('t', bytes(text))).toThrow(FileFormatError);
    expect(() => parseParallelText('t', bytes(text))).toThrow(message);
  });

  test('an exact number of columns; bytes that are no UTF-8', () => {
    expect(() => parseParallelText('t', bytes('a\tb\nc\td\te\n'), 2)).toThrow('t:2: expected 2 tab-sep');
    expect(() => parseParallelText('t', Uint8Array.of(97, 9, 255, 10))).toThrow(FileFormatError);
  });
});
