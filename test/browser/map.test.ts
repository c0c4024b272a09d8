// <fovea-map> in headless Chromium: numbers under the crosshair and in tiles against the float64 reference; the keyboard
// alone; views set and restored; what is kept, what is stopped, what is told when it fails. Skipped where no Chromium is found.
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { weightsReference } from '../../dist/attention/reference.js';
import { validateAttention } from '../../dist/attention/validate.js';
import { findChromium } from '../../scripts/chromium.mjs';
import { makeInputs } from './app/inputs.js';
import type { View } from './map/page.js';
import { openSite, type Site, TIMEOUT } from './map/site.js';

const SMALL = { heads: 1, length: 30, width: 16 };
const LARGE = { heads: 2, length: 2048, width: 16 };

function weights({ heads, length, width }: typeof SMALL, rows: [number, number]): Float64Array {
  const { q, k, v } = makeInputs({ heads, length, width });
  return weightsReference(validateAttention(q, k, v, {}), 0, heads - 1, rows, [0, length]) as Float64Array;
}

describe.skipIf(!findChromium())('<fovea-map>', () => {
  let [site, page] = [null! as Site, null! as Page];

  beforeAll(async () => {
    site = await openSite();
  }, TIMEOUT);
  afterAll(() => site?.close());
  beforeEach(async () => {
    await page?.close();
    site.errors.length = 0;
    page = await site.open();
  }, TIMEOUT);

  const show = (sizes: typeof SMALL, settings = {}) =>
    page.evaluate(([a, b]) => globalThis.page.show(a, b), [
      sizes,
      { head: sizes.heads - 1, ...settings },
    ] as const);
  /** The middle of a cell on the screen, as the view says. */
  async function pointOf(query: number, key: number) {
    const box = (await page.locator('fovea-map .frame').boundingBox())!;
    const { queries, keys } = await page.evaluate(() => globalThis.page.view());
    const along = (i: number, [from, to]: readonly [number, number]) => (i + 0.5 - from) / (to - from);
    return { x: box.x + box.width * along(key, keys), y: box.y + box.height * along(query, queries) };
  }
  const readout = async () => (await page.locator('fovea-map .readout').textContent())!;

  test('zooming to a known weight and pointing at it reads it (1e-6)', { timeout: TIMEOUT }, async () => {
    await show(LARGE);
    const view = await page.evaluate((wanted) => globalThis.page.look(wanted), {
      queries: [1200, 1212],
      keys: [700, 716],
    } as const);
    expect(view.queries[0]).toBeLessThanOrEqual(1200);
    expect(view.keys[1]).toBeGreaterThanOrEqual(716);
    const { x, y } = await pointOf(1207, 709);
    const cell = page.evaluate(() => globalThis.page.cell());
    await page.mouse.move(x, y);
    const { query, key, weight, score } = await cell;
    expect([query, key]).toEqual([1207, 709]);
    expect(Math.abs(weight - weights(LARGE, [1207, 1208])[709])).toBeLessThan(1e-6);
    const { q, k } = makeInputs(LARGE);
    const at = (x: typeof q, i: number) =>
      x.data.subarray((LARGE.length + i) * 16, (LARGE.length + i + 1) * 16);
    const product = at(q, 1207).reduce((sum, value, d) => sum + value * at(k, 709)[d], 0);
    expect(Math.abs(score - product / 4)).toBeLessThan(1e-5);
    expect(await readout()).toMatch(/1,207[\s\S]*709/);
    expect(site.errors).toEqual([]);
  });

  test('a pixel shows the mean, maximum and sum of its cells (1e-6)', { timeout: TIMEOUT }, async () => {
    await show(LARGE, { reduce: 'mean' });
    const box = (await page.locator('fovea-map .frame').boundingBox())!;
    const [query, key] = [1001, 514];
    // All of the matrix is in the middle of the frame, its cells square.
    const scale = box.height / LARGE.length;
    const left = box.x + (box.width - LARGE.length * scale) / 2;
    await page.mouse.move(left + (key + 0.5) * scale, box.y + (query + 0.5) * scale);
    await page.waitForFunction(() =>
      /here/.test(document.querySelector('fovea-map')!.shadowRoot!.textContent!),
    );
    const pixels = 2 ** Math.max(0, Math.ceil(-Math.log2(scale) - 0.15));
    expect(pixels).toBeGreaterThan(1);
    const origin = (i: number) => Math.floor(i / pixels) * pixels;
    const pointed = await readout();
    const [q, k] = [/query ([\d,]+)/, /key ([\d,]+)/].map((wanted) =>
      Number(wanted.exec(pointed)![1].replace(/,/g, '')),
    );
    const rows = weights(LARGE, [origin(q), origin(q) + pixels]);
    const cells = Array.from({ length: pixels ** 2 }, (_, n) => {
      return rows[Math.floor(n / pixels) * LARGE.length + origin(k) + (n % pixels)];
    });
    const sum = cells.reduce((a, b) => a + b);
    const expected = { mean: sum / cells.length, max: Math.max(...cells), sum };
    for (const [reduce, value] of Object.entries(expected)) {
      const drawn = page.evaluate(() => globalThis.page.exact());
      if (reduce !== 'mean') {
        await page.evaluate((name) => globalThis.page.set({ reduce: name }), reduce);
        await drawn;
      }
      await page.waitForFunction((name) => {
        const text = document.querySelector('fovea-map')!.shadowRoot!.querySelector('.readout')!.textContent!;
        return text.includes(`${name} here`) && !text.includes('≈');
      }, reduce);
      const shown = /here\s+([\d.e−]+)/.exec(await readout())![1].replace('−', '-');
      expect(Math.abs(Number(shown) - value)).toBeLessThan(0.006 * value + 1e-6);
    }
  });

  test('the keyboard alone moves, zooms, reads a cell and says it', { timeout: TIMEOUT }, async () => {
    await show(SMALL, { queryLabels: Array.from({ length: 30 }, (_, i) => `q${i}`) });
    await page.locator('fovea-map .plot').focus();
    const cell = page.evaluate(() => globalThis.page.cell());
    await page.keyboard.press('Shift+ArrowRight');
    expect((await cell).query).toBe(15);
    const next = page.evaluate(() => globalThis.page.cell());
    await page.keyboard.press('Shift+ArrowDown');
    const { query, key, weight } = await next;
    expect([query, key]).toEqual([16, 15]);
    expect(Math.abs(weight - weights(SMALL, [16, 17])[15])).toBeLessThan(1e-6);
    await expect
      .poll(() => page.locator('fovea-map [aria-live]').textContent())
      .toMatch(/^Query 16 q16, key 15: weight [\d.e−]+$/);
    const whole = await page.evaluate(() => globalThis.page.view());
    for (const name of ['Enter', '+', '+']) await page.keyboard.press(name);
    const near = await page.evaluate(() => globalThis.page.view());
    expect(near.keys[1] - near.keys[0]).toBeLessThan(whole.keys[1] - whole.keys[0]);
    await page.keyboard.press('ArrowRight');
    const right = await page.evaluate(() => globalThis.page.view());
    expect(right.keys[0]).toBeGreaterThan(near.keys[0]);
    await page.keyboard.press('0');
    expect(await page.evaluate(() => globalThis.page.view())).toEqual(whole);
    const settings = page.evaluate(() => globalThis.page.settings());
    await page.locator('fovea-map [role=slider]').last().focus();
    await page.keyboard.press('PageDown');
    expect((await settings).range![1]).toBeGreaterThan(0);
    await page.locator('fovea-map .fit').press('Enter');
    await expect.poll(() => page.locator('fovea-map .fit').isDisabled()).toBe(true);
  });

  test('a view is told when the reader moves it, and comes back when set', { timeout: TIMEOUT }, async () => {
    await show(LARGE);
    const moved = page.evaluate(() => globalThis.page.moved());
    const { x, y } = await pointOf(1024, 1024);
    await page.mouse.move(x, y);
    await page.mouse.wheel(0, -600);
    const view = await moved;
    expect(view.keys[1] - view.keys[0]).toBeLessThan(2048);
    await page.evaluate(() => globalThis.page.set({ view: undefined }));
    await expect.poll(() => page.evaluate(() => globalThis.page.view().queries)).toEqual([0, 2048]);
    const back = await page.evaluate((wanted) => globalThis.page.look(wanted), view);
    for (const side of ['queries', 'keys'] as const) {
      for (const end of [0, 1]) expect(back[side][end]).toBeCloseTo(view[side][end], 3);
    }
  });

  test('tiles out of view are stopped, and what is kept stays within its budget', {
    timeout: TIMEOUT,
  }, async () => {
    const sizes = { heads: 1, length: 12_000, width: 64 };
    await show({ ...sizes, length: 600 });
    await page.evaluate(
      (a) => globalThis.page.show(a, { head: 0, view: { queries: [0, 800], keys: [0, 800] } }),
      sizes,
    );
    const views = Array.from({ length: 14 }, (_, n): View => {
      const from = 800 * (n + 1);
      return { queries: [from, from + 700], keys: [11_000 - from, 11_700 - from] };
    });
    for (const view of views) await page.evaluate((wanted) => globalThis.page.look(wanted), view);
    const [bytes, budget] = await page.evaluate(() => globalThis.page.bytes());
    expect(bytes).toBeLessThanOrEqual(budget);
    expect(bytes).toBeGreaterThan(budget / 2);
    const before = (await page.evaluate(() => globalThis.page.stopped())).length;
    const far = Array.from({ length: 20 }, (_, n): View => {
      const [i, j] = [(n * 3457) % 9000, (n * 5101) % 9000];
      return { queries: [i, i + 2800], keys: [j, j + 2800] };
    });
    await page.evaluate((wanted) => globalThis.page.hurry(wanted), far);
    const stopped = (await page.evaluate(() => globalThis.page.stopped())).slice(before);
    expect(stopped).toContain(true);
    expect(site.errors).toEqual([]);
  });

  test('a map that cannot be read is told of, and the next one is shown', { timeout: TIMEOUT }, async () => {
    await show(LARGE);
    await page.evaluate(() => globalThis.page.end());
    await page.evaluate(() => globalThis.page.set({ reduce: 'sum' }));
    await expect.poll(() => page.locator('fovea-map [role=alert]').textContent()).toMatch(/disposed/);
    await page.evaluate(() => globalThis.page.set({ map: undefined }));
    await expect.poll(() => page.locator('fovea-map .message').textContent()).toContain('No map to show.');
    await show(SMALL);
    expect(await page.locator('fovea-map .message').count()).toBe(0);
    await page.evaluate(() => globalThis.page.set({ locale: 'ko' }));
    await expect.poll(() => page.locator('fovea-map .choice').textContent()).toMatch(/선형/);
    expect(site.errors).toEqual([]);
  });

  test('the view is saved as SVG, its words escaped, and as PNG', { timeout: TIMEOUT }, async () => {
    await show(SMALL, { queryLabels: ['<b>&', ...Array.from({ length: 29 }, (_, i) => `w${i}`)] });
    const text = await page.evaluate(() => globalThis.page.svg());
    expect(text.includes('&#60;b&#62;&#38;')).toBe(true);
    expect(text.match(/<rect/g)!.length).toBeGreaterThanOrEqual(900);
    const problems = await page.evaluate(
      (source) =>
        new DOMParser().parseFromString(source, 'image/svg+xml').querySelectorAll('parsererror').length,
      text,
    );
    expect(problems).toBe(0);
    const [width, height] = await page.evaluate(() => globalThis.page.png());
    expect(width).toBeGreaterThan(1200);
    expect(height).toBeGreaterThan(700);
  });
});
