// <fovea-words> and <fovea-heads> in headless Chromium: how they lay themselves out, keys, what is told to screen readers, and
// what is broken given to them. Skipped where no Chromium is found.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { findChromium } from '../../scripts/chromium.mjs';
import { openSite, type Site, TIMEOUT } from './map/site.js';

vi.setConfig({ testTimeout: TIMEOUT, hookTimeout: TIMEOUT });
/** A busy machine takes its time. */
const until = <T>(what: () => T | Promise<T>) => expect.poll(what, { timeout: 20_000 });

describe.skipIf(!findChromium())('elements that compute nothing', () => {
  let [site, page] = [null! as Site, null! as Page];

  beforeAll(async () => {
    site = await openSite();
    page = await site.open();
  });
  afterAll(() => site?.close());
  beforeEach(() => page.setViewportSize({ width: 1200, height: 800 }));
  afterEach(() => expect(site.errors).toEqual([]));

  /** An element with these properties, alone in the page. */
  const put = (name: 'fovea-words' | 'fovea-heads', properties: Record<string, unknown>) =>
    page.evaluate(
      async ([tag, own]) => {
        const made = Object.assign(document.createElement(tag), own);
        document.body.replaceChildren(made);
        await made.updateComplete;
        await new Promise((resolve) => setTimeout(resolve, 50));
      },
      [name, properties] as const,
    );
  const focused = () =>
    page.evaluate(() => {
      const inner = document.body.firstElementChild!.shadowRoot!.activeElement;
      return inner?.getAttribute('aria-label') ?? inner?.textContent?.trim();
    });
  const press = async (...keys: string[]) => {
    for (const key of keys) await page.keyboard.press(key);
  };

  test('the example of docs/page.md draws its words', async () => {
    const doc = readFileSync(join(import.meta.dirname, '../../docs/page.md'), 'utf8');
    const code = doc.match(/```ts\nimport 'fovea\/elements';\n([\s\S]*?)```/)![1];
    await page.evaluate(`document.body.replaceChildren(); (() => { ${code} })()`);
    const text = () => page.locator('fovea-words .frame').textContent();
    for (const word of ['the', 'red', 'house', 'la', 'maison', 'rouge']) await until(text).toContain(word);
  });

  describe('<fovea-words>', () => {
    const list = (name: string, n: number) => Array.from({ length: n }, (_, i) => `${name}${i}`);
    /** Query i looks at key i alone, as far as there are any. */
    const words = (n: number, m: number, more = {}) =>
      put('fovea-words', {
        ...{ queries: list('query', n), keys: list('key', m), locale: 'en' },
        weights: Array.from({ length: n * m }, (_, i) => Number(Math.floor(i / m) === i % m)),
        ...more,
      });
    const ORDER = ['large', 'middle', 'small', 'columns'];
    const layout = () => page.locator('fovea-words .frame').getAttribute('data-layout');
    /** How many ends of arcs lie in the room between the two lists, and how many elsewhere. */
    const ends = () =>
      page.evaluate(() => {
        const root = document.querySelector('fovea-words')!.renderRoot;
        const frame = root.querySelector('.frame')!.getBoundingClientRect();
        const between = root.querySelector('.between')!.getBoundingClientRect();
        const counts = [0, 0];
        for (const path of root.querySelectorAll<SVGPathElement>('path')) {
          for (const share of [0.02, 0.25, 0.5, 0.75, 0.98]) {
            const { x, y } = path.getPointAtLength(share * path.getTotalLength());
            const [left, top] = [x + frame.left, y + frame.top];
            const inside =
              left >= between.left - 1 &&
              left <= between.right + 1 &&
              top >= between.top - 1 &&
              top <= between.bottom + 1;
            counts[inside ? 0 : 1]++;
          }
        }
        return counts;
      });

    test('few words stand in lines, in letters that fit; more in columns; no arc leaves the room between them', async () => {
      for (const width of [1200, 390]) {
        await page.setViewportSize({ width, height: 800 });
        const seen: (string | null)[] = [];
        for (const n of width === 390
          ? [1, 2, 3, 4, 5, 6, 7, 15]
          : [5, 10, 13, 14, 15, 16, 17, 18, 20, 40, 100]) {
          await words(n, n);
          seen.push(await layout());
          expect(await ends()).toEqual([5 * n, 0]);
          expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
        }
        // How many fit depends on the machine's letters.
        expect([...new Set(seen)]).toEqual(ORDER);
        expect(seen.toSorted((a, b) => ORDER.indexOf(a!) - ORDER.indexOf(b!))).toEqual(seen);
      }
    });

    test('a frame that becomes narrow and wide again, and shading, change the layout and the arcs with it', async () => {
      await words(12, 12);
      expect(await layout()).toBe('large');
      await page.setViewportSize({ width: 420, height: 800 });
      await until(layout).toBe('columns');
      await until(ends).toEqual([60, 0]);
      await page.setViewportSize({ width: 1200, height: 800 });
      await until(layout).toBe('large');
      await until(ends).toEqual([60, 0]);
      await page.evaluate(() => Object.assign(document.querySelector('fovea-words')!, { look: 'shading' }));
      await until(layout).toBe('text');
      expect(await ends()).toEqual([0, 0]);
    });

    test('arrows go along a list and to the other one, as the lists stand', async () => {
      await words(6, 6);
      await page.keyboard.press('Tab');
      expect(await focused()).toBe('key0');
      await press('ArrowRight', 'ArrowRight', 'ArrowLeft', 'ArrowDown', 'End');
      expect(await focused()).toBe('query5');
      await press('ArrowUp');
      expect(await focused()).toBe('key1');
      await words(60, 60);
      await page.keyboard.press('Tab');
      await press('ArrowDown', 'ArrowDown', 'ArrowUp', 'ArrowRight', 'ArrowDown', 'ArrowDown');
      expect(await focused()).toBe('query2');
      await press('ArrowLeft');
      expect(await focused()).toBe('key1');
    });

    test('a word reached by keys is never under the readout; a hint lies over no word', async () => {
      await page.setViewportSize({ width: 390, height: 500 });
      await words(60, 60);
      const readout = page.locator('fovea-words .readout');
      const place = () => readout.evaluate((own) => getComputedStyle(own).position);
      expect(await place()).toBe('static');
      await page.locator('fovea-words [data-side=query]').first().focus();
      expect(await place()).toBe('sticky');
      const room = () =>
        page.evaluate(() => {
          const root = document.querySelector('fovea-words')!.renderRoot as ShadowRoot;
          const { top, bottom } = root.activeElement!.getBoundingClientRect();
          return Math.min(top, root.querySelector('.readout')!.getBoundingClientRect().top - bottom);
        });
      for (let n = 1; n <= 40; n++) {
        await page.keyboard.press('ArrowDown');
        expect(await room()).toBeGreaterThan(0);
      }
      expect(await focused()).toBe('query40');
    });

    test('partners are spoken where a word is reached by keys, and only shown under the pointer', async () => {
      await words(4, 4);
      const status = page.locator('fovea-words [role=status]');
      await page.locator('fovea-words button', { hasText: 'query2' }).hover();
      await until(() => status.textContent()).toMatch(/query2\s+attends to\s+key2/);
      expect(await status.getAttribute('aria-live')).toBe('off');
      await page.mouse.move(600, 700);
      await page.locator('fovea-words button', { hasText: 'key1' }).focus();
      await until(() => status.textContent()).toMatch(/key1\s+is attended to by\s+query1/);
      expect(await status.getAttribute('aria-live')).toBe('polite');
    });

    test('missing weights, NaN, blank words and a language that is not there do not break it', async () => {
      await words(2, 3, { weights: [0.5, Number.NaN, 0.25], keys: [' ', 'a\n', 'b'], locale: 'fr' });
      await page.locator('fovea-words button', { hasText: 'query0' }).hover();
      const status = page.locator('fovea-words [role=status]');
      await until(() => status.textContent()).toMatch(/query0\s+attends to\s+␣ 50 %\s+b 25 %\s+outside/);
      expect(await page.locator('fovea-words path').count()).toBe(2);
      expect(await page.locator('fovea-words button').first().getAttribute('style')).toContain('100.0%');
      await page.locator('fovea-words button', { hasText: 'query1' }).hover();
      await until(() => status.textContent()).not.toContain('NaN');
    });
  });

  describe('<fovea-heads>', () => {
    const summary = (entropy: number) => ({
      entropy,
      distance: 1,
      sinkShare: entropy / 10,
      previous: 0,
      same: 0,
      next: 0,
    });
    const picture = { data: [1, 0, 0, 1], rows: 2, columns: 2 };
    const layers = (count: number, heads: number) =>
      Array.from({ length: count }, (_, layer) => ({
        name: `layer${layer}`,
        heads: Array.from({ length: heads }, (_, head) => ({ picture, summary: summary(head) })),
      }));
    const labels = () =>
      page
        .locator('fovea-heads button')
        .evaluateAll((all) => all.map((button) => /Head \d+/.exec(button.getAttribute('aria-label')!)![0]));

    test('arrows go where one looks, also where the heads of a layer wrap', async () => {
      await page.setViewportSize({ width: 480, height: 800 });
      await put('fovea-heads', { layers: layers(2, 5), locale: 'en', shown: [] });
      await page.keyboard.press('Tab');
      expect(await focused()).toBe('layer0, Head 0');
      // Three in a row: 0 1 2 / 3 4, and again.
      await press('ArrowRight', 'ArrowDown');
      expect(await focused()).toBe('layer0, Head 4');
      await press('ArrowDown');
      expect(await focused()).toBe('layer1, Head 1');
      await press('ArrowRight', 'ArrowDown');
      expect(await focused()).toBe('layer1, Head 4');
      await press('ArrowUp', 'ArrowUp', 'ArrowRight');
      expect(await focused()).toBe('layer1, Head 0');
      await press('End', 'ArrowRight', 'ArrowDown');
      expect(await focused()).toBe('layer1, Head 4');
      await press('Home', 'ArrowLeft', 'ArrowUp');
      expect(await focused()).toBe('layer0, Head 0');
    });

    test('fewer heads than before can still be reached by Tab', async () => {
      await put('fovea-heads', { layers: layers(2, 5), locale: 'en', shown: [] });
      await page.locator('fovea-heads button').last().focus();
      await page.evaluate(
        (fewer) => {
          const element = document.querySelector('fovea-heads')!;
          element.layers = fewer;
          return element.updateComplete;
        },
        layers(1, 2),
      );
      expect(await page.locator('fovea-heads button[tabindex="0"]').count()).toBe(1);
    });

    test('a picture that is no longer there is not shown', async () => {
      await put('fovea-heads', { layers: layers(1, 1), locale: 'en' });
      const size = () =>
        page.locator('fovea-heads canvas').evaluate((canvas) => (canvas as HTMLCanvasElement).width);
      expect(await size()).toBe(2);
      await page.evaluate(() => {
        const element = document.querySelector('fovea-heads')!;
        element.layers = [{ name: 'other', heads: [{}] }];
        return element.updateComplete;
      });
      expect(await size()).toBe(1);
    });

    test('heads are ordered by a number; those without one come last', async () => {
      const heads = [{}, { summary: summary(2) }, { summary: summary(Number.NaN) }, { summary: summary(5) }];
      for (const [sort, order] of [
        ['entropy', [1, 3, 0, 2]],
        ['sinkShare', [3, 1, 0, 2]],
        ['head', [0, 1, 2, 3]],
      ] as const) {
        await put('fovea-heads', { layers: [{ name: 'one', heads }], locale: 'en', sort });
        expect(await labels()).toEqual(order.map((head) => `Head ${head}`));
      }
    });
  });
});
