// Calls of many batch entries go through the engine in portions: no bit of a result depends on them.
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { validateAttention } from '../../dist/attention/validate.js';
import { CpuEngine } from '../../dist/engine/cpu-engine.js';
import { DirectExecutor } from '../../dist/engine/direct.js';
import { attention, createEngine } from '../../dist/index.js';
import { planParts, portion, portionsOf } from '../../dist/map/parts.js';
import { LimitError } from '../../dist/tensor/errors.js';
import { type RandomCall, randomCall, randomTensor, seeded } from '../attention/calls.js';

const engines = await Promise.all([1, 2, 3].map((threads) => createEngine({ threads })));
const whole = portion.bytes;
afterEach(() => {
  portion.bytes = whole;
});
afterAll(() => Promise.all(engines.map((own) => own.dispose())));

async function compute({ q, k, v, options }: RandomCall, engine = engines[0]!) {
  const { output, logSumExp, map } = await attention(q, k, v, { ...options, engine });
  const weights = await map.toTensor();
  map.dispose();
  return [output.data, logSumExp.data, weights.data];
}

const countOf = ({ q, k, v, options }: RandomCall) => {
  const p = validateAttention(q, k, v, options);
  return [...planParts(p, 'forward')].map((part) => portionsOf(p, part).length);
};

const calls = Array.from({ length: 80 }, (_, n) => randomCall(seeded(n + 900), { most: 40 }));

describe('random calls', () => {
  test('in portions of an entry or a few, with 1, 2 and 3 threads, have the bits of the whole', async () => {
    let cut = 0;
    for (const call of calls) {
      portion.bytes = whole;
      const truth = await compute(call);
      for (const [n, engine] of engines.entries()) {
        portion.bytes = [1, 1024, 4096][n]!;
        if (countOf(call)[0]! > 1) cut++;
        expect(await compute(call, engine)).toEqual(truth);
        expect(engine.memory.tensors).toBe(0);
      }
    }
    expect(cut).toBeGreaterThan(20);
  }, 120_000);
});

const batch = (B: number) => {
  const random = seeded(B);
  const [q, k, v] = [0, 1, 2].map(() => randomTensor(random, [B, 2, 70, 8]));
  return { q, k, v, options: {} } as RandomCall;
};

test('portions hold about 2 MB', () => {
  const entry = 2 * 70 * (4 * 8 * 4 + 12);
  const [some, many] = [Math.floor((2 * (2 << 20)) / entry), Math.ceil((3 * (2 << 20)) / entry)];
  expect([countOf(batch(some)), countOf(batch(some + 1)), countOf(batch(many))]).toEqual([[1], [2], [3]]);
});

test('what entries share is brought once', () => {
  portion.bytes = 1;
  const call = batch(3);
  const random = seeded(1);
  const bias = randomTensor(random, [70, 70]);
  const own = randomTensor(random, [3, 1, 70, 70]);
  const one = randomTensor(random, [1, 2, 70, 8]);
  expect(countOf(call)).toEqual([3]);
  expect(countOf({ ...call, options: { bias: own } })).toEqual([3]);
  expect(countOf({ ...call, options: { bias } })).toEqual([1]);
  expect(countOf({ ...call, k: one })).toEqual([1]);
  expect(countOf({ ...call, v: one })).toEqual([1]);
});

// A portion's tensors are seven: k, v, q, the output and three statistics. Those of the second are the 8th to the 14th.
const failures = [1, 2, 3].flatMap((threads) => [8, 11, 12, 14, 15].map((nth) => [nth, threads] as const));

test.each(failures)(
  'no memory for tensor %d with %d threads: LimitError, nothing lost',
  async (nth, threads) => {
    portion.bytes = 1;
    const engine = engines[threads - 1]!;
    const call = batch(4);
    const { empty } = CpuEngine.prototype;
    let made = 0;
    CpuEngine.prototype.empty = function (...given) {
      if (++made === nth) throw new LimitError('out of memory');
      return empty.apply(this, given);
    };
    try {
      await expect(compute(call, engine)).rejects.toThrow(LimitError);
    } finally {
      CpuEngine.prototype.empty = empty;
    }
    expect(engine.memory.tensors).toBe(0);
    expect(await compute(call, engine)).toEqual(await compute(call));
  },
);

test('a read that fails after the next portion did is nobody’s surprise', async () => {
  portion.bytes = 1;
  const unheard: unknown[] = [];
  const hear = (reason: unknown) => unheard.push(reason);
  process.on('unhandledRejection', hear);
  const { readInto, run } = DirectExecutor.prototype;
  let runs = 0;
  DirectExecutor.prototype.readInto = async () => {
    throw new Error('no read');
  };
  DirectExecutor.prototype.run = function (...given) {
    if (++runs === 3) throw new Error('no run');
    return run.apply(this, given);
  };
  try {
    await expect(compute(batch(4))).rejects.toThrow('no run');
    await new Promise((resolve) => setTimeout(resolve, 20));
  } finally {
    DirectExecutor.prototype.readInto = readInto;
    DirectExecutor.prototype.run = run;
    process.off('unhandledRejection', hear);
  }
  expect(unheard).toEqual([]);
  expect(engines[0]!.memory.tensors).toBe(0);
});
