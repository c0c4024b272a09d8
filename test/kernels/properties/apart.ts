// An engine that runs every part of a command on memory as it was before the command, the last part first, and demands
// that no two parts write the same word: parts are independent of each other, so any thread may take any of them.
import assert from 'node:assert/strict';
import { CpuEngine, KERNEL_NAMES } from '../../../dist/engine/cpu-engine.js';
import { DirectExecutor } from '../../../dist/engine/direct.js';
import { ARGUMENTS_ADDRESS, heapBase } from '../../../dist/engine/executor.js';
import type { Build } from '../../../dist/engine/kernels.js';
import type { Engine } from '../../../dist/engine/types.js';

/** Bytes of the heap that are watched: more than the cases use. */
const WATCHED = 1 << 20;

interface Insides {
  memory: WebAssembly.Memory;
  kernels: ((args: number, part: number) => void)[];
}

export async function apartEngine(build: Build, wasmUrl?: string): Promise<Engine> {
  const executor = await DirectExecutor.create({ threads: 1, build, kernels: KERNEL_NAMES, wasmUrl });
  const { memory, kernels } = executor as unknown as Insides;
  const [before, after] = [0, 0].map(() => Buffer.alloc(WATCHED));
  const owner = new Int32Array(WATCHED / 4);
  executor.run = (kernel, _slots, parts) => {
    const bytes = Math.min(WATCHED, memory.buffer.byteLength - heapBase(1));
    const heap = Buffer.from(memory.buffer, heapBase(1), bytes);
    for (const copy of [before, after]) copy.set(heap);
    owner.fill(-1);
    for (let part = parts - 1; part >= 0; part--) {
      before.copy(heap, 0, 0, bytes);
      kernels[kernel](ARGUMENTS_ADDRESS, part);
      for (const at of changedWords(before, heap)) {
        const other = owner[at / 4];
        assert.equal(other, -1, `${KERNEL_NAMES[kernel]}: part ${part} writes where part ${other} does`);
        owner[at / 4] = part;
        heap.copy(after, at, at, at + 4);
      }
    }
    after.copy(heap, 0, 0, bytes);
  };
  return new CpuEngine(executor, build);
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
