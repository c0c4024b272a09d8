// The slots that the kernels read: those of what a call has, in bytes and words, and those of what it has not; and which
// calls the kernels do not serve.
import assert from 'node:assert/strict';
import { validateAttention } from '../../../dist/attention/validate.js';
import { type AttentionCall, attentionForward, outputShape } from '../../../dist/engine/ops/attention.js';
import type { Engine } from '../../../dist/engine/types.js';
import {
  KeyHolder,
  named,
  rowBox,
  statisticBox,
  unservedReason,
  uploadStatistics,
} from '../../../dist/map/call.js';
import { LimitError } from '../../../dist/tensor/errors.js';
import { bareCall, type Command, commandsOf } from './issued.js';
import type { Step } from './lab.js';

/** Slots without addresses. */
const ADDRESSES = /^(q|k|v|output|rowMax|rowSum|logSumExp)$/;
const plainSlots = ({ slots }: Command) =>
  Object.fromEntries(Object.entries(slots).filter(([name]) => !ADDRESSES.test(name)));

const absent: Step = {
  name: 'slots of what a call has not are 0',
  run: async ({ engine }) => {
    const [one] = commandsOf(engine, () => {
      const call = bareCall(engine, [2, 4, 2, 9, 7, 8, 5]);
      attentionForward(call, call.q);
    });
    const some = {
      B: 2,
      H: 4,
      Hkv: 2,
      Lq: 9,
      Lk: 7,
      D: 8,
      Dv: 5,
      scale: 1,
      kBatch: 4,
      vBatch: 4,
      dropScale: 1,
      perPart: 1,
    };
    const expected = Object.fromEntries(Object.keys(plainSlots(one)).map((name) => [name, 0]));
    const noRows = bareCall(engine, [2, 4, 2, 9, 7, 8, 5], { packed: {} as never });
    assert.deepEqual(outputShape(noRows), [0, 4, 5]);
    for (const { tensor } of [noRows.q, noRows.k, noRows.v]) tensor.dispose();
    assert.deepEqual(plainSlots(one), { ...expected, ...some, windowLeft: -1, windowRight: -1 });
  },
};

const present: Step = {
  name: 'slots of what a call has: bytes, words of the seed, bounds',
  run: async ({ engine }) => {
    const slotsOf = (more: (engine: Engine) => Partial<AttentionCall>) => {
      let base = 0;
      const [{ slots }] = commandsOf(engine, () => {
        const call = { ...bareCall(engine, [2, 4, 2, 9, 7, 8, 5]), ...more(engine) };
        base = call.q.tensor.pointer;
        attentionForward(call, { ...call.q, offset: 3, batch: 5, head: 6, row: 7 });
      });
      return { slots, base };
    };
    const cells = (own: Engine) => ({ tensor: own.zeros([512]), strides: [4, 3, 2, 1] as const });
    const all = slotsOf((own) => {
      const tensor = own.zeros([512]);
      return {
        q: { tensor, offset: 9, batch: 11, head: 12, row: 13 },
        k: { tensor, offset: 10, batch: 14, head: 15, row: 16 },
        v: { tensor, offset: 11, batch: 17, head: 18, row: 19 },
        bias: { ...cells(own), tensor, offset: 5 },
        mask: { ...cells(own), tensor, offset: 5 },
        alibi: { tensor, batch: 3, head: 1 },
        window: [2 ** 30 + 5, 2 ** 30] as const,
        causal: true,
        offset: 2 ** 30,
        dropout: { rate: 0.25, seed: 2 ** 40 + 2 ** 31 + 9, keyOffset: 6, origin: [1, 2, 3] as const },
      };
    });
    const { slots, base } = all;
    const wanted = {
      ...{ q: base + 36, qBatch: 44, qHead: 48, qRow: 52, k: base + 40, kBatch: 56, kHead: 60, kRow: 64 },
      ...{ v: base + 44, vBatch: 68, vHead: 72, vRow: 76 },
      ...{ output: base + 12, outputBatch: 20, outputHead: 24, outputRow: 28 },
      ...{ bias: base + 20, biasBatch: 16, biasHead: 12, biasRow: 8, biasKey: 4 },
      ...{ mask: base + 5, maskBatch: 4, maskHead: 3, maskRow: 2, maskKey: 1 },
      ...{ alibi: base, alibiBatch: 12, alibiHead: 4, windowLeft: 2 ** 30, windowRight: 2 ** 30 },
      ...{ causal: 1, offset: 2 ** 29, offsets: 0, lowerRight: 0 },
      ...{ dropMode: 1, dropThreshold: 2 ** 22, dropScale: 4 / 3, seedHigh: 2 ** 8, keyOffset: 6 },
      ...{ seedLow: 2 ** 31 + 9, batchOrigin: 1, headOrigin: 2, queryOrigin: 3, keep: 0, keepBatch: 0 },
    };
    for (const [name, value] of Object.entries(wanted)) assert.equal(slots[name], value, name);
    let keep = 0;
    const kept = slotsOf((own) => {
      const of = { ...cells(own), offset: 2 };
      keep = of.tensor.pointer + 2;
      return { offset: -(2 ** 30), dropout: { rate: 0, keep: of } };
    }).slots;
    assert.equal(kept.keep, keep);
    const { dropMode, dropScale, keepBatch, keepHead, keepRow, keepKey, offset } = kept;
    assert.deepEqual([dropMode, dropScale, keepBatch, keepHead, keepRow, keepKey], [2, 1, 4, 3, 2, 1]);
    assert.equal(offset, -(2 ** 29));
    const none = slotsOf(() => ({
      offset: 'lower-right',
      window: [0, 3],
      dropout: { rate: 0, seed: 77 },
    })).slots;
    const { lowerRight, windowLeft, windowRight, seedLow } = none;
    assert.deepEqual([lowerRight, windowLeft, windowRight, none.dropMode, seedLow], [1, 0, 3, 0, 0]);
    assert.deepEqual([none.dropThreshold, none.dropScale, none.offset], [0, 1, 0]);
    const words = slotsOf(() => ({ dropout: { rate: 0.5, seed: [-1, 5] } })).slots;
    assert.deepEqual([words.seedLow, words.seedHigh, words.dropThreshold], [2 ** 32 - 1, 5, 2 ** 23]);
  },
};

const floats = (...shape: number[]) => ({
  data: Float32Array.from({ length: shape.reduce((a, n) => a * n, 1) }, (_, n) => n),
  shape,
});

/** Sequences of 3, 70 and 5 rows, and 9, 4 and 6 keys. */
const packed = () =>
  validateAttention(floats(78, 4, 8), floats(19, 2, 8), floats(19, 2, 5), {
    cuSeqlens: { q: Int32Array.of(0, 3, 73, 78), k: Int32Array.of(0, 9, 13, 19) },
  });

const pieces: Step = {
  name: 'pieces of a call: where their rows and statistics lie, and whether keys stay',
  run: async ({ engine }) => {
    const p = packed();
    const middle = { batches: [1, 2], heads: [0, 4], keyHeads: [0, 2] } as const;
    assert.deepEqual(statisticBox(p, middle), {
      starts: [12],
      dimensions: [
        [70, 4],
        [4, 1],
      ],
    });
    assert.deepEqual(rowBox(p, p.k, [1, 3], [0, 2]), {
      starts: [144],
      dimensions: [
        [10, 16],
        [2, 8],
        [8, 1],
      ],
    });
    assert.deepEqual(rowBox(p, p.k, [1, 3], [1, 2]).starts, [152]);
    const one = validateAttention(floats(2, 2, 9, 4), floats(2, 2, 90, 4), floats(2, 2, 90, 4), {});
    const holder = new KeyHolder(engine, one);
    const piece = { batches: [0, 1], heads: [0, 1], keyHeads: [0, 1], rows: [0, 9], keys: [0, 64] } as const;
    const first = holder.of(piece);
    assert.equal(holder.of({ ...piece, rows: [3, 5], heads: [1, 2] }), first, 'the same keys');
    let last = first;
    for (const other of [
      { ...piece, keys: [32, 64] },
      { ...piece, keys: [32, 90] },
      { ...piece, batches: [0, 2], keys: [32, 90] },
      { ...piece, batches: [1, 2], keys: [32, 90] },
      { ...piece, batches: [1, 2], keys: [32, 90], keyHeads: [0, 2] },
      { ...piece, batches: [1, 2], keys: [32, 90], keyHeads: [1, 2] },
    ] as const) {
      const now = holder.of(other);
      assert.notEqual(now, last, `keys ${other.keys}, entries ${other.batches}, heads ${other.keyHeads}`);
      last = now;
    }
    holder.dispose();
    const weigher = new KeyHolder(engine, one, false);
    const { k, v } = weigher.of(piece);
    assert.equal(v, k);
    weigher.dispose();
    const long = validateAttention(floats(3000, 1), floats(2, 1), floats(2, 1), {});
    const numbers = Float64Array.from({ length: 3000 }, (_, n) => n / 3);
    const whole = { batches: [0, 1], heads: [0, 1], keyHeads: [0, 1], rows: [0, 3000] } as const;
    const { rowMax, rowSum } = uploadStatistics(engine, long, { rowMax: numbers, rowSum: numbers }, whole);
    for (const tensor of [rowMax, rowSum]) {
      assert.deepEqual(await tensor.read(), Float32Array.from(numbers));
      tensor.dispose();
    }
    assert.equal(engine.memory.tensors, 0, 'tensors are left in the engine');
  },
};

const served: Step = {
  name: 'far diagonals are refused where distances count',
  run: async () => {
    const refused = (Lq: number, Lk: number, offset: number, more: object) => {
      const [q, k] = [floats(2, Lq, 4), floats(2, Lk, 4)];
      return unservedReason(validateAttention(q, k, k, { causal: { offset }, ...more }));
    };
    const edge = 2 ** 29;
    for (const [Lq, Lk] of [
      [3, 9],
      [9, 3],
    ]) {
      for (const more of [{ window: [0, -1] }, { window: [-1, 0] }, { alibi: floats(2) }]) {
        for (const sign of [1, -1]) {
          assert.equal(refused(Lq, Lk, sign * (edge - 10), more), undefined);
          const reason = refused(Lq, Lk, sign * (edge - 9), more);
          assert.match(reason!, 'alibi' in more ? /together with alibi/ : /together with window/);
        }
      }
      assert.equal(refused(Lq, Lk, edge + 9, {}), undefined);
    }
  },
};

const namedErrors: Step = {
  name: 'what finds no memory is named, other errors are not',
  run: async () => {
    const raise = (error: Error) => () =>
      named('k', { shape: [2, 3] }, () => {
        throw error;
      });
    assert.throws(raise(new LimitError('4 bytes')), {
      name: 'LimitError',
      message: /k of shape \[2, ?3\] finds no memory: 4 bytes/,
    });
    const other = new RangeError('other');
    assert.throws(raise(other), other);
  },
};

export const slotSteps: Step[] = [absent, present, pieces, served, namedErrors];
