// The page of `fovea view` in headless Chromium: every view, by pointer and by keyboard alone, in both languages, with
// what is broken given to it. Skipped where no Chromium is found.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Browser, chromium, type Page, type Request } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { folderFiles, type PageServer, type Served, servePage } from '../../dist/cli/server.js';
import { createTrace, saveTrace } from '../../dist/index.js';
import { findChromium } from '../../scripts/chromium.mjs';
import { FRENCH, makeTinyModel, SENTENCES } from '../helpers/tiny-model.js';
import { serve } from './server.js';

const chromiumPath = findChromium();
const viewer = join(import.meta.dirname, '../../dist/viewer');
const TIMEOUT = 120_000;
vi.setConfig({ testTimeout: TIMEOUT, hookTimeout: TIMEOUT });

/** A trace of two layers with two heads over a text in Korean; query i of head 1 looks at key i alone. */
async function koreanTrace(): Promise<Uint8Array> {
  const words = ['나는', '붉은', '집을', '본다'];
  const text = words.join(' ');
  const spans = words.map((word) => [text.indexOf(word), text.indexOf(word) + word.length] as const);
  const texts = { korean: { text, tokens: words, offsets: spans, words: [0, 1, 2, 3], wordSpans: spans } };
  const [H, L, D] = [2, 4, 4];
  const data = Float32Array.from({ length: H * L * D }, (_, n) =>
    n < L * D ? 0 : n % D === Math.floor(n / D) % L ? 8 : 0,
  );
  const q = { dtype: 'float32', shape: [H, L, D], data } as const;
  const entries = [0, 1].map((layer) => ({
    name: `layers.${layer}.attention`,
    queries: 'korean',
    keys: 'korean',
    q,
    k: q,
  }));
  return saveTrace(createTrace({ model: 'made by hand', texts, entries }));
}

declare global {
  var workers: Worker[];
  var deepFocus: () => Element | null;
}

/** In the page: the workers it starts, and what has the focus behind all shadows. */
function watchPage(): void {
  globalThis.workers = [];
  globalThis.Worker = class extends Worker {
    constructor(...given: ConstructorParameters<typeof Worker>) {
      super(...given);
      workers.push(this);
    }
  };
  globalThis.deepFocus = () => {
    let own = document.activeElement;
    while (own?.shadowRoot?.activeElement) own = own.shadowRoot.activeElement;
    return own;
  };
}

/** One head over 200 tokens that have no names. */
async function wideTrace(): Promise<Uint8Array> {
  const data = Float32Array.from({ length: 200 * 8 }, (_, n) => Math.sin(n * n));
  const q = { dtype: 'float32', shape: [1, 200, 8], data } as const;
  return saveTrace(createTrace({ entries: [{ name: 'wide', q, k: q }] }));
}

/** 18 MB: more than a page fetches at once. */
async function largeTrace(): Promise<Uint8Array> {
  const [L, D] = [35_000, 64];
  const q = { dtype: 'float32', shape: [1, L, D], data: new Float32Array(L * D) } as const;
  return saveTrace(createTrace({ entries: [{ name: 'large', q, k: q }] }));
}

/** Attention of no heads, and of no keys. */
async function emptyTrace(): Promise<Uint8Array> {
  const tensor = (...shape: number[]) =>
    ({ dtype: 'float32', shape, data: new Float32Array(shape.reduce((a, n) => a * n)) }) as const;
  const entries = [
    { name: 'no heads', q: tensor(0, 5, 8), k: tensor(0, 5, 8) },
    { name: 'no keys', q: tensor(2, 5, 8), k: tensor(2, 0, 8) },
  ];
  return saveTrace(createTrace({ entries }));
}

describe.skipIf(!chromiumPath)('the page', () => {
  let browser: Browser;
  let server: PageServer;
  let folder: string;
  let model: string;
  let page: Page;
  let errors: string[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fovea-page-'));
    model = await makeTinyModel();
    await writeFile(join(folder, 'korean.safetensors'), await koreanTrace());
    await writeFile(join(folder, 'wide.safetensors'), await wideTrace());
    await writeFile(join(folder, 'large.safetensors'), await largeTrace());
    await writeFile(join(folder, 'empty.safetensors'), await emptyTrace());
    await writeFile(join(folder, 'broken.safetensors'), (await koreanTrace()).subarray(0, 700));
    const files = new Map<string, Served>([
      ...(await folderFiles(viewer)),
      ...(await folderFiles(model, '/models/en-fr/')),
      ...(await folderFiles(folder)),
    ]);
    server = await servePage(files);
    browser = await chromium.launch({
      executablePath: chromiumPath!,
      args: ['--no-sandbox'],
      timeout: TIMEOUT,
    });
    page = await browser.newPage({ locale: 'en-US', viewport: { width: 1100, height: 800 } });
    page.setDefaultTimeout(TIMEOUT);
    await page.addInitScript(watchPage);
    errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
  }, TIMEOUT);

  afterAll(async () => {
    await browser?.close();
    await server?.close();
    for (const path of [folder, model]) if (path) await rm(path, { recursive: true });
  });

  /** Queries that map n shows. */
  const span = (n: number) =>
    page
      .locator('fovea-map')
      .nth(n)
      .evaluate((own) => {
        const [from, to] = (own as HTMLElementTagNameMap['fovea-map']).view.queries;
        return to - from;
      });

  /** The page anew at an address. */
  async function visit(hash: string): Promise<void> {
    await page.goto('about:blank');
    await page.goto(`${server.url}${hash}`);
  }
  const drop = (bytes: number[], name: string) =>
    page.evaluate(
      ([numbers, name]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(numbers as number[])], name as string));
        window.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true }));
      },
      [bytes, name],
    );
  const readout = async () => {
    const text = (await page.locator('fovea-words [role=status]').textContent()) ?? '';
    return text.trim().replace(/\s+/g, ' ');
  };
  const sentence = () => page.getByRole('textbox', { name: 'Sentence' });
  const tab = (name: string) => page.getByRole('link', { name, exact: true });

  test('Live begins with an example, its translation and its attention; the address stays bare', async () => {
    await visit('');
    await page.locator('fovea-words path').first().waitFor({ state: 'attached' });
    expect(await sentence().inputValue()).toMatch(/\w+ \w+/);
    expect(page.url()).toBe(server.url);
    expect(await page.getByRole('alert').count()).toBe(0);
    await tab('Overview').click();
    await page.locator('fovea-heads .numbers').first().waitFor();
  });

  test('Live translates what is typed, shows its attention, and a reload shows both again', async () => {
    await visit('');
    await sentence().fill(SENTENCES[0]);
    await page.getByText(FRENCH[0]).waitFor();
    await page.locator('fovea-words path').first().waitFor({ state: 'attached' });
    await page.locator('fovea-words button', { hasText: 'maison' }).hover();
    expect(await readout()).toMatch(/^maison\s+attends to\s+\S+ \d/);
    await page.reload();
    await page.getByText(FRENCH[0]).waitFor();
    expect(await sentence().inputValue()).toBe(SENTENCES[0]);
  });

  test('a text too long is refused in a line, and the next sentence is translated', async () => {
    await sentence().fill('house '.repeat(400));
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toMatch(/too long to translate/);
    await sentence().fill(SENTENCES[1]);
    await page.getByText(FRENCH[1]).waitFor();
    expect(await page.getByRole('alert').count()).toBe(0);
    await sentence().fill(' ');
    await page.getByText('Type a sentence to see it translated.').waitFor();
  });

  test('Overview shows all heads with their numbers; the one that is opened is shown as words', async () => {
    await sentence().fill(SENTENCES[0]);
    await page.getByText(FRENCH[0]).waitFor();
    await tab('Overview').click();
    // 2 encoder layers with self-attention, 2 decoder layers with self- and cross-attention, 4 heads each.
    await page.locator('fovea-heads .numbers').nth(23).waitFor();
    expect(await page.locator('fovea-heads button').count()).toBe(24);
    const painted = await page
      .locator('fovea-heads canvas')
      .evaluateAll((all) => all.filter((canvas) => (canvas as HTMLCanvasElement).width > 1).length);
    expect(painted).toBe(24);
    await page.getByRole('button', { name: /^Cross-attention · Layer 1, Head 2/ }).click();
    await page.locator('fovea-words').waitFor();
    expect(page.url()).toContain('at=decoder.1.crossAttention&head=2');
    expect(await page.getByLabel('Head').inputValue()).toBe('2');
  });

  test('Back returns to the overview', async () => {
    await page.goBack();
    await page.locator('fovea-heads').waitFor();
    expect(await tab('Overview').getAttribute('aria-current')).toBe('page');
  });

  test('a trace of the host is opened, its view in the address restored', async () => {
    await visit('#trace=./korean.safetensors&view=words&at=layers.0.attention&head=1&word=q2&look=shading');
    await page.locator('fovea-words button').first().waitFor();
    expect(await page.locator('fovea-words button').allInnerTexts()).toHaveLength(8);
    expect(await readout()).toMatch(/집을\s+attends to\s+집을 100 %/);
    expect(await page.getByRole('button', { name: 'Shading' }).getAttribute('aria-pressed')).toBe('true');
  });

  test('by keyboard alone: views, words, a kept word, and letting go', async () => {
    await visit('#trace=./korean.safetensors&view=overview');
    await page.locator('fovea-heads .numbers').first().waitFor();
    await tab('Overview').focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.locator('fovea-words button').first().waitFor();
    expect(
      await tab('Words').evaluate((own) => own === (own.getRootNode() as ShadowRoot).activeElement),
    ).toBe(true);
    // Tab reaches every control of the page; the words are one stop.
    for (let n = 0; n < 30 && !(await readout()).includes('attend'); n++) await page.keyboard.press('Tab');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowRight');
    expect(await readout()).toMatch(/^붉은\s+attends to/);
    await page.keyboard.press('Enter');
    await expect.poll(() => page.url()).toContain('word=q1');
    await page.keyboard.press('Escape');
    await expect.poll(() => page.url()).not.toContain('word=');
  });

  test('in the overview arrows move between pictures, and Enter opens one', async () => {
    await visit('#trace=./korean.safetensors&view=overview');
    await page.locator('fovea-heads .numbers').first().waitFor();
    await page.locator('fovea-heads button').first().focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.url()).toContain('at=layers.1.attention&head=1');
  });

  test('the page speaks Korean where that is wanted, and keeps it', async () => {
    await visit('#trace=./korean.safetensors&view=words');
    await page.getByLabel('Language').selectOption('ko');
    await tab('단어').waitFor();
    await page.locator('fovea-words button').first().hover();
    expect(await readout()).toContain('이 단어를 보는 단어');
    expect(await page.evaluate(() => document.documentElement.lang)).toBe('ko');
    await page.reload();
    await tab('지도').waitFor();
    const other = await browser.newPage({ locale: 'ko-KR' });
    await other.goto(server.url);
    await other.getByRole('link', { name: '실시간' }).waitFor();
    await other.close();
  });

  test('light and dark follow the system, or the switch', async () => {
    const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    await visit('');
    await page.emulateMedia({ colorScheme: 'dark' });
    const dark = await ground();
    await page.emulateMedia({ colorScheme: 'light' });
    expect(await ground()).not.toBe(dark);
    await page.getByLabel('Colours').selectOption('dark');
    await expect.poll(ground).toBe(dark);
  });

  test('a trace from disk is opened; a broken one is told, and the page goes on', async () => {
    await visit('');
    const choose = async (name: string) => {
      const chooser = page.waitForEvent('filechooser');
      await page.getByRole('button', { name: 'Open a trace…' }).click();
      await (await chooser).setFiles(join(folder, name));
    };
    await choose('korean.safetensors');
    await page.locator('fovea-heads button').nth(3).waitFor();
    await choose('broken.safetensors');
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toMatch(/cannot be shown: broken\.safetensors/);
    await tab('Words').click();
    await page.locator('fovea-words button').first().waitFor();
    await page.getByRole('button', { name: 'Dismiss' }).click();
    expect(await page.getByRole('alert').count()).toBe(0);
  });

  test('a trace that the host does not have, or that is broken there, is told', async () => {
    await visit('#trace=./nothing.safetensors&view=words');
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toMatch(/HTTP status 404/);
    await visit('#trace=./broken.safetensors');
    await page.getByRole('alert').waitFor();
    await page
      .getByText('Nothing to look into yet')
      .waitFor({ state: 'detached' })
      .catch(() => {});
    await tab('Live').click();
    await sentence().fill(SENTENCES[3]);
    await page.getByText(FRENCH[3]).waitFor();
  });

  test('Map tells the words of a cell', async () => {
    await visit('#trace=./korean.safetensors&view=map&at=layers.0.attention&head=1');
    const map = page.locator('fovea-map');
    await map.locator('canvas').first().waitFor();
    const { x, y, width, height } = (await map.boundingBox())!;
    await page.mouse.click(x + width / 2, y + height / 2);
    await page.locator('map-pane mark').nth(1).waitFor();
    const words = await page.locator('map-pane mark').allTextContents();
    expect(['나는', '붉은', '집을', '본다']).toEqual(expect.arrayContaining(words));
  });

  test('Map stays where it was moved to, with room beside the matrix too, and is found there again', async () => {
    await visit('#trace=./wide.safetensors&view=map');
    const map = page.locator('fovea-map');
    const keys = () => map.evaluate((own) => (own as HTMLElementTagNameMap['fovea-map']).view.keys[0]);
    const told = () =>
      Number(new URLSearchParams(new URL(page.url()).hash.slice(1)).get('box')?.split(',')[2]);
    await map.locator('canvas.tiles').waitFor();
    const { x, y, width, height } = (await map.locator('.frame').boundingBox())!;
    await page.mouse.move(x + (width - height) / 2 + 20, y + 20);
    await page.mouse.wheel(0, -400);
    await expect.poll(told).toBeLessThan(-1);
    const first = told();
    // What the page makes of it has come back to the map by then.
    await page.evaluate(() => new Promise((seen) => requestAnimationFrame(() => setTimeout(seen, 100))));
    expect(await keys()).toBeCloseTo(first, 2);
    await page.reload();
    await map.locator('canvas.tiles').waitFor();
    await expect.poll(keys).toBeCloseTo(first, 2);
    expect(told()).toBe(first);
  });

  test('Map zooms by keyboard, and keeps its view in the address', async () => {
    await visit('#trace=./wide.safetensors&view=map');
    const map = page.locator('fovea-map');
    await map.locator('canvas').first().waitFor();
    const { x, y, width, height } = (await map.boundingBox())!;
    await page.mouse.click(x + width / 2, y + height / 2);
    for (let n = 0; n < 4; n++) await page.keyboard.press('+');
    await expect.poll(() => page.url()).toContain('box=');
    let zoomed = '';
    // The map glides to its goal.
    const still = () => {
      const same = page.url() === zoomed;
      zoomed = page.url();
      return same;
    };
    await expect.poll(still, { interval: 500 }).toBe(true);
    await page.reload();
    await map.locator('canvas').first().waitFor();
    await expect.poll(() => span(0)).toBeLessThan(150);
    expect(page.url()).toBe(zoomed);
  });

  test('a file of more than 16 MB is read in parts, each once', async () => {
    const ranges: string[] = [];
    const note = (request: Request) => {
      if (request.url().endsWith('large.safetensors')) ranges.push(request.headers().range);
    };
    page.on('request', note);
    await visit('#trace=./large.safetensors&view=map');
    await page.locator('fovea-map canvas').first().waitFor();
    page.off('request', note);
    const sizes = ranges.map((range) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range)!;
      return Number(to) - Number(from) + 1;
    });
    const { length } = await readFile(join(folder, 'large.safetensors'));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4 << 20);
    // The first eight bytes are asked for twice: once for the size of the file.
    expect(ranges.filter((range, n) => ranges.indexOf(range) < n)).toEqual(['bytes=0-7']);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(length + 8);
  });

  test('Compare moves both maps together', async () => {
    await visit('#trace=./wide.safetensors&view=compare');
    await page.locator('fovea-map canvas').nth(1).waitFor();
    const left = page.locator('fovea-map').first();
    const { x, y, width, height } = (await left.boundingBox())!;
    await page.mouse.click(x + width / 2, y + height / 2);
    for (let n = 0; n < 4; n++) await page.keyboard.press('+');
    await expect.poll(() => span(1)).toBeLessThan(150);
    await expect.poll(async () => Math.abs((await span(0)) - (await span(1)))).toBeLessThan(0.01);
  });

  test('Compare shows two heads, and takes a second trace by drag and drop', async () => {
    await visit('#trace=./korean.safetensors&view=compare');
    await page.getByRole('region', { name: 'Right' }).waitFor();
    await drop([...(await readFile(join(folder, 'korean.safetensors')))], 'second.safetensors');
    await page.getByRole('region', { name: 'second.safetensors' }).waitFor();
    // A file from disk has no address: after a reload it is asked for, and Back needs none.
    await page.reload();
    const right = page.getByRole('region', { name: 'second.safetensors' });
    await right.getByText('second.safetensors was opened from disk. Open it again').waitFor();
    await expect.poll(() => page.locator('fovea-map').count()).toBe(1);
    await drop([...(await readFile(join(folder, 'korean.safetensors')))], 'second.safetensors');
    await right.locator('fovea-map').waitFor();
    await page.goBack();
    await page.getByRole('region', { name: 'Right' }).waitFor();
    expect(await page.getByRole('alert').count()).toBe(0);
  });

  test('Compare finds a second trace of the host again by its address, says where it cannot, and lets go of it', async () => {
    await visit('#trace=./korean.safetensors&trace2=./wide.safetensors&view=compare');
    const right = (name: string) => page.getByRole('region', { name });
    await right('wide.safetensors').locator('fovea-map').waitFor();
    await page.reload();
    await right('wide.safetensors').locator('fovea-map').waitFor();
    await expect.poll(() => Promise.all([span(0), span(1)])).toEqual([4, 200]);
    await page.getByRole('button', { name: 'Close the second trace' }).click();
    await right('Right').locator('fovea-map').waitFor();
    expect(page.url()).not.toContain('trace2');
    await page.goBack();
    await right('wide.safetensors').locator('fovea-map').waitFor();
    await visit('#trace=./korean.safetensors&trace2=./nothing.safetensors&view=compare');
    await right('nothing.safetensors').getByText('HTTP status 404').waitFor();
    await drop([1, 2, 3], 'second.safetensors');
    await page.getByText('cannot be shown: second.safetensors').waitFor();
    await right('nothing.safetensors').getByText('HTTP status 404').waitFor();
    // Without a view, two traces are compared.
    await visit('#trace=./korean.safetensors&trace2=./wide.safetensors');
    await right('wide.safetensors').locator('fovea-map').waitFor();
  });

  test('a file from disk that a reload asked for is shown as it was', async () => {
    await visit('#trace=file:mine.safetensors&view=words&at=layers.0.attention&head=1&word=q2');
    await page.getByText('mine.safetensors was opened from disk').waitFor();
    await drop([...(await readFile(join(folder, 'korean.safetensors')))], 'mine.safetensors');
    await page.locator('fovea-words button').first().waitFor();
    expect(await readout()).toMatch(/집을\s+attends to\s+집을 100 %/);
  });

  test('a file that is asked for is asked for in the language chosen since, and shown where Live was', async () => {
    await visit('#trace=file:mine.safetensors&trace2=file:other.safetensors&view=compare');
    await page.getByText('mine.safetensors was opened from disk').waitFor();
    await page.getByLabel('Language').selectOption('ko');
    await page.getByText('mine.safetensors 파일은 디스크에서').waitFor();
    expect(await page.getByText('was opened from disk').count()).toBe(0);
    await drop([...(await readFile(join(folder, 'korean.safetensors')))], 'mine.safetensors');
    await page.getByText('other.safetensors 파일은 디스크에서').waitFor();
    await page.getByLabel('언어').selectOption('en');
    await page.getByText('other.safetensors was opened from disk').waitFor();
    await visit('#trace=file:mine.safetensors&view=live');
    await page.getByText('mine.safetensors was opened from disk').waitFor();
    await drop([...(await readFile(join(folder, 'korean.safetensors')))], 'mine.safetensors');
    await page.locator('fovea-heads canvas').first().waitFor();
  });

  test('Compare shows sides of other lengths, and heads that one side does not have', async () => {
    await visit('#trace=./wide.safetensors&view=compare&box=150,190,20,60&head=0&head2=5');
    await page.locator('fovea-map canvas').nth(1).waitFor();
    const bytes = [...(await readFile(join(folder, 'korean.safetensors')))];
    await drop(bytes, 'second.safetensors');
    const right = page.getByRole('region', { name: 'second.safetensors' });
    await right.locator('fovea-map canvas').first().waitFor();
    // The same part of the whole: a fifth of 200 queries on the left, less than all of 4 on the right.
    await expect.poll(() => span(0)).toBeLessThan(100);
    expect(await page.getByRole('alert').count()).toBe(0);
  });

  for (const view of ['overview', 'words', 'map', 'compare'])
    test(`attention without heads, or without keys, is said to be empty: ${view}`, async () => {
      for (const at of ['no heads', 'no keys']) {
        await visit(`#trace=./empty.safetensors&view=${view}&at=${at}&head=1&box=0,1,0,1&word=q1`);
        await tab('Live').waitFor();
        if (view === 'overview') await page.locator('fovea-heads').waitFor();
        else await page.getByText('This attention is empty').first().waitFor();
        expect(await page.getByRole('alert').count()).toBe(0);
      }
    });

  test('an address of nonsense shows what there is: every view, no error', async () => {
    const nonsense =
      'at=constructor&at2=%00&head=99999&head2=-1&box=1e300,-1e300,7,NaN&range=5,-1&word=q999&sort=up&lang=xx&theme=%';
    const shown = { overview: 'fovea-heads', words: 'fovea-words', map: 'fovea-map', compare: 'fovea-map' };
    for (const [view, element] of Object.entries(shown)) {
      for (const more of ['', '&box=900,4000,900,4000', '&box=9,-9,9,-9&scale=log&range=-3,-9']) {
        await visit(`#trace=./korean.safetensors&view=${view}&${nonsense}${more}`);
        await page.locator(element).first().waitFor();
        if (element === 'fovea-map') expect(await span(0)).toBe(4);
        expect(await page.getByRole('alert').count()).toBe(0);
      }
    }
    await visit('#view=nobody&trace=%25');
    await page.getByRole('alert').waitFor();
    await sentence().waitFor();
  });

  test('the keyboard reaches the view past the bar, the views in order, each with a mark where one is', async () => {
    await visit('#trace=./korean.safetensors&view=map');
    await page.locator('fovea-map canvas').first().waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => deepFocus()?.localName)).toBe('select');
    expect(await page.getByRole('navigation').getByRole('link').allInnerTexts()).toEqual([
      ...['Live', 'Overview', 'Words', 'Map', 'Compare'],
    ]);
    expect(await page.locator('[aria-current=page]').allInnerTexts()).toEqual(['Map']);
    for (const landmark of ['banner', 'navigation', 'main'] as const)
      expect(await page.getByRole(landmark).count()).toBe(1);
  });

  test('an engine that died is told in every view, with a way to go on', async () => {
    await visit('#trace=./korean.safetensors&view=words');
    await page.locator('fovea-words').waitFor();
    await page.evaluate(() => workers[0].onerror!(new ErrorEvent('error', { message: 'killed' })));
    await page.getByLabel('Head').selectOption('1');
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toMatch(/has stopped: .*killed/);
    await page.getByRole('button', { name: 'Reload the page' }).click();
    await page.locator('fovea-words button').first().waitFor();
    expect(await page.getByRole('alert').count()).toBe(0);
    expect(await page.getByLabel('Head').inputValue()).toBe('1');
  });

  test.each([
    ['ends', () => void (globalThis as unknown as { close(): void }).close()],
    ['cannot read a message', () => void dispatchEvent(new MessageEvent('messageerror'))],
  ])(
    'an engine worker that %s is told while nobody asks for anything, with a way to go on',
    async (_, die) => {
      await visit('#trace=./korean.safetensors&view=words');
      await page.locator('fovea-words button').first().waitFor();
      const worker = page.workers().find((one) => /\/worker-/.test(one.url()))!;
      // What ends does not answer.
      worker.evaluate(die).catch(() => {});
      await page.getByRole('alert').waitFor();
      expect(await page.getByRole('alert').textContent()).toMatch(/has stopped: the engine worker died/);
      // No other message takes its place, and what fails by it now does not say so again.
      await drop([1, 2, 3], 'broken.safetensors');
      await page.getByText('cannot be shown: broken.safetensors').waitFor();
      await page.getByRole('button', { name: 'Dismiss' }).click();
      await page.getByRole('link', { name: 'Overview' }).click();
      await page.locator('fovea-heads').waitFor();
      await expect.poll(() => page.getByRole('alert').count()).toBe(1);
      await page.getByRole('link', { name: 'Words' }).click();
      await page.getByRole('button', { name: 'Reload the page' }).click();
      await page.locator('fovea-words button').first().waitFor();
      expect(await page.getByRole('alert').count()).toBe(0);
    },
  );

  test('nothing was thrown that nobody caught', () => {
    expect(errors).toEqual([]);
  });

  test('without cross-origin isolation, under another path, it translates too', async () => {
    const plain = await serve({ '/some/where/': viewer, '/some/model/': model }, {});
    await page.goto(
      `${plain.url}some/where/index.html?model=../model/#text=${encodeURIComponent(SENTENCES[2])}`,
    );
    await page.getByText(FRENCH[2]).waitFor();
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
    await page.goto('about:blank');
    await plain.close();
  });
});

test('the first load without the model is under 400 kB compressed, all of dist/viewer counted', async () => {
  const names = (await readdir(viewer, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  const sizes = await Promise.all(
    names.map(async ({ parentPath, name }) => gzipSync(await readFile(join(parentPath, name))).length),
  );
  expect(sizes.length).toBeGreaterThan(5);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(400_000);
});
