// Maps of files that share what an engine keeps: together they stay within it while they read, and none loses the rows
// it is about to use.
import { afterAll, afterEach, expect, test } from 'vitest';
import type { CpuEngine } from '../../dist/engine/cpu-engine.js';
import * as fovea from '../../dist/index.js';
import { shelf } from '../../dist/map/held-heads.js';
import { randomTensor, seeded } from '../attention/calls.js';

const { attentionMap, createEngine, createTrace, openTrace, saveTrace } = fovea;
const engine = (await createEngine({ threads: 2 })) as CpuEngine;
const usual = shelf.bytes;
afterEach(() => {
  shelf.bytes = usual;
});
afterAll(() => engine.dispose());

const [H, L, D] = [3, 64, 512];
/** Bytes of q and k of one head. */
const PAIR = 2 * 4 * L * D;

/** A trace whose file answers after some turns of the event loop; `most` is what the engine held at any answer. */
async function slowTrace(seed: number, watched: { most: number }) {
  const random = seeded(seed);
  const [q, k] = [randomTensor(random, [H, L, D]), randomTensor(random, [H, L, D])];
  const made = createTrace({ entries: [{ name: 'a', q, k }] });
  const bytes = await saveTrace(made);
  made.dispose();
  const delays = seeded(seed + 100);
  const trace = await openTrace(
    {
      size: bytes.length,
      async read(offset, length) {
        for (let n = Math.floor(2 * (delays() + 1)); n >= 0; n--) await new Promise((go) => setImmediate(go));
        watched.most = Math.max(watched.most, engine.memory.inUse);
        return bytes.slice(offset, offset + length);
      },
    },
    { engine },
  );
  const plain = await attentionMap(q, k, { engine });
  const expected = await Promise.all([0, 1, 2].map(async (head) => (await plain.tile({ head })).data));
  plain.dispose();
  return { trace, expected };
}

test.each([
  ['one head of one map', PAIR],
  ['two heads', 2 * PAIR],
  ['not even one head', PAIR / 4],
])('four maps asked at once, with room for %s: the bits of arrays, and no more held', async (_, bytes) => {
  const watched = { most: 0 };
  const all = await Promise.all([1, 2, 3, 4].map((seed) => slowTrace(seed, watched)));
  shelf.bytes = bytes;
  const maps = await Promise.all(all.map(({ trace }) => trace.entries[0].map()));
  watched.most = 0;
  for (let round = 0; round < 5; round++) {
    const answers = maps.map(async (map, m) => {
      const head = (m + round) % H;
      expect((await map.tile({ head })).data).toEqual(all[m].expected[head]);
    });
    await Promise.all(answers);
  }
  // Beside it, tiles and row statistics of four questions.
  const working = 4 * (4 * L * L + 16 * L + 4096);
  expect(watched.most).toBeGreaterThan(0);
  expect(watched.most).toBeLessThanOrEqual(Math.max(bytes, PAIR) + working);
  for (const { trace } of all) trace.dispose();
  expect(engine.memory.tensors).toBe(0);
});

test('loads that together have no room wait for each other, and a signal ends the waiting', async () => {
  const watched = { most: 0 };
  const all = await Promise.all([5, 6, 7].map((seed) => slowTrace(seed, watched)));
  shelf.bytes = H * PAIR;
  const control = new AbortController();
  const loads = all.map(({ trace }, n) => trace.entries[0].map(n === 2 ? { signal: control.signal } : {}));
  control.abort('enough');
  await expect(loads[2]).rejects.toBe('enough');
  await Promise.all(loads.slice(0, 2));
  expect(watched.most).toBeLessThanOrEqual(H * PAIR);
  expect(await (await all[2].trace.entries[0].map()).row({ head: 1, query: 3 })).toEqual(
    all[2].expected[1].subarray(3 * L, 4 * L),
  );
  for (const { trace } of all) trace.dispose();
  expect(engine.memory.tensors).toBe(0);
});
