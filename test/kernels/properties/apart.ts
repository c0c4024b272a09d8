// An engine that watches what kernels touch. Every part of a command runs on memory as it was before the command, the last
// part first, and no two may write the same word: parts are independent of each other, so any thread may take any of
// them. None is idle, and nothing changes but results. With `ends`, a command runs once more for each tensor it is given,
// with that tensor at the very end of the memory: reading or writing behind it traps.
import assert from 'node:assert/strict';
import { CpuEngine, KERNEL_NAMES } from '../../../dist/engine/cpu-engine.js';
import { DirectExecutor } from '../../../dist/engine/direct.js';
import { ARGUMENTS_ADDRESS, heapBase, RESERVED_BYTES } from '../../../dist/engine/executor.js';
import type { Build } from '../../../dist/engine/kernels.js';
import type { Engine } from '../../../dist/engine/types.js';
import { KERNELS } from '../../../dist/kernels/cpu/registry.js';

/** Bytes of the heap that are watched: more than the cases use. */
const WATCHED = 1 << 20;
/** Bytes in front of the kernels' scratch that nothing may change. */
const BEFORE_SCRATCH = 4096;
/** Arguments of nothing: zeros in the page of the arguments, far behind the longest block of them. */
const NO_ARGUMENTS = RESERVED_BYTES - 8192;
/** What new memory holds: a NaN that no kernel makes. */
const NEVER_WRITTEN = 0x7fc0dead;

/** Arguments that point to what a kernel writes; everything else is only read. */
const RESULTS: Record<string, readonly string[]> = {
  attentionForward: ['output', 'rowMax', 'rowSum', 'logSumExp'],
  attentionWeights: ['out'],
  attentionDecode: ['output', 'rowMax', 'rowSum', 'logSumExp', 'partials', 'partialStats', 'ended'],
  attentionDelta: ['delta'],
  attentionSinks: ['dSinks'],
  attentionGather: ['dq'],
  attentionBackward: ['dq', 'dk', 'dv', 'dBias', 'partials'],
  attentionBias: ['dBias', 'sums'],
  attentionCells: ['out'],
  attentionPool: ['out'],
  attentionMoments: ['out'],
  attentionStatistics: ['out'],
  attentionDiagonal: ['out'],
};

interface Insides {
  memory: WebAssembly.Memory;
  kernels: ((args: number, part: number) => void)[];
}

interface Stretch {
  readonly block: { readonly address: number; readonly bytes: number };
  readonly bytes: number;
  readonly tensors: number;
}

export async function apartEngine(build: Build, wasmUrl?: string, ends = false): Promise<Engine> {
  const executor = await DirectExecutor.create({ threads: 1, build, kernels: KERNEL_NAMES, wasmUrl });
  const { memory, kernels } = executor as unknown as Insides;
  const engine = new CpuEngine(executor, build);
  const stretches = listed(engine, memory);
  const [before, after] = [0, 0].map(() => Buffer.alloc(WATCHED));
  const owner = new Int32Array(WATCHED / 4);
  executor.run = (number, _slots, parts) => {
    const [name, kernel] = [KERNEL_NAMES[number], kernels[number]];
    const slots = Object.keys((KERNELS as Record<string, object>)[name]);
    const given = Object.fromEntries(slots.map((slot, n) => [slot, executor.integers[n]]));
    const live = stretches();
    const bytes = Math.min(WATCHED, memory.buffer.byteLength - heapBase(1));
    const heap = Buffer.from(memory.buffer, heapBase(1), bytes);
    const used = Math.max(0, ...live.map(({ block }) => block.address + block.bytes - heapBase(1)));
    assert.ok(used <= bytes, 'the case is larger than what is watched');
    for (const copy of [before, after]) copy.set(heap);
    const front = Buffer.from(memory.buffer, RESERVED_BYTES - BEFORE_SCRATCH, BEFORE_SCRATCH);
    const kept = Buffer.from(front);
    // A thread may come to a part from any other kernel: nothing that it decoded before may count.
    const forget = () => kernels[KERNEL_NAMES.indexOf('attentionForward')](NO_ARGUMENTS, 0);
    const run = () => {
      for (let part = 0; part < parts; part++) kernel(ARGUMENTS_ADDRESS, part);
    };
    if (ends)
      atTheEnd(memory, executor.integers, slots, live, name, run, () => before.copy(heap, 0, 0, used));
    owner.fill(-1);
    for (let part = parts - 1; part >= 0; part--) {
      before.copy(heap, 0, 0, bytes);
      forget();
      kernel(ARGUMENTS_ADDRESS, part);
      const changed = changedWords(before, heap);
      assert.ok(
        changed.length > 0 || mayBeIdle(name, given),
        `${name}: part ${part} of ${parts} writes nothing`,
      );
      for (const at of changed) {
        const other = owner[at / 4];
        assert.equal(other, -1, `${name}: part ${part} writes where part ${other} does`);
        owner[at / 4] = part;
        heap.copy(after, at, at, at + 4);
      }
    }
    after.copy(heap, 0, 0, bytes);
    assert.ok(front.equals(kept), `${name} writes in front of its scratch`);
    onlyResults(name, given, live, owner);
  };
  return engine;
}

/** The stretches of memory that tensors of an engine hold, those that still do when asked; new ones are filled. */
function listed(engine: CpuEngine, memory: WebAssembly.Memory): () => Stretch[] {
  let all: Stretch[] = [];
  const own = engine as unknown as { allocate(bytes: number): Stretch };
  const allocate = own.allocate.bind(engine);
  own.allocate = (bytes) => {
    const stretch = allocate(bytes);
    new Uint32Array(memory.buffer, stretch.block.address, stretch.block.bytes / 4).fill(NEVER_WRITTEN);
    all.push(stretch);
    return stretch;
  };
  return () => {
    all = all.filter(({ tensors }) => tensors > 0);
    return all;
  };
}

const holds = ({ block, bytes }: Stretch, address: number) =>
  address >= block.address && address < block.address + bytes;

/**
 * Parts of sequences that end sooner than others, and of no rows or keys, have nothing to write; those that add may add
 * nothing but zeros.
 */
const mayBeIdle = (name: string, { cuQ, Lq, Lk, dBias }: Record<string, number>) =>
  name === 'attentionGather' || cuQ !== 0 || Lq === 0 || Lk === 0 || (dBias ?? 0) !== 0;

/** Runs a command once for each pointer to a tensor, which then ends where the memory does. */
function atTheEnd(
  memory: WebAssembly.Memory,
  integers: Uint32Array,
  slots: readonly string[],
  live: readonly Stretch[],
  name: string,
  run: () => void,
  restore: () => void,
): void {
  const whole = new Uint8Array(memory.buffer);
  slots.forEach((slot, n) => {
    const address = integers[n];
    const stretch = live.find((one) => holds(one, address));
    if (!stretch) return;
    const { block, bytes } = stretch;
    const start = whole.length - bytes;
    whole.copyWithin(start, block.address, block.address + bytes);
    integers[n] = start + address - block.address;
    try {
      run();
    } catch (cause) {
      throw new Error(`${name} reaches behind the end of ${slot}`, { cause });
    } finally {
      integers[n] = address;
      restore();
    }
  });
}

/** Words that changed lie in what the command was to write. */
function onlyResults(
  name: string,
  given: Record<string, number>,
  live: readonly Stretch[],
  owner: Int32Array,
): void {
  const results = (RESULTS[name] ?? []).map((slot) => live.find((one) => holds(one, given[slot])));
  for (let n = 0; n < owner.length; n++) {
    if (owner[n] < 0) continue;
    const address = heapBase(1) + 4 * n;
    assert.ok(
      results.some((one) => one && holds(one, address)),
      `${name}: part ${owner[n]} writes what is no result of its own`,
    );
  }
}

/** Offsets of the words in which two stretches of memory differ; equal blocks are passed over at once. */
function changedWords(before: Buffer, now: Buffer): number[] {
  const BLOCK = 4096;
  const found = [];
  for (let block = 0; block < now.length; block += BLOCK) {
    const end = Math.min(block + BLOCK, now.length);
    if (now.compare(before, block, end, block, end) === 0) continue;
    for (let at = block; at < end; at += 4) {
      if (now.readInt32LE(at) !== before.readInt32LE(at)) found.push(at);
    }
  }
  return found;
}
