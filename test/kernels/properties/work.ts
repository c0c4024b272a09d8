// How much kernels compute: turns of their loops, counted, for calls that leave every rest of rows, keys and widths. No call
// may take more than work.json says it did (docs/mutation.md tells how to record it), and long calls no more than their
// multiplications ask for. Fewer is fine: another way to the same numbers is no defect, only a longer one.
import assert from 'node:assert/strict';
import type { AttentionOptions } from '../../../dist/attention/options.js';
import type { Engine } from '../../../dist/engine/types.js';
import { attention, attentionMap, attentionBackward as backward } from '../../../dist/index.js';
import { type Case, generator, makeCase, normals, runKernels, sizeOf } from '../attention-cases.js';
import { runDecode } from './decode.js';
import { type Meter, type Step, withBudget } from './lab.js';
import recorded from './work.json' with { type: 'json' };

/** Turns by kernel, and the parts that all were issued in. */
export type Work = Record<string, number>;

type Lengths = readonly [Lq: number, Lk: number, D: number, Dv: number];

interface Counted {
  readonly name: string;
  run(engine: Engine): Promise<unknown>;
}

/** What a call's kernels take, all commands of one together. */
async function workOf({ engine, turns }: Meter, { run }: Counted): Promise<Work> {
  const work: Work = {};
  const { run: issue } = engine;
  const counted = (kernel: string, ...rest: [never, number]) => {
    turns();
    issue.call(engine, kernel as never, ...rest);
    work[kernel] = (work[kernel] ?? 0) + turns();
    work.parts = (work.parts ?? 0) + rest[1];
  };
  Object.defineProperty(engine, 'run', { value: counted, configurable: true });
  try {
    await run(engine);
  } finally {
    delete (engine as { run?: unknown }).run;
  }
  return work;
}

const cell = (Lq: number, Lk: number) => {
  const random = generator(Lq + Lk);
  const shape = [Lq, Lk];
  const bools = (share: number) =>
    ({
      data: Uint8Array.from({ length: Lq * Lk }, () => +(random() < share)),
      shape,
      dtype: 'bool',
    }) as const;
  return { bias: { data: normals(Lq * Lk, random), shape }, bools };
};

const kernelCall = (name: string, make: () => Case): Counted => ({
  name,
  run: (engine) => runKernels(engine, make()),
});

const plain = ([Lq, Lk, D, Dv]: Lengths, options: AttentionOptions, heads = [1, 1], B = 1) =>
  makeCase(
    { q: [B, heads[0], Lq, D], k: [B, heads[1], Lk, D], v: [B, heads[1], Lk, Dv] },
    options,
    generator(71),
  );

/** Rows that leave 1, 3, 4, 5 and 7 of a group of eight, keys that leave every rest of a tile, widths with and without rests. */
const rests: Counted[] = (
  [
    [1, 1, 8, 8],
    [3, 6, 4, 5],
    [4, 7, 8, 8],
    [5, 9, 6, 3],
    [12, 32, 16, 16],
    [12, 33, 7, 12],
    [15, 64, 8, 40],
    [68, 64, 8, 8],
    [20, 67, 33, 9],
    [20, 101, 8, 8],
    [64, 128, 16, 24],
    [70, 130, 5, 7],
    [4, 200, 16, 16],
  ] as Lengths[]
).map((lengths) => kernelCall(`${lengths}`, () => plain(lengths, {})));

const data = (x: number, n = 1) => ({ data: new Float32Array(n).fill(x), shape: [n] });

const options: Record<string, (L: Lengths) => AttentionOptions> = {
  causal: () => ({ causal: 'lower-right' }),
  'causal, upper left': () => ({ causal: 'upper-left' }),
  'a window': () => ({ window: [20, 3] }),
  'a narrow window': () => ({ window: [2, 0], causal: { offset: 5 } }),
  'a window beyond the keys': () => ({ window: [3, 2], causal: { offset: 100 } }),
  'key lengths': ([, Lk]) => ({ keyLengths: Int32Array.of(Lk >> 1) }),
  'a mask': ([Lq, Lk]) => ({ mask: cell(Lq, Lk).bools(0.7) }),
  'a mask of keys': ([, Lk]) => ({ mask: cell(1, Lk).bools(0.7) }),
  'a bias': ([Lq, Lk]) => ({ bias: cell(Lq, Lk).bias }),
  'a bias of keys': ([, Lk]) => ({ bias: cell(1, Lk).bias, causal: 'lower-right' }),
  'a bias of keys, a window': ([, Lk]) => ({ bias: cell(1, Lk).bias, window: [20, 3] }),
  'a bias of rows': ([Lq]) => ({ bias: cell(Lq, 1).bias }),
  'a bias of heads': () => ({ bias: cell(1, 1).bias, dropout: { rate: 0.3, seed: 2 } }),
  softcap: () => ({ softcap: 5 }),
  ALiBi: () => ({ alibi: data(0.1) }),
  'large scores': () => ({ scale: 2 }),
  'large scores, softcap': () => ({ scale: -3, softcap: 20 }),
  sinks: () => ({ sinks: data(0.5) }),
  dropout: () => ({ dropout: { rate: 0.3, seed: 7, keyOffset: 1 } }),
  'a keep mask': ([Lq, Lk]) => ({ dropout: { rate: 0.3, keep: cell(Lq, Lk).bools(0.7) } }),
};

const optional: Counted[] = Object.entries(options).flatMap(([name, of]) =>
  (
    [
      [12, 30, 8, 8],
      [76, 140, 8, 12],
    ] as Lengths[]
  ).map((lengths) => kernelCall(`${name}, ${lengths}`, () => plain(lengths, of(lengths)))),
);

const poisoned = (one: Case) => {
  (one.problem.v.tensor.data as Float32Array)[8] = Number.NaN;
  return one;
};

const whole: Counted[] = [
  kernelCall('NaN among the values', () => poisoned(plain([20, 140, 8, 8], { causal: 'lower-right' }))),
  kernelCall('NaN among few values', () => poisoned(plain([12, 30, 8, 8], { causal: 'lower-right' }))),
  kernelCall('heads in groups, entries', () => plain([20, 70, 8, 8], { causal: 'lower-right' }, [4, 2], 2)),
  kernelCall('many small heads', () => plain([8, 8, 4, 4], {}, [24, 24], 2)),
  kernelCall('packed', () => {
    const cuSeqlens = { q: Int32Array.of(0, 5, 5, 75), k: Int32Array.of(0, 9, 11, 100) };
    const shapes = { q: [75, 2, 8], k: [100, 1, 8], v: [100, 1, 12] };
    return makeCase(shapes, { causal: 'lower-right', cuSeqlens }, generator(72));
  }),
  kernelCall('values wider than keys', () => plain([12, 70, 2, 32], {})),
  kernelCall('keys in pieces', () => plain([68, 600, 4, 4], {})),
];

const decoded: Counted[] = (
  [
    [1, 128, 8, 8],
    [2, 130, 20, 37],
    [4, 257, 64, 64],
    [8, 300, 6, 36],
    [8, 515, 33, 16],
    // The query of a head is alone with its keys.
    [1, 301, 47, 96, [2, 2]],
    [1, 301, 67, 101, [2, 2]],
  ] as [...lengths: Lengths, heads?: [H: number, Hkv: number]][]
).flatMap(([Lq, Lk, D, Dv, heads = [4, 2]]) =>
  Object.entries({
    '': {},
    ', a window': { window: [70, 9], causal: { offset: 140 } },
    ', every option': {
      ...{ softcap: 9, alibi: data(0.1, heads[0]), bias: cell(1, Lk).bias },
      mask: cell(1, Lk).bools(0.9),
    },
  } as Record<string, AttentionOptions>).map(([name, own]) => ({
    name: `decode${name}, ${[Lq, Lk, D, Dv]}`,
    run: (engine: Engine) => runDecode(engine, plain([Lq, Lk, D, Dv], own, heads)),
  })),
);

const tensor = (seed: number, ...shape: number[]) => ({
  data: normals(sizeOf(shape), generator(seed)),
  shape,
});

const read: Counted[] = Object.entries({
  causal: { causal: 'lower-right' },
  'causal, upper left': { causal: 'upper-left' },
  'a window': { window: [20, 3] },
  ALiBi: { alibi: data(0.1) },
} as Record<string, AttentionOptions>).flatMap(([name, own]) =>
  [
    [12, 30],
    [76, 140],
    [5, 4170],
  ].map(([Lq, Lk]) => ({
    name: `readings, ${name}, ${[Lq, Lk]}`,
    run: async (engine: Engine) => {
      const [q, k] = [tensor(73, 1, 1, Lq, 8), tensor(74, 1, 1, Lk, 8)];
      const map = await attentionMap(q, k, { ...own, engine });
      const pair = { batch: 0, head: 0 };
      await map.entropy(pair);
      await map.distance(pair);
      await map.received(pair);
      await map.diagonal(1, pair);
      await map.tile({ ...pair, queries: [1, Lq], keys: [2, Math.min(Lk, 130)] });
      for (const reduce of ['sum', 'max'] as const) {
        const region = { ...pair, queries: [1, Lq] as const, keys: [3, Lk] as const };
        await map.pool({ ...region, rows: 3, columns: 7, reduce });
        await map.pool({ ...region, rows: 3, columns: 27, reduce, estimate: 2 });
      }
      map.dispose();
    },
  })),
);

const hosted: Counted[] = [10_000, 40_000].map((bytes) => ({
  name: `host arrays in parts of ${bytes} bytes`,
  run: (engine) =>
    withBudget(bytes, async () => {
      const [q, k, v] = [tensor(75, 2, 4, 140, 8), tensor(76, 2, 2, 300, 8), tensor(77, 2, 2, 300, 8)];
      const options = { causal: 'lower-right', engine } as const;
      const { output, logSumExp, map } = await attention(q, k, v, options);
      await backward({ q, k, v, options, output, logSumExp, dOutput: output });
      map.dispose();
    }),
}));

const all = [...rests, ...optional, ...whole, ...decoded, ...read, ...hosted];

/** What every call takes now. */
export async function countWork(meter: Meter): Promise<Record<string, Work>> {
  const made: Record<string, Work> = {};
  for (const one of all) made[one.name] = await workOf(meter, one);
  return made;
}

/** Multiplications of one turn of a product: a register tile of eight rows and four keys or columns. */
const A_TURN = 32;
/**
 * Softmax, packing, chunks and tiles next to the products of keys 64 numbers wide; sums over rows, for dk and dv, run over
 * whole tiles of 64 keys.
 */
const MORE = { attentionForward: 1.15, attentionBackward: 1.4 };
/** Products of a cell: of scores and output; of scores, dO·v, dq, dk and dv. */
const PRODUCTS = { attentionForward: 2, attentionBackward: 5 };

/** Cells that the rows' groups of eight have to look at. */
function cellsOf(L: number, attends: (i: number) => readonly [number, number]): number {
  let cells = 0;
  for (let r = 0; r < L; r += 8) {
    const ranges = Array.from({ length: 8 }, (_, n) => attends(r + n));
    cells += 8 * (Math.max(...ranges.map(([, to]) => to)) - Math.min(...ranges.map(([from]) => from)));
  }
  return cells;
}

const reasoned: Step[] = (
  [
    ['plain', {}, () => [0, 256]],
    ['causal', { causal: 'lower-right' }, (i) => [0, i + 1]],
    ['a window', { window: [100, 0] }, (i) => [Math.max(0, i - 100), i + 1]],
  ] as [string, AttentionOptions, (i: number) => [number, number]][]
).map(([name, own, attends]) => ({
  name: `work: as many turns as there are multiplications by ${A_TURN}, and few more: ${name}`,
  run: async ({ meter }) => {
    const one = kernelCall(name, () => plain([256, 256, 64, 64], own));
    const work = await workOf(await meter(), one);
    const product = (cellsOf(256, attends) * 64) / A_TURN;
    for (const kernel of ['attentionForward', 'attentionBackward'] as const) {
      const most = MORE[kernel] * PRODUCTS[kernel] * product;
      assert.ok(work[kernel] > 0, `${kernel}: no turn of a loop is counted`);
      assert.ok(work[kernel] <= most, `${kernel}: ${work[kernel]} turns of loops, at most ${most}`);
    }
  },
}));

export const workSteps: Step[] = [
  ...reasoned,
  ...all.map((one) => ({
    name: `work: ${one.name}`,
    run: async ({ meter }) => {
      const most = (recorded as Record<string, Work>)[one.name];
      assert.ok(most, 'nothing is recorded');
      for (const [kernel, turns] of Object.entries(await workOf(await meter(), one))) {
        const own = most[kernel] ?? 0;
        assert.ok(turns <= own, `${kernel}: ${turns} turns of loops, at most ${own} are recorded`);
      }
    },
  })),
];
