// <fovea-map> under fingers, wheel and trackpad in headless Chromium, in frames of several shapes; and what the page around it
// does: another screen, the element taken out and put back, maps with nothing to show. Skipped where no Chromium is found.
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { findChromium } from '../../scripts/chromium.mjs';
import { openSite, type Site, TIMEOUT } from './map/site.js';

vi.setConfig({ testTimeout: TIMEOUT, hookTimeout: TIMEOUT });
/** A busy machine takes its time. */
const until = <T>(what: () => T | Promise<T>) => expect.poll(what, { timeout: 20_000 });
const SIZES = { heads: 1, length: 300, width: 16 };

interface Point {
  readonly x: number;
  readonly y: number;
}

describe.skipIf(!findChromium())('<fovea-map>, moved', () => {
  let [site, page] = [null! as Site, null! as Page];

  beforeAll(async () => {
    site = await openSite();
  });
  afterAll(() => site?.close());
  afterEach(async () => {
    expect(site.errors).toEqual([]);
    await page.close();
  });

  const show = (sizes = SIZES, settings = {}) =>
    page.evaluate(([a, b]) => globalThis.page.show(a, b), [sizes, settings] as const);
  const cellAt = ({ x, y }: Point) =>
    page.evaluate(([a, b]) => globalThis.page.cellAt(a, b), [x, y] as const);
  const look = (from: number, to: number) =>
    page.evaluate((view) => globalThis.page.look(view), { queries: [from, to], keys: [from, to] } as const);
  const boxOf = async () => (await page.locator('fovea-map .frame').boundingBox())!;
  /** Two cells are the same within a twentieth of a pixel. */
  async function expectSame(a: Point, b: Point): Promise<void> {
    const { width } = await boxOf();
    const one = await cellAt({ x: 0, y: 0 });
    const other = await cellAt({ x: width, y: 0 });
    const pixel = (other.x - one.x) / width;
    expect(Math.hypot(a.x - b.x, a.y - b.y) / pixel).toBeLessThan(0.05);
  }
  /** Fingers that go along lines, in ten steps; the last are still down where `stay`. */
  async function touch(lines: readonly (readonly [Point, Point])[]): Promise<void> {
    const session = await page.context().newCDPSession(page);
    const at = (share: number) =>
      lines.map(([from, to], id) => ({
        id,
        x: Math.round(from.x + share * (to.x - from.x)),
        y: Math.round(from.y + share * (to.y - from.y)),
      }));
    await session.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: at(0) });
    for (let step = 1; step <= 10; step++) {
      await session.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: at(step / 10) });
    }
    await session.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
  }

  test('a finger drags the map along, and points at the cell it was put on (0.05 pixels)', async () => {
    page = await site.open({ hasTouch: true });
    await show();
    await look(100, 140);
    const { x, y } = await boxOf();
    const [from, to] = [
      { x: x + 300, y: y + 200 },
      { x: x + 240, y: y + 250 },
    ];
    const cell = await cellAt(from);
    const told = page.evaluate(() => globalThis.page.cell());
    await touch([[from, to]]);
    await expectSame(await cellAt(to), cell);
    const { query, key } = await told;
    expect([query, key]).toEqual([Math.floor(cell.y), Math.floor(cell.x)]);
    await until(() => page.locator('fovea-map [aria-live]').textContent()).toMatch(
      `Query ${query}, key ${key}`,
    );
  });

  test('one finger scrolls the page over a map that shows all, and moves one that is zoomed into', async () => {
    page = await site.open({ hasTouch: true });
    await page.evaluate(() => {
      document.body.style.height = '3000px';
    });
    await show();
    const { x, y } = await boxOf();
    const at = (up: number) => ({ x: x + 300, y: y + 350 - up });
    const scrolled = () => page.evaluate(() => scrollY);
    const readout = page.locator('fovea-map .readout');
    const whole = await page.evaluate(() => globalThis.page.view());
    await touch([[at(0), at(200)]]);
    await until(scrolled).toBeGreaterThan(100);
    expect(await page.evaluate(() => globalThis.page.view())).toEqual(whole);
    expect(await readout.textContent()).toMatch('Point at a cell');
    // The page may still be on its way.
    await until(() =>
      page.evaluate(async () => {
        scrollTo(0, 0);
        const places = [];
        for (let n = 0; n < 20; n++) {
          await new Promise(requestAnimationFrame);
          places.push(scrollY);
        }
        return Math.max(...places);
      }),
    ).toBe(0);
    const cell = await cellAt(at(0));
    await page.touchscreen.tap(at(0).x, at(0).y);
    await until(() => readout.textContent()).toMatch(
      new RegExp(`query\\s+${Math.floor(cell.y)}\\b.*key\\s+${Math.floor(cell.x)}\\b`, 's'),
    );
    await look(100, 140);
    const below = await cellAt(at(0));
    await touch([[at(0), at(200)]]);
    await expectSame(await cellAt(at(200)), below);
    expect(await scrolled()).toBe(0);
  });

  test('two fingers zoom a map that shows all, and leave the page where it is', async () => {
    page = await site.open({ hasTouch: true });
    await page.evaluate(() => {
      document.body.style.height = '3000px';
    });
    await show();
    const { x, y } = await boxOf();
    const middle = { x: x + 350, y: y + 200 };
    const apart = (by: number) => ({ x: middle.x, y: middle.y + by });
    const cell = await cellAt(middle);
    await touch([
      [apart(-40), apart(-120)],
      [apart(40), apart(120)],
    ]);
    await expectSame(await cellAt(middle), cell);
    const { queries } = await page.evaluate(() => globalThis.page.view());
    expect(queries[1] - queries[0]).toBeLessThan(200);
    expect(await page.evaluate(() => [scrollY, visualViewport!.scale])).toEqual([0, 1]);
  });

  test('two fingers zoom about the middle between them, and take it along (0.05 pixels)', async () => {
    page = await site.open({ hasTouch: true });
    await show();
    await look(100, 180);
    const { x, y } = await boxOf();
    const [middle, end] = [
      { x: x + 350, y: y + 200 },
      { x: x + 390, y: y + 180 },
    ];
    const before = await page.evaluate(() => globalThis.page.view());
    const cell = await cellAt(middle);
    const apart = (at: Point, by: number, way: 1 | -1) => ({ x: at.x + way * by, y: at.y });
    await touch([
      [apart(middle, 40, -1), apart(end, 80, -1)],
      [apart(middle, 40, 1), apart(end, 80, 1)],
    ]);
    await expectSame(await cellAt(end), cell);
    const after = await page.evaluate(() => globalThis.page.view());
    const size = ({ queries: [from, to] }: typeof after) => to - from;
    expect(size(before) / size(after)).toBeCloseTo(2, 1);
  });

  for (const [name, viewport] of Object.entries({
    wide: { width: 1200, height: 700 },
    tall: { width: 520, height: 700 },
  })) {
    test(`the wheel keeps the cell under the pointer in a ${name} frame, from the whole and back`, async () => {
      page = await site.open({ viewport });
      await show({ ...SIZES, length: 1500 });
      const whole = await page.evaluate(() => globalThis.page.view());
      const [first, last] = await page.evaluate(() => {
        const { left, top, width, height } = document
          .querySelector('fovea-map')!
          .renderRoot.querySelector('.frame')!
          .getBoundingClientRect();
        const side = Math.min(width, height);
        const [x, y] = [left + (width - side) / 2, top + (height - side) / 2];
        // Wheels tell whole pixels.
        const at = (a: number, b: number) => ({ x: Math.round(x + a * side), y: Math.round(y + b * side) });
        // The second is where the minimap comes.
        return [at(0.12, 0.2), at(0.9, 0.85)];
      });
      for (const at of [first, last]) {
        const cell = await cellAt(at);
        await page.mouse.move(at.x, at.y);
        for (const delta of [-300, -300, -500, -500, 400, 500, 300]) {
          await page.mouse.wheel(0, delta);
          await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
          await expectSame(await cellAt(at), cell);
        }
        await page.mouse.wheel(0, 5000);
        await until(() => page.evaluate(() => globalThis.page.view())).toEqual(whole);
      }
    });
  }

  test('a pinch of the trackpad, a wheel with Control, zooms the map and not the page', async () => {
    page = await site.open();
    await show();
    await look(100, 200);
    const { x, y } = await boxOf();
    const at = { x: x + 320, y: y + 170 };
    const cell = await cellAt(at);
    await page.mouse.move(at.x, at.y);
    const moved = page.evaluate(() => globalThis.page.moved());
    await page.keyboard.down('Control');
    await page.mouse.wheel(0, -40);
    await page.keyboard.up('Control');
    const { queries } = await moved;
    expect(queries[1] - queries[0]).toBeLessThan(70);
    await expectSame(await cellAt(at), cell);
    expect(await page.evaluate(() => visualViewport!.scale)).toBe(1);
  });

  test('on a screen with more pixels the canvas has more', async () => {
    page = await site.open();
    await show();
    const pixels = () =>
      page.locator('fovea-map canvas.tiles').evaluate((canvas) => {
        const { width, clientWidth } = canvas as HTMLCanvasElement;
        return width / clientWidth;
      });
    expect(await pixels()).toBe(1);
    // Emulated screens do not tell of their change; this does it for them.
    await page.evaluate(() => {
      const [real, asked] = [matchMedia.bind(globalThis), [] as MediaQueryList[]];
      globalThis.matchMedia = (query) => {
        asked.push(real(query));
        return asked.at(-1)!;
      };
      const element = document.querySelector('fovea-map')!;
      element.remove();
      document.body.append(element);
      addEventListener('another-screen', () =>
        asked.findLast(({ media }) => /dppx/.test(media))!.dispatchEvent(new Event('change')),
      );
    });
    const session = await page.context().newCDPSession(page);
    for (const deviceScaleFactor of [2, 1, 3]) {
      const metrics = { width: 1000, height: 700, deviceScaleFactor, mobile: false };
      await session.send('Emulation.setDeviceMetricsOverride', metrics);
      await page.evaluate(() => dispatchEvent(new Event('another-screen')));
      await until(pixels).toBe(deviceScaleFactor);
    }
  });

  test('taken out of the page it computes no more; put back it shows and reads as before', async () => {
    page = await site.open();
    await show({ ...SIZES, length: 3000, width: 64 });
    const { x, y } = await boxOf();
    const first = page.evaluate(() => globalThis.page.cell());
    await page.mouse.move(x + 300, y + 200);
    const { query, key } = await first;
    const stopped = await page.evaluate(async () => {
      const element = document.querySelector('fovea-map')!;
      element.view = { queries: [2000, 2900], keys: [100, 1000] };
      await new Promise((resolve) => setTimeout(resolve, 60));
      element.remove();
      await new Promise((resolve) => setTimeout(resolve, 300));
      const before = globalThis.page.stopped().length;
      element.view = { queries: [0, 900], keys: [100, 1000] };
      await new Promise((resolve) => setTimeout(resolve, 300));
      const asked = globalThis.page.stopped().length - before;
      const drawn = new Promise((resolve) => element.addEventListener('fovea-picture', resolve));
      document.body.append(element);
      await drawn;
      element.view = undefined;
      return asked;
    });
    expect(stopped).toBe(0);
    await page.mouse.move(x + 301, y + 201);
    const again = page.evaluate(() => globalThis.page.cell());
    await page.mouse.move(x + 300, y + 200);
    expect(await again).toMatchObject({ query, key });
  });

  test('long texts open in logarithmic colours, others in linear; what the reader or the page chooses stays', async () => {
    page = await site.open();
    const chosen = () => page.locator('fovea-map input[name=scale]:checked').inputValue();
    await show();
    expect(await chosen()).toBe('linear');
    await page.evaluate(() => globalThis.page.open({ heads: 1, length: 4097, width: 4 }));
    await until(chosen).toBe('log');
    const settings = page.evaluate(() => globalThis.page.settings());
    await page.locator('fovea-map input[value=linear]').check();
    expect((await settings).scale).toBe('linear');
    await page.evaluate(() => globalThis.page.open({ heads: 1, length: 5000, width: 4 }));
    expect(await chosen()).toBe('linear');
  });

  test('maps of no heads, no tokens and one key, and one of NaN, are shown or said to be empty', async () => {
    page = await site.open();
    const message = () => page.locator('fovea-map .message').textContent();
    for (const sizes of [
      { heads: 0, length: 4, width: 4 },
      { heads: 1, length: 0, width: 4 },
    ]) {
      await page.evaluate((a) => globalThis.page.open(a), sizes);
      await until(message).toContain('This map has no cells.');
      await page.mouse.move(400, 300);
      await page.mouse.wheel(0, -300);
    }
    await show({ heads: 1, length: 1, width: 4 });
    expect(await page.locator('fovea-map .message').count()).toBe(0);
    await page.evaluate(() => globalThis.page.open({ heads: 1, length: 20, width: 4 }, {}, Number.NaN));
    const { x, y, width, height } = await boxOf();
    const cell = page.evaluate(() => globalThis.page.cell());
    await page.mouse.move(x + width / 2, y + height / 2);
    expect((await cell).weight).toBeNaN();
    await until(() => page.locator('fovea-map .readout').textContent()).toMatch(/weight\s+NaN/);
    expect(await page.locator('fovea-map [role=alert]').count()).toBe(0);
  });

  test('a range that cannot be shown is as none', async () => {
    page = await site.open();
    await show(SIZES, { range: [0.5, 0.5] });
    expect(await page.locator('fovea-map .fit').isDisabled()).toBe(true);
    await page.evaluate(() => globalThis.page.set({ range: [0, 0.5] }));
    await until(() => page.locator('fovea-map .fit').isDisabled()).toBe(false);
  });
});
