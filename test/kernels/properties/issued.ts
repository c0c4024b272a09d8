// What the ops tell the kernels: how many parts a call is cut into and how the backward pass is split, by shapes alone.
// Kernels do not run here: the engine is listened to.
import assert from 'node:assert/strict';
import {
  type AttentionCall,
  attentionBackward,
  attentionForward,
  attentionWeights,
  type Operand,
} from '../../../dist/engine/ops/attention.js';
import { attentionDecode } from '../../../dist/engine/ops/attention-decode.js';
import {
  attentionCells,
  attentionDiagonal,
  attentionMoments,
  attentionStatistics,
} from '../../../dist/engine/ops/attention-readings.js';
import type { Engine } from '../../../dist/engine/types.js';
import type { Step } from './lab.js';

export interface Command {
  readonly kernel: string;
  readonly slots: Record<string, number>;
  readonly parts: number;
}

/** The commands that `issue` gives; what it makes is freed. */
export function commandsOf(engine: Engine, issue: () => unknown): Command[] {
  const commands: Command[] = [];
  const run = (kernel: string, slots: Record<string, number>, parts: number) =>
    commands.push({ kernel, slots, parts });
  Object.defineProperty(engine, 'run', { value: run, configurable: true });
  try {
    engine.scope(() => {
      issue();
    });
  } finally {
    delete (engine as { run?: unknown }).run;
  }
  assert.equal(engine.memory.tensors, 0, 'tensors are left in the engine');
  return commands;
}

export type Shape = readonly [
  B: number,
  H: number,
  Hkv: number,
  Lq: number,
  Lk: number,
  D: number,
  Dv: number,
];

/** A call of any lengths on one small tensor: every stride is 0. */
export function bareCall(
  engine: Engine,
  [B, H, Hkv, Lq, Lk, D, Dv]: Shape,
  more: Partial<AttentionCall> = {},
) {
  const small = (): Operand => ({ tensor: engine.zeros([512]), offset: 0, batch: 0, head: 0, row: 0 });
  const rest = { scale: 1, softcap: 0, causal: false, window: [-1, -1] as const, offset: 0 };
  const [q, k, v] = [small(), small(), small()];
  // Keys of their own for each batch entry.
  for (const x of [k, v]) x.batch = 1;
  return { q, k, v, B, H, Hkv, Lq, Lk, D, Dv, ...rest, ...more } as AttentionCall;
}

/** '4 of 8': four parts, eight units in each. */
const told = ({ parts, slots }: Command) => `${parts} of ${slots.perPart}`;

// A unit is 64 rows of a head; 2^20 multiplications make a part, but there are 8 parts if there are 8 units, and at
// most 1024.
const forwards: [Shape, string][] = [
  [[1, 1, 1, 64, 64, 8, 8], '1 of 1'],
  [[1, 1, 1, 65, 64, 8, 8], '2 of 1'],
  [[2, 8, 8, 640, 64, 8, 8], '10 of 16'],
  [[2, 8, 8, 640, 64, 8, 7], '9 of 18'],
  [[2, 8, 8, 640, 128, 8, 8], '20 of 8'],
  [[2, 8, 8, 1, 64, 8, 8], '8 of 2'],
  [[3, 8, 8, 1, 64, 8, 8], '8 of 3'],
  [[64, 16, 16, 16, 64, 8, 8], '16 of 64'],
  [[64, 16, 16, 8, 0, 8, 8], '8 of 128'],
  [[1, 1025, 1, 64, 1024, 8, 8], '513 of 2'],
  [[1, 2050, 1, 1, 1, 1, 1], '8 of 257'],
  [[1, 3000, 1, 64, 8192, 1, 1], '1000 of 3'],
];

const forwardParts: Step = {
  name: 'parts of a forward pass',
  run: async ({ engine }) => {
    for (const [shape, expected] of forwards) {
      const commands = commandsOf(engine, () => {
        const call = bareCall(engine, shape);
        attentionForward(call, call.q);
      });
      assert.deepEqual(
        commands.map((one) => one.kernel),
        ['attentionForward'],
      );
      assert.equal(told(commands[0]), expected, `${shape}`);
    }
    for (const shape of [
      [0, 2, 2, 9, 9, 4, 4],
      [2, 2, 2, 0, 9, 4, 4],
      [2, 0, 2, 9, 9, 4, 4],
    ] as Shape[]) {
      assert.deepEqual(
        commandsOf(engine, () => attentionForward(bareCall(engine, shape))),
        [],
      );
    }
  },
};

/** Gradients wanted, and the commands: deltas, owners (batches × heads each) in pieces, what is gathered, sinks. */
const backwards: [Shape, string, string[]][] = [
  // One block of keys: delta on the spot.
  [
    [1, 1, 1, 64, 64, 8, 8],
    'dq dk dv',
    ['attentionBackward 1 of 1: 1×1 in 1, 2048 bytes, none kept, own delta'],
  ],
  [
    [1, 1, 1, 64, 64, 8, 8],
    'dq dk dv merged',
    ['attentionDelta 1 of 1', 'attentionBackward 1 of 1: 1×1 in 1, 2048 bytes, none kept'],
  ],
  [
    [1, 1, 1, 64, 65, 8, 8],
    'dq dk dv',
    [
      'attentionDelta 1 of 1',
      'attentionBackward 2 of 1: 1×1 in 2, 2048 bytes, some kept, own delta',
      'attentionGather 1 of 1',
    ],
  ],
  // Eight pieces at most.
  [
    [1, 1, 1, 130, 512, 8, 8],
    'dq',
    [
      'attentionDelta 3 of 1',
      'attentionBackward 8 of 1: 1×1 in 8, 4160 bytes, some kept, own delta',
      'attentionGather 3 of 1',
    ],
  ],
  [
    [1, 1, 1, 130, 513, 8, 8],
    'dk',
    ['attentionDelta 3 of 1', 'attentionBackward 5 of 1: 1×1 in 5, 4160 bytes, none kept, own delta'],
  ],
  [
    [1, 1, 1, 130, 1025, 8, 8],
    'dv',
    ['attentionDelta 3 of 1', 'attentionBackward 6 of 1: 1×1 in 6, 4160 bytes, none kept, own delta'],
  ],
  // Eight owners keep their pieces together.
  [
    [1, 7, 7, 130, 1025, 8, 8],
    'dq dk dv',
    [
      'attentionDelta 7 of 3',
      'attentionBackward 42 of 1: 1×1 in 6, 29120 bytes, some kept, own delta',
      'attentionGather 7 of 3',
    ],
  ],
  [
    [1, 8, 8, 130, 1025, 8, 8],
    'dq dk dv',
    ['attentionDelta 8 of 3', 'attentionBackward 8 of 1: 1×1 in 1, 0 bytes, some kept, own delta'],
  ],
  [
    [1, 8, 8, 130, 1025, 8, 8],
    'dk dv',
    ['attentionDelta 8 of 3', 'attentionBackward 8 of 1: 1×1 in 1, 0 bytes, none kept, own delta'],
  ],
  [
    [1, 8, 8, 130, 512, 8, 8],
    'dq dk dv',
    ['attentionDelta 8 of 3', 'attentionBackward 8 of 1: 1×1 in 1, 0 bytes, none kept, own delta'],
  ],
  [
    [2, 12, 4, 130, 100, 8, 8],
    'dq dk dv',
    ['attentionDelta 8 of 9', 'attentionBackward 8 of 1: 1×3 in 1, 0 bytes, none kept, own delta'],
  ],
  [
    [1, 1, 1, 32768, 320, 512, 1],
    'dq',
    [
      'attentionDelta 8 of 64',
      'attentionBackward 5 of 1: 1×1 in 5, 67108864 bytes, some kept, own delta',
      'attentionGather 128 of 4',
    ],
  ],
  // One more row, and the sums of five pieces would take more than 2^28 bytes.
  [
    [1, 1, 1, 32769, 320, 512, 1],
    'dq',
    ['attentionDelta 8 of 65', 'attentionBackward 1 of 1: 1×1 in 1, 0 bytes, none kept, own delta'],
  ],
  // Small heads share parts.
  [
    [64, 32, 32, 3, 70, 2, 2],
    'dq dk dv',
    ['attentionDelta 8 of 256', 'attentionBackward 9 of 250: 1×1 in 1, 0 bytes, none kept, own delta'],
  ],
  [
    [1, 7, 7, 64, 520, 1, 1],
    'dk',
    ['attentionDelta 7 of 1', 'attentionBackward 7 of 5: 1×1 in 5, 1792 bytes, none kept, own delta'],
  ],
  [
    [2, 64, 64, 64, 65, 8, 512],
    'dk',
    ['attentionDelta 32 of 4', 'attentionBackward 128 of 1: 1×1 in 1, 0 bytes, none kept, own delta'],
  ],
  [[1, 1, 1, 64, 64, 8, 8], '', []],
  [[0, 1, 1, 64, 64, 8, 8], 'dq dk dv dBias', []],
  [[1, 0, 0, 64, 64, 8, 8], 'dq dk dv dBias', []],
  // A bias: one part for each of its own heads; of rows and keys that share its numbers, in float64.
  [[2, 12, 4, 64, 60, 8, 8], 'dBias 1 1 1 1', ['bias 24 of 1: 1×1 in 1, 0 bytes, none kept, own delta']],
  [[2, 12, 4, 64, 60, 8, 8], 'dBias 0 1 1 1', ['bias 12 of 1: 2×1 in 1, 0 bytes, none kept, own delta']],
  [[2, 12, 4, 64, 60, 8, 8], 'dBias 1 0 1 1', ['bias 2 of 1: 1×12 in 1, 0 bytes, none kept, own delta']],
  [
    [2, 12, 4, 64, 60, 8, 8],
    'dBias 0 0 1 1 merged',
    ['attentionDelta 8 of 3', 'bias 1 of 1: 2×12 in 1, 0 bytes, none kept'],
  ],
  [[2, 12, 4, 64, 60, 8, 8], 'dBias 1 1 0 1', ['shared bias 24: 1×1, own delta']],
  [[2, 12, 4, 64, 60, 8, 8], 'dBias 0 1 1 0', ['shared bias 12: 2×1, own delta']],
  [[2, 12, 4, 64, 60, 8, 8], 'dBias 0 0 0 0 merged', ['attentionDelta 8 of 3', 'shared bias 1: 2×12']],
  [[2, 12, 4, 64, 60, 8, 8], 'dSinks', ['attentionSinks 12']],
];

function backwardOf(engine: Engine, shape: Shape, wants: string[]): string[] {
  const commands = commandsOf(engine, () => {
    const call = bareCall(engine, shape);
    const one = engine.zeros([512]);
    const at = wants.indexOf('dBias');
    if (at >= 0) {
      const [batch, head, row, key] = wants.slice(at + 1, at + 5).map(Number);
      call.bias = { tensor: one, strides: [batch, head, row, key] };
    }
    if (wants.includes('dSinks')) call.sinks = one;
    const gradient = (name: string) => (wants.includes(name) ? { ...call.q, tensor: one } : undefined);
    const { dBias, dSinks } = attentionBackward(
      call,
      call.q,
      call.q,
      { rowMax: one, rowSum: one },
      {
        ...{ dq: gradient('dq'), dk: gradient('dk'), dv: gradient('dv') },
        ...{ dBias: at >= 0, dSinks: wants.includes('dSinks'), merged: wants.includes('merged') },
      },
    );
    if (at >= 0) assert.deepEqual(dBias!.shape, [512]);
    if (call.sinks) assert.deepEqual(dSinks!.shape, [call.H]);
  });
  return commands.map((one) => {
    const { kernel, slots } = one;
    assert.equal(slots.dLogSumExp ?? 0, 0);
    if (kernel === 'attentionDelta' || kernel === 'attentionGather') return `${kernel} ${told(one)}`;
    if (kernel === 'attentionSinks') return `${kernel} ${one.parts}`;
    const delta = slots.ownDelta ? ', own delta' : '';
    if (kernel === 'attentionBias')
      return `shared bias ${one.parts}: ${slots.batches}×${slots.heads}${delta}`;
    const split = `${slots.batches}×${slots.heads} in ${slots.units}, ${slots.pieceBytes} bytes`;
    const own = `${slots.partials === 0 ? 'none' : 'some'} kept${delta}`;
    return `${slots.dBias === 0 ? kernel : 'bias'} ${told(one)}: ${split}, ${own}`;
  });
}

const backwardParts: Step = {
  name: 'how a backward pass is split',
  run: async ({ engine }) => {
    for (const [shape, wants, expected] of backwards) {
      assert.deepEqual(backwardOf(engine, shape, wants.split(' ')), expected, `${shape}: ${wants}`);
    }
    // Batch entries that share k or v have one owner.
    for (const name of ['k', 'v'] as const) {
      const commands = commandsOf(engine, () => {
        const call = bareCall(engine, [3, 4, 2, 64, 64, 8, 8]);
        call[name].batch = 0;
        const one = engine.zeros([512]);
        const stats = { rowMax: one, rowSum: one };
        attentionBackward(call, call.q, call.q, stats, { dk: { ...call.k, tensor: one } });
      });
      const { batches, heads } = commands[0].slots;
      assert.deepEqual([batches, heads, commands[0].parts], [3, 2, 2], name);
    }
  },
};

const decodeParts: Step = {
  name: 'parts of decoding',
  run: async ({ engine }) => {
    // Runs of 256 keys; about 2^17 numbers of keys and values a part.
    for (const [shape, expected] of [
      [[1, 8, 8, 1, 4096, 64, 64], '32 of 4, 16 runs'],
      [[1, 8, 8, 1, 4097, 64, 64], '34 of 4, 17 runs'],
      [[2, 8, 2, 8, 128, 8, 8], '1 of 64, 1 runs'],
      [[1, 1, 1, 1, 1000, 512, 512], '4 of 1, 4 runs'],
      [[1, 1, 1, 1, 1000, 200, 57], '4 of 1, 4 runs'],
      [[1, 1, 1, 1, 1000, 200, 56], '2 of 2, 4 runs'],
      [[1, 4, 4, 1, 200, 8, 8], '1 of 40, 1 runs'],
    ] as [Shape, string][]) {
      const commands = commandsOf(engine, () => {
        const call = bareCall(engine, shape);
        attentionDecode(call, call.q);
      });
      assert.deepEqual(
        commands.map((one) => `${one.kernel} ${told(one)}, ${one.slots.runs} runs`),
        [`attentionDecode ${expected}`],
        `${shape}`,
      );
    }
  },
};

/** Slots of pictures alone. */
const POOLED = ['positions', 'slices', 'blocks', 'origin', 'span', 'columns', 'reach', 'most'];

const readingParts: Step = {
  name: 'parts of what maps read',
  run: async ({ engine }) => {
    const issued = (Lq: number, Lk: number, D: number) =>
      commandsOf(engine, () => {
        const call = bareCall(engine, [1, 1, 1, Lq, Lk, D, 1]);
        const stats = { rowMax: call.q.tensor, rowSum: call.q.tensor };
        if (Lq * Lk < 2 ** 20) assert.deepEqual(attentionCells(call, stats).shape, [Lq, Lk]);
        const [spans, groups] = [Math.ceil(Lk / 4096), Math.ceil(Lq / 8)];
        assert.deepEqual(attentionMoments(call, stats, 3).shape, [spans, groups, 3, 8]);
        assert.deepEqual(attentionStatistics(call).shape, [spans, groups, 2, 8]);
        assert.deepEqual(attentionDiagonal(call, stats, -2).shape, [groups, 8]);
      }).map(({ kernel, parts, slots }) => {
        for (const name of POOLED) assert.equal(slots[name], 0, name);
        return `${kernel.slice(9)} ${parts}, ${slots.width}, ${slots.own}`;
      });
    assert.deepEqual(issued(64, 100, 8), [
      'Cells 1, 1024, 0',
      'Moments 1, 4096, 3',
      'Statistics 1, 4096, 0',
      'Diagonal 1, 0, -2',
    ]);
    assert.deepEqual(issued(65, 4097, 512), [
      'Cells 34, 256, 0',
      'Moments 4, 4096, 3',
      'Statistics 4, 4096, 0',
      'Diagonal 2, 0, -2',
    ]);
    assert.deepEqual(issued(9, 2000, 100)[0], 'Cells 4, 640, 0');
    assert.deepEqual(issued(128, 4096, 100).slice(0, 2), ['Cells 32, 256, 0', 'Moments 2, 4096, 3']);
    const none = commandsOf(engine, () => {
      const call = bareCall(engine, [1, 1, 1, 0, 9, 4, 4]);
      attentionCells(call, { rowMax: call.q.tensor, rowSum: call.q.tensor });
      attentionWeights(
        bareCall(engine, [1, 1, 1, 9, 9, 4, 4]),
        { rowMax: call.q.tensor, rowSum: call.q.tensor },
        0,
        0,
        [3, 3],
        [0, 9],
      );
    });
    assert.deepEqual(none, []);
    for (const [from, to, parts] of [
      [0, 64, 1],
      [0, 65, 2],
      [60, 130, 2],
      [100, 300, 4],
    ]) {
      const [one] = commandsOf(engine, () => {
        const call = bareCall(engine, [2, 2, 1, 300, 90, 4, 4]);
        const stats = { rowMax: call.q.tensor, rowSum: call.q.tensor };
        attentionWeights(call, stats, 1, 1, [from, to], [5, 80]);
      });
      const { batch, head, from: first, to: last, first: low, last: high } = one.slots;
      assert.deepEqual([one.parts, batch, head, first, last, low, high], [parts, 1, 1, from, to, 5, 80]);
    }
  },
};

export const issuedSteps: Step[] = [forwardParts, backwardParts, decodeParts, readingParts];
