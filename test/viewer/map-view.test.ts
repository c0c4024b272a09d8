// The pure parts of <fovea-map>: where a frame looks, how the matrix is cut into tiles, what is kept of them.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { labelOf } from '../../dist/elements/labels.js';
import { shorten, ticks } from '../../dist/elements/map/axes.js';
import { Camera, isNear } from '../../dist/elements/map/camera.js';
import { percentText, weightText } from '../../dist/elements/map/numbers.js';
import { TileCache } from '../../dist/elements/map/tile-cache.js';
import {
  cut,
  isAligned,
  isExactLevel,
  levelOf,
  regionOf,
  tileAt,
  tilesIn,
} from '../../dist/elements/map/tiles.js';

const frame = { width: 900, height: 600 };
const lengths = fc.integer({ min: 1, max: 1_000_000 });
const size = (span: readonly [number, number]) => span[1] - span[0];

describe('a camera', () => {
  test('shows all of a matrix at first: small ones magnified to fill the frame, square ones with square cells', () => {
    const small = new Camera(12, 9, frame);
    expect(small.view).toEqual({ queries: [0, 12], keys: [0, 9] });
    expect(small.scale.x * 9).toBeCloseTo(900);
    expect(small.scale.y * 12).toBeCloseTo(600);
    const large = new Camera(1_000_000, 1_000_000, frame);
    expect(large.view).toEqual({ queries: [0, 1_000_000], keys: [0, 1_000_000] });
    expect(large.scale.x).toBe(large.scale.y);
    expect(large.scale.y * 1_000_000).toBeCloseTo(600);
    // A thousand times as wide as high: stretched, so that both can be seen.
    const long = new Camera(1000, 1_000_000, frame);
    // One query: its row is not stretched to fill the frame.
    const row = new Camera(1, 151, frame);
    expect([row.scale.x * 151, row.scale.y].map(Math.round)).toEqual([900, 120]);
    expect([long.scale.x * 1_000_000, long.scale.y * 1000].map(Math.round)).toEqual([900, 600]);
  });

  describe('zooming about a pointer on the matrix', () => {
    const frames = fc.record({
      width: fc.integer({ min: 40, max: 1600 }),
      height: fc.integer({ min: 40, max: 1600 }),
    });
    const share = fc.double({ min: 0.02, max: 0.98, noNaN: true });
    const steps = fc.array(fc.double({ min: 1.01, max: 3, noNaN: true }), { minLength: 1, maxLength: 12 });
    /** A point of the frame on the matrix. */
    const on = (camera: Camera, [a, b]: readonly [number, number]) => {
      const { queries, keys } = camera.view;
      return camera.pointOf(keys[0] + a * size(keys), queries[0] + b * size(queries));
    };
    const away = (camera: Camera, cell: { x: number; y: number }, at: { x: number; y: number }) => {
      const now = camera.pointOf(cell.x, cell.y);
      return Math.hypot(now.x - at.x, now.y - at.y);
    };

    test('keeps the cell under it, inwards from the whole view and back, in frames of any shape (0.001 pixels)', () => {
      fc.assert(
        fc.property(
          lengths,
          lengths,
          frames,
          fc.tuple(share, share),
          steps,
          (rows, columns, shape, place, list) => {
            const camera = new Camera(rows, columns, shape);
            const at = on(camera, place);
            const cell = camera.cellAt(at.x, at.y);
            for (const factor of list) {
              camera.zoomBy(factor, at);
              expect(away(camera, cell, at)).toBeLessThan(1e-3);
            }
            while (!camera.isWhole) {
              camera.zoomBy(0.6, at);
              expect(away(camera, cell, at)).toBeLessThan(1e-3);
            }
          },
        ),
      );
    });

    test('keeps it from anywhere: outwards until the room beside the matrix is as large as in the whole view', () => {
      const part = fc.tuple(share, share);
      fc.assert(
        fc.property(
          lengths,
          lengths,
          frames,
          part,
          part,
          steps,
          (rows, columns, shape, first, second, list) => {
            const camera = new Camera(rows, columns, shape);
            const room = camera.pointOf(0, 0);
            camera.zoomBy(1e3, on(camera, first));
            const at = on(camera, second);
            const cell = camera.cellAt(at.x, at.y);
            for (const factor of list) {
              camera.zoomBy(1 / factor, at);
              const [from, to] = [camera.pointOf(0, 0), camera.pointOf(columns, rows)];
              const left = room.x - Math.max(from.x, shape.width - to.x);
              const above = room.y - Math.max(from.y, shape.height - to.y);
              if (Math.min(left, above) < 1e-6) return;
              expect(away(camera, cell, at)).toBeLessThan(1e-3);
            }
          },
        ),
      );
    });

    test('fingers that move while they pinch take the cell between them along, also where zooming ends', () => {
      const camera = new Camera(5000, 5000, frame);
      camera.zoomBy(1e9, { x: 450, y: 300 });
      const cell = camera.cellAt(300, 200);
      camera.zoomBy(1.5, { x: 300, y: 200 }, { x: 340, y: 230 });
      expect(away(camera, cell, { x: 340, y: 230 })).toBeLessThan(1e-6);
    });
  });

  test('a place with room beside the matrix is found again', () => {
    const camera = new Camera(1000, 1000, { width: 1000, height: 400 });
    camera.zoomBy(8, { x: 320, y: 30 });
    camera.pan(1e6, 0);
    const { place, view } = camera;
    expect(view.keys[0]).toBe(0);
    // 300 pixels of room at 3.2 pixels a cell.
    expect(place.keys[0]).toBeCloseTo(-300 / 3.2, 6);
    const other = new Camera(1000, 1000, { width: 1000, height: 400 });
    other.look(place);
    expect(isNear(other.place, place)).toBe(true);
  });

  test('a part that is no part, or lies outside, is all of the axis', () => {
    const camera = new Camera(500, 500, frame);
    for (const keys of [
      [Number.NaN, 3],
      [7, 7],
      [900, 2000],
      [0, Number.POSITIVE_INFINITY],
    ] as const) {
      camera.look({ queries: [10, 20], keys });
      expect(camera.view.keys).toEqual([0, 500]);
    }
  });

  test('whatever part is asked for, the view lies in the matrix: one beside it on both axes is all of it', () => {
    const end = fc.double({ noNaN: true, noDefaultInfinity: true });
    const span = fc.tuple(end, end).filter(([a, b]) => a < b);
    const beside = ([from, to]: readonly [number, number], n: number) => to <= 0 || from >= n;
    fc.assert(
      fc.property(span, span, lengths, lengths, (queries, keys, rows, columns) => {
        const camera = new Camera(rows, columns, frame);
        camera.look({ queries, keys });
        for (const [own, n] of [
          [camera.view.queries, rows],
          [camera.view.keys, columns],
        ] as const)
          expect(own[0] < own[1] && own[0] >= 0 && own[1] <= n).toBe(true);
        if (beside(queries, rows) && beside(keys, columns)) expect(camera.isWhole).toBe(true);
      }),
    );
  });

  test('zooming ends at 64 pixels a cell and at the whole; panning ends at the edges', () => {
    const camera = new Camera(5000, 3000, frame);
    camera.zoomBy(1e9);
    expect([camera.isClosest, camera.scale]).toEqual([true, { x: 64, y: 64 }]);
    camera.pan(-1e9, -1e9);
    expect([camera.view.queries[1], camera.view.keys[1]]).toEqual([5000, 3000]);
    camera.zoomBy(1e-9);
    expect([camera.isWhole, camera.view]).toEqual([true, { queries: [0, 5000], keys: [0, 3000] }]);
  });

  test('looking at its own view again changes nothing, for any matrix and any place', () => {
    const place = fc.tuple(lengths, lengths, fc.double({ min: 0, max: 25, noNaN: true }), fc.nat(), fc.nat());
    fc.assert(
      fc.property(place, ([rows, columns, octaves, a, b]) => {
        const camera = new Camera(rows, columns, frame);
        camera.zoomBy(2 ** octaves, { x: a % frame.width, y: b % frame.height });
        const { place } = camera;
        const other = new Camera(rows, columns, frame);
        other.look(place);
        expect(isNear(other.place, place)).toBe(true);
        expect(other.scale.x / camera.scale.x).toBeCloseTo(1, 6);
      }),
    );
  });

  test('a frame that changes its height and back moves nothing, however often', () => {
    let camera = new Camera(200, 200, frame);
    camera.zoomBy(4);
    const before = camera.view;
    for (let n = 0; n < 20; n++) {
      camera = camera.reframed({ width: 900, height: 560 }).reframed(frame);
      expect(isNear(camera.view, before)).toBe(true);
    }
    expect(new Camera(200, 200, frame).reframed({ width: 300, height: 300 }).view.queries).toEqual([0, 200]);
  });

  test('all of what is asked for is in view, in a frame of any shape', () => {
    fc.assert(
      fc.property(lengths, lengths, fc.nat(), fc.nat(), (rows, columns, a, b) => {
        const camera = new Camera(rows, columns, { width: 300 + (a % 900), height: 200 + (b % 900) });
        const part = (n: number, seed: number) => [(seed % n) / 2, (seed % n) / 2 + n / 7] as const;
        const wanted = { queries: part(rows, a), keys: part(columns, b) };
        camera.look(wanted);
        const { queries, keys } = camera.view;
        for (const [got, all] of [
          [queries, wanted.queries],
          [keys, wanted.keys],
        ]) {
          const slack = 1e-6 * size(all) + 1e-9;
          // Cells are never larger than 64 pixels, so less than asked for cannot be missing.
          expect(got[0]).toBeLessThanOrEqual(all[0] + slack);
          expect(got[1]).toBeGreaterThanOrEqual(all[1] - slack);
        }
      }),
    );
  });
});

describe('tiles', () => {
  test('a cell of one pixel or more is level 0; each half of that is a level more', () => {
    expect([64, 1, 0.91, 0.5, 0.25, 0.001].map(levelOf)).toEqual([0, 0, 0, 1, 2, 10]);
    expect([3, 4].map((level) => isExactLevel({ queries: level, keys: level }))).toEqual([true, false]);
  });

  test('cover every cell in view, once, the middle first', () => {
    fc.assert(
      fc.property(
        lengths,
        lengths,
        fc.integer({ min: 0, max: 20 }),
        fc.nat(),
        (rows, columns, octaves, at) => {
          const camera = new Camera(rows, columns, frame);
          camera.zoomBy(2 ** octaves, { x: at % 900, y: at % 600 });
          const levels = { queries: levelOf(camera.scale.y), keys: levelOf(camera.scale.x) };
          const tiles = tilesIn({ rows, columns }, levels, camera.view);
          expect(new Set(tiles.map(({ key }) => key)).size).toBe(tiles.length);
          const region = regionOf(tiles);
          expect(tiles.reduce((sum, tile) => sum + size(tile.queries) * size(tile.keys), 0)).toBe(
            size(region.queries) * size(region.keys),
          );
          const { queries, keys } = camera.view;
          expect(region.queries[0] <= queries[0] && region.queries[1] >= Math.min(rows, queries[1])).toBe(
            true,
          );
          expect(region.keys[0] <= keys[0] && region.keys[1] >= Math.min(columns, keys[1])).toBe(true);
          expect(tiles.length).toBeLessThanOrEqual(6 * 5);
        },
      ),
    );
  });

  test('at the edge a tile has the cells that are left', () => {
    const tile = tileAt({ rows: 1000, columns: 700 }, { queries: 1, keys: 0 }, 1, 2);
    expect(tile).toMatchObject({ queries: [512, 1000], keys: [512, 700], rows: 244, columns: 188 });
    expect(isAligned(tile, tile.levels)).toBe(true);
    expect(isAligned({ ...tile, queries: [512, 999] }, tile.levels)).toBe(false);
  });

  test('are cut out of a picture of their region, of its size or coarser', () => {
    const levels = { queries: 0, keys: 0 };
    const places = [0, 1].map((j) => tileAt({ rows: 4, columns: 500 }, levels, 0, j));
    const region = regionOf(places);
    const data = Float32Array.from({ length: 2000 }, (_, n) => n);
    expect(cut({ data, shape: [4, 500] }, region, places[1])[243]).toBe(499);
    expect(cut({ data, shape: [4, 500] }, region, places[1])[244]).toBe(756);
    const coarse = cut({ data: Float32Array.of(1, 2), shape: [1, 2] }, region, places[0]);
    expect([coarse[249], coarse[250], coarse[256 + 249]]).toEqual([1, 2, 1]);
  });

  test('are kept within a budget of bytes, the least recently used dropped', () => {
    const cache = new TileCache<{ bytes: number }>(300);
    for (const name of ['a', 'b', 'c']) cache.set(name, { bytes: 100 });
    cache.get('a');
    cache.set('d', { bytes: 100 });
    expect(['a', 'b', 'c', 'd'].map((name) => cache.peek(name) !== undefined)).toEqual([
      true,
      false,
      true,
      true,
    ]);
    cache.set('a', { bytes: 250 });
    expect([cache.bytes, cache.size]).toEqual([250, 1]);
    cache.set('e', { bytes: 1000 });
    // What is shown must be there, even alone over the budget.
    expect([cache.size, cache.peek('e') !== undefined]).toEqual([1, true]);
    cache.clear();
    expect(cache.bytes).toBe(0);
  });
});

describe('labels', () => {
  test('ticks stand at round numbers, not closer than asked', () => {
    expect(ticks([0, 1_000_000], 90_000)).toEqual(Array.from({ length: 11 }, (_, i) => i * 100_000));
    expect(ticks([17.2, 21.9], 0.4)).toEqual([17, 18, 19, 20, 21]);
    expect(ticks([990, 1090], 31)).toEqual([1000, 1050]);
    expect(ticks([-0.4, 100], 40)).toEqual([0, 50, 100]);
  });

  test('tokens are shortened to what fits, by letters, and blanks can be seen', () => {
    const measure = (text: string) => Array.from(text).length;
    expect(shorten('어텐션 맵', 4, measure)).toBe('어텐션…');
    expect(shorten('맵', 4, measure)).toBe('맵');
    expect([labelOf([' '], 0), labelOf(['a\nb'], 0), labelOf((i) => `t${i}`, 3), labelOf(['a'], 1)]).toEqual([
      '␣',
      'a⏎b',
      't3',
      undefined,
    ]);
  });

  test('numbers are short, and never claim to be exact', () => {
    expect(
      [0.21345, 0.0041234, 3.14159e-7, 0, 1, Number.NaN, Number.NEGATIVE_INFINITY].map((x) => weightText(x)),
    ).toEqual(['0.213', '0.00412', '3.14e−7', '0', '1', 'NaN', '−∞']);
    expect([0.0042, 0.125, 0.9999, 1].map(percentText)).toEqual(['0.42 %', '12 %', '99 %', '100 %']);
  });
});
