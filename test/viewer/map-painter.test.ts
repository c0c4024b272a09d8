// What is coloured first where a frame has no time for all: canvases and clock are stand-ins.
import { afterEach, expect, test, vi } from 'vitest';
import { Spread } from '../../dist/elements/map/colours.js';
import { Painter } from '../../dist/elements/map/painter.js';
import { tileAt } from '../../dist/elements/map/tiles.js';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

test('tiles that were never coloured come before those with old colours; each frame goes on', () => {
  const made: object[] = [];
  vi.stubGlobal(
    'OffscreenCanvas',
    class {
      constructor(
        readonly width: number,
        readonly height: number,
      ) {
        made.push(this);
      }
      getContext() {
        const createImageData = (w: number, h: number) => ({ data: new Uint8ClampedArray(4 * w * h) });
        return { createImageData, putImageData() {} };
      }
    },
  );
  let clock = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (clock += 4));
  const drawn: object[] = [];
  const context = {
    drawImage: (canvas: object) => drawn.push(canvas),
  } as unknown as CanvasRenderingContext2D;
  const tiles = [0, 1, 2, 3].map((j) => {
    const data = new Float32Array(4 * 256);
    const place = tileAt({ rows: 4, columns: 1024 }, { queries: 0, keys: 0 }, 0, j);
    return { ...place, subject: 'a', data, spread: Spread.of(data), fraction: 1, spent: 0, bytes: 0 };
  });
  const table = new Uint32Array(1024);
  const camera = { pointOf: (x: number, y: number) => ({ x, y: 10 * y }) };
  const painter = new Painter();
  const old = { table, scale: 'linear', range: [0, 1] } as const;
  const now = { table, scale: 'linear', range: [0, 2] } as const;
  const paint = (some: typeof tiles, colours: typeof old | typeof now) => {
    drawn.length = 0;
    return painter.paint(context, some, camera, colours, 1);
  };
  // One tile a frame.
  expect(paint(tiles.slice(0, 3), old)).toBe(false);
  while (!paint(tiles.slice(0, 3), old));
  expect(drawn).toEqual(made);
  expect(paint(tiles, now)).toBe(false);
  expect(drawn).toEqual(made);
  expect(made.length).toBe(4);
  let frames = 0;
  while (!paint(tiles, now)) frames++;
  expect(frames).toBeLessThanOrEqual(3);
});
