// What an engine asks of Node.
import { expect, test } from 'vitest';
import { copyBytes, unwritten } from '../../dist/engine/platform.node.js';

test.each([0, 8, 4095, 4096, 2 ** 20])('results of %d bytes lie in memory of just that size', (bytes) => {
  expect(unwritten(bytes).byteLength).toBe(bytes);
});

test('a result may be larger than a Buffer of Node 20, and is written beyond', () => {
  const bytes = 2 ** 32 + 8192;
  const memory = unwritten(bytes);
  expect(memory.byteLength).toBe(bytes);
  const end = new Uint8Array(memory, bytes - 8192);
  copyBytes(
    end,
    Uint8Array.from({ length: 8192 }, (_, n) => n),
  );
  expect([end[1], end[8191]]).toEqual([1, 255]);
});

test('memory that no machine has is a RangeError', () => {
  expect(() => unwritten(2 ** 52)).toThrow(RangeError);
});
