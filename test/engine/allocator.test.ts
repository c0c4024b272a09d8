import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ALIGNMENT, Allocator, type Block } from '../../dist/engine/memory.js';

const BASE = 65536;

/** A run of requests: a size to allocate, or which of the live blocks to free. */
const requests = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ bytes: fc.oneof(fc.nat(300), fc.nat(20_000), fc.nat(3_000_000)) }) },
    { weight: 2, arbitrary: fc.record({ victim: fc.nat(1000) }) },
    { weight: 1, arbitrary: fc.record({ grow: fc.nat(200) }) },
  ),
  { maxLength: 120 },
);

function play(script: ({ bytes: number } | { victim: number } | { grow: number })[], check: boolean) {
  const allocator = new Allocator(BASE, BASE + 64 * 1024);
  const live: { block: Block; bytes: number }[] = [];
  const addresses: (number | undefined)[] = [];
  for (const step of script) {
    if ('bytes' in step) {
      const block = allocator.allocate(step.bytes);
      addresses.push(block?.address);
      if (block) live.push({ block, bytes: step.bytes });
    } else if ('victim' in step && live.length > 0) {
      const [gone] = live.splice(step.victim % live.length, 1);
      allocator.free(gone!.block);
    } else if ('grow' in step) {
      allocator.extend(allocator.end + step.grow * 65536);
    }
    if (check) verify(allocator, live);
  }
  return { allocator, live, addresses };
}

function verify(allocator: Allocator, live: { block: Block; bytes: number }[]) {
  let at = BASE;
  let wasFree = false;
  let taken = 0;
  for (const { address, bytes, free } of allocator.blocks()) {
    expect(address).toBe(at);
    expect(address % ALIGNMENT).toBe(0);
    expect(free && wasFree).toBe(false);
    if (!free) taken += bytes;
    wasFree = free;
    at += bytes;
  }
  expect(at).toBe(allocator.end);
  expect(allocator.taken).toBe(taken);
  const starts = new Set(live.map(({ block }) => block.address));
  expect(starts.size).toBe(live.length);
  for (const { block, bytes } of live) {
    expect(block.free).toBe(false);
    expect(block.bytes).toBeGreaterThanOrEqual(bytes);
  }
}

test('blocks tile the memory, aligned to 64 bytes, and no two free ones touch', () => {
  fc.assert(
    fc.property(requests, (script) => void play(script, true)),
    { numRuns: 200 },
  );
});

test('freeing everything leaves one free block', () => {
  fc.assert(
    fc.property(requests, (script) => {
      const { allocator, live } = play(script, false);
      for (const { block } of live) allocator.free(block);
      expect(allocator.blocks()).toEqual([{ address: BASE, bytes: allocator.end - BASE, free: true }]);
      expect(allocator.taken).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test('the same requests give the same addresses', () => {
  fc.assert(
    fc.property(requests, (script) => {
      expect(play(script, false).addresses).toEqual(play(script, false).addresses);
    }),
    { numRuns: 50 },
  );
});

test('a request is refused only when no free block has room', () => {
  fc.assert(
    fc.property(requests, fc.nat(4_000_000), (script, bytes) => {
      const { allocator } = play(script, false);
      const wanted = Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
      const free = allocator.blocks().filter((block) => block.free);
      const block = allocator.allocate(bytes);
      if (!block) expect(Math.max(0, ...free.map((f) => f.bytes))).toBeLessThan(wanted);
      else expect(free.some((f) => f.bytes >= wanted)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('addresses reach up to 4 GB as unsigned numbers', () => {
  const end = 65535 * 65536;
  const allocator = new Allocator(BASE, end);
  const low = allocator.allocate(3 * 2 ** 30)!;
  const high = allocator.allocate(end - BASE - 3 * 2 ** 30)!;
  expect(high.address).toBe(BASE + 3 * 2 ** 30);
  expect(allocator.allocate(1)).toBeUndefined();
  allocator.free(low);
  for (const bytes of [2 ** 32, 2 ** 38 + 64, 2 ** 52]) expect(allocator.allocate(bytes)).toBeUndefined();
  allocator.free(high);
  expect(allocator.blocks()).toHaveLength(1);
});

test('shortfall tells exactly how much memory is missing', () => {
  const allocator = new Allocator(BASE, BASE + 1024);
  allocator.allocate(512);
  expect(allocator.shortfall(512)).toBe(0);
  expect(allocator.shortfall(513)).toBe(64);
  const missing = allocator.shortfall(4096);
  allocator.extend(allocator.end + missing);
  expect(allocator.allocate(4096)?.bytes).toBe(4096);
  expect(allocator.blocks().filter((block) => block.free)).toEqual([]);
});
