// The HTML file that drawHtml makes, opened from disk in headless Chromium. Skipped where no Chromium is found.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTrace, type Trace } from '../../dist/index.js';
import { drawHtml } from '../../dist/inspect/index.js';
import { findChromium } from '../../scripts/chromium.mjs';
import { smallTrace } from '../helpers/small-trace.js';

const chromiumPath = findChromium();
const TIMEOUT = 180_000;

describe.skipIf(!chromiumPath)('the offline page', () => {
  let browser: Browser;
  let folder: string;
  let trace: Trace;
  const said: string[] = [];

  beforeAll(async () => {
    trace = smallTrace();
    folder = await mkdtemp(join(tmpdir(), 'fovea-offline-'));
    await writeFile(join(folder, 'one.html'), await drawHtml(trace));
    const others = [smallTrace(), smallTrace([['Yes'], ['sir']], [['Oui']])];
    await writeFile(join(folder, 'two.html'), await drawHtml(others, { layer: 1, head: 2 }));
    const figure = { title: 'Numbers', rows: ['r', 's'], columns: ['x', 'y'], values: [0, 1, 2, 3] };
    await writeFile(join(folder, 'figure.html'), await drawHtml(figure));
    browser = await chromium.launch({
      executablePath: chromiumPath!,
      args: ['--no-sandbox'],
      timeout: TIMEOUT,
    });
  }, TIMEOUT);
  afterAll(async () => {
    await browser?.close();
    trace?.dispose();
    if (folder) await rm(folder, { recursive: true });
  });

  async function open(name: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ offline: true, locale: 'en-GB', ...options });
    const page = await context.newPage();
    page.on('pageerror', (error) => said.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && said.push(message.text()));
    await page.goto(pathToFileURL(join(folder, name)).href);
    return page;
  }
  const word = (page: Page, side: 0 | 1, n: number) =>
    page.locator('.sentence').nth(side).locator('.word').nth(n);
  const readout = (page: Page) => page.locator('.readout').textContent();

  /** Weights of cross-attention in a layer and head, [output tokens, source tokens]. */
  const weights = async (layer: number, head: number) => {
    const map = await trace.entries[3 * layer + 2].map();
    return (await map.tile({ head })).data;
  };

  test('attention of other lengths, and numbers that are not finite, do not break it', async () => {
    const tensor = (length: number, number: number) =>
      ({ dtype: 'float32', shape: [1, length, 2], data: new Float32Array(2 * length).fill(number) }) as const;
    const entries = [3, 2].map((length, layer) => ({
      name: `encoder.${layer}.selfAttention`,
      q: tensor(length, layer === 0 ? 3e38 : 1),
      k: tensor(length, 3),
    }));
    const odd = createTrace({ entries });
    await writeFile(join(folder, 'odd.html'), await drawHtml(odd, { layer: 0, head: 0 }));
    odd.dispose();
    const page = await open('odd.html');
    await page.locator('#group').selectOption('encoder.1.selfAttention');
    await page.locator('.sentence').first().locator('.word').first().hover();
    expect(await readout(page)).toContain('0.500');
    expect(said).toEqual([]);
    await page.context().close();
  });

  test('shows the mean of all heads of cross-attention, by word; no error, nothing asked of any network', async () => {
    const page = await open('one.html');
    expect(await page.title()).toBe('Je vois rougeâtre 책임을');
    expect(await page.locator('.sentence').nth(0).locator('.word').allTextContents()).toEqual([
      'I',
      'see',
      'reddish',
      '<b>&',
      '</s>',
    ]);
    expect(await page.locator('.tile').count()).toBe(1 + 2 * 4);
    // “rougeâtre” has tokens 2 to 4, “reddish” 2 and 3.
    await word(page, 1, 2).hover();
    const maps = await Promise.all([0, 1].flatMap((layer) => [0, 1, 2].map((head) => weights(layer, head))));
    let expected = 0;
    for (const map of maps)
      for (const i of [2, 3, 4]) for (const j of [2, 3]) expected += map[7 * i + j] / (6 * 3);
    const text = await readout(page);
    const [, shown] = /reddish (0\.\d+)/.exec(text!)!;
    expect(Math.abs(Number(shown) - expected)).toBeLessThan(6e-4);
    expect(text).toMatch(/^rougeâtre looks at: /);
    await word(page, 0, 1).hover();
    expect(await readout(page)).toMatch(/^see is looked at by: /);
    expect(said).toEqual([]);
    await page.context().close();
  });

  test('a head opened with the mouse: a cell’s own weight to four digits, and its frames', async () => {
    const page = await open('one.html');
    await page.locator('.tile', { hasText: '1.2' }).click();
    expect(await page.locator('.detail h2').textContent()).toContain('layer 1, head 2');
    await page.check('#subwords');
    const exact = await weights(1, 2);
    const canvas = page.locator('.cells canvas');
    const size = (await canvas.boundingBox())!;
    for (const [i, j] of [
      [0, 0],
      [6, 6],
      [3, 1],
    ]) {
      await canvas.hover({ position: { x: ((j + 0.5) * size.width) / 7, y: ((i + 0.5) * size.height) / 7 } });
      const [, shown] = /→ .*: (0\.\d{4})$/.exec((await readout(page))!)!;
      expect(Math.abs(Number(shown) - exact[7 * i + j])).toBeLessThan(7e-5);
    }
    expect(await page.locator('.frame:visible').count()).toBe(2);
    await page.context().close();
  });

  test('by keyboard alone: through the controls into the overview, a head, its words', async () => {
    const page = await open('one.html');
    const press = async (...keys: string[]) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    const focused = () =>
      page.evaluate(
        () => document.activeElement!.getAttribute('aria-label') ?? document.activeElement!.textContent,
      );
    await press('Tab', 'Tab', 'Tab', 'Tab');
    expect(await focused()).toBe('mean of all');
    await press('ArrowDown', 'ArrowRight', 'ArrowRight', 'Enter');
    expect(await page.locator('.detail h2').textContent()).toContain('layer 0, head 1');
    expect(await focused()).toMatch(/^layer 0, head 1: entropy \d/);
    await press('Tab');
    expect(await focused()).toBe('I');
    expect(await readout(page)).toMatch(/^I is looked at by: /);
    await press('ArrowDown', 'End', 'ArrowLeft');
    expect(await focused()).toBe('책임을');
    expect(await readout(page)).toMatch(/^책임을 looks at: /);
    await press('Shift+Tab', 'Shift+Tab', 'Space');
    expect(await page.locator('#log').isChecked()).toBe(true);
    // The page drawn anew keeps the focus.
    expect(await page.evaluate(() => document.activeElement!.id)).toBe('log');
    await page.context().close();
  });

  test('several sentences, opened at the layer and head asked for; in Korean for Koreans; dark', async () => {
    const page = await open('two.html', { locale: 'ko-KR', colorScheme: 'dark' });
    expect(await page.locator('.detail h2').textContent()).toBe('번역이 문장을 · 층 1, 헤드 2');
    expect(await page.locator('html').getAttribute('lang')).toBe('ko');
    await page.selectOption('#sheet', '1');
    expect(await page.locator('.sentence').nth(1).locator('.word').allTextContents()).toEqual([
      'Oui',
      '</s>',
    ]);
    await page.selectOption('#group', 'encoder.selfAttention');
    expect(await page.locator('.sentence').nth(1).locator('.word').allTextContents()).toEqual([
      'Yes',
      'sir',
      '</s>',
    ]);
    const [ground, ink] = await page.evaluate(() => {
      const { backgroundColor, color } = getComputedStyle(document.body);
      return [backgroundColor, color].map((text) => Number(/\d+/.exec(text)![0]));
    });
    expect(ground).toBeLessThan(60);
    expect(ink).toBeGreaterThan(200);
    await page.context().close();
  });

  test('a figure', async () => {
    const page = await open('figure.html');
    await word(page, 1, 1).hover();
    expect(await readout(page)).toBe('s looks at: y 3.000 · x 2.000');
    expect(said).toEqual([]);
    await page.context().close();
  });
});
