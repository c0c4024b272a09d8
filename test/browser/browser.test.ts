// Fovea in pages of headless Chromium, bundled by Vite and esbuild: with threads (cross-origin isolated) and without,
// and under a content security policy. Skipped where no Chromium is found.
import { rm } from 'node:fs/promises';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { validateAttention } from '../../dist/attention/validate.js';
import { createEngine } from '../../dist/engine/engine.js';
import { alignWords, crossWeights } from '../../dist/inspect/index.js';
import { loadTranslator } from '../../dist/tasks/index.js';
import { findChromium } from '../../scripts/chromium.mjs';
import { type Bundle, esbuildBundle, viteBundle } from '../helpers/bundles.js';
import { PATIENCE } from '../helpers/once.js';
import { makeTinyModel, SENTENCES } from '../helpers/tiny-model.js';
import type { Translated } from './app/app.js';
import { makeInputs, QUERY } from './app/inputs.js';
import { ISOLATED, POLICY, type Server, serve } from './server.js';

const chromiumPath = findChromium();
if (!chromiumPath) console.warn('Browser tests are skipped: no Chromium found.');

/** Wanted threads: more than one on any machine. */
const THREADS = 3;
const TIMEOUT = 180_000;
const SIZES = { heads: 2, length: 97, width: 16 };

const MODES = {
  'Vite, isolated': { bundle: 'vite', headers: ISOLATED, threads: THREADS },
  'Vite, not isolated': { bundle: 'vite', headers: {}, threads: 1 },
  'Vite, isolated, under a policy': { bundle: 'vite', headers: { ...ISOLATED, ...POLICY }, threads: THREADS },
  'esbuild, isolated, under a policy': {
    bundle: 'esbuild',
    headers: { ...ISOLATED, ...POLICY },
    threads: THREADS,
  },
  'esbuild, not isolated': { bundle: 'esbuild', headers: {}, threads: 1 },
} as const;

/** What the page must give, computed here in float64. */
function reference() {
  const { q, k, v } = makeInputs(SIZES);
  const problem = validateAttention(q, k, v, { causal: true });
  const { output, logSumExp } = attentionReference(problem);
  const row = weightsReference(problem, 0, SIZES.heads - 1, [QUERY, QUERY + 1], [0, SIZES.length]);
  const topKeys = [...row.keys()].sort((i, j) => row[j] - row[i]).slice(0, 3);
  return { output, logSumExp, row, topKeys };
}

describe.skipIf(!chromiumPath)('in a page of Chromium', () => {
  let browser: Browser;
  let bundles: Record<'vite' | 'esbuild', Bundle>;
  let model: string;
  let inNode: Translated;

  beforeAll(async () => {
    bundles = { vite: await viteBundle(), esbuild: await esbuildBundle() };
    model = await makeTinyModel();
    inNode = await translateHere(model);
    browser = await chromium.launch({
      executablePath: chromiumPath!,
      args: ['--no-sandbox'],
      timeout: TIMEOUT,
    });
  }, PATIENCE);
  afterAll(async () => {
    await browser?.close();
    if (model) await rm(model, { recursive: true });
  });

  describe.each(Object.entries(MODES))('%s', (_, { bundle, headers, threads }) => {
    let server: Server;
    let page: Page;
    let told: string[];
    const isolated = threads > 1;

    beforeAll(async () => {
      server = await serve({ '/': bundles[bundle].folder, '/model/': model }, headers);
      page = await browser.newPage();
      page.setDefaultTimeout(TIMEOUT);
      told = [];
      page.on('console', (message) => told.push(`${message.type()}: ${message.text()}`));
      page.on('pageerror', (error) => told.push(`error: ${error.message}`));
      await page.goto(server.url);
    }, TIMEOUT);
    afterAll(async () => {
      await page?.close();
      await server?.close();
    });

    test(
      'attention is that of the float64 reference (± 5e-6), its weights are read, and nothing is left',
      async () => {
        const made = await page.evaluate(([sizes, wanted]) => app.attend(sizes, wanted), [
          SIZES,
          THREADS,
        ] as const);
        expect({ isolated: made.isolated, threads: made.threads }).toEqual({ isolated, threads });
        expect(made.backend).toMatch(/^wasm-/);
        const truth = reference();
        expect(distance(made.output, truth.output)).toBeLessThan(5e-6);
        expect(distance(made.logSumExp, truth.logSumExp)).toBeLessThan(5e-6);
        expect(distance(made.row, truth.row)).toBeLessThan(5e-6);
        expect(made.topKeys).toEqual(truth.topKeys);
        expect(made.tensors).toBe(0);
        expect(made.codes).toEqual(['FOVEA_ENGINE', 'FOVEA_ENGINE']);
        // Workers end with their engine.
        await expect.poll(() => page.workers().length, { timeout: 30_000 }).toBe(0);
      },
      TIMEOUT,
    );

    test(
      'the page’s own thread is free while attention is computed',
      async () => {
        const turns = await page.evaluate(([sizes, wanted]) => app.turnsWhileAttending(sizes, wanted), [
          { heads: 8, length: 1024, width: 64 },
          THREADS,
        ] as const);
        expect(turns).toBeGreaterThan(20);
      },
      TIMEOUT,
    );

    test(
      'a translation is the one that Node gives, with its alignment (± 1e-4)',
      async () => {
        const made = await page.evaluate(
          ([sentences, wanted]) => app.translate('model', [...sentences], wanted),
          [SENTENCES, THREADS] as const,
        );
        expect(made.threads).toBe(threads);
        expect(made.texts).toEqual(inNode.texts);
        expect(made.sourceWords).toEqual(inNode.sourceWords);
        expect(distance(made.alignment, inNode.alignment)).toBeLessThan(1e-4);
      },
      TIMEOUT,
    );

    test('no error was told; one thread is told once, and several load their script', () => {
      const expectedLines = isolated ? [] : [expect.stringMatching(/^info: fovea: .* one thread computes$/)];
      expect(told).toEqual(expectedLines);
      const loaded = server.requests.filter((path) => /thread|worker/.test(path));
      expect(loaded.length).toBeGreaterThan(isolated ? 1 : 0);
      expect(server.requests.some((path) => /strict.*wasm/.test(path))).toBe(false);
    });
  });
});

/** The largest difference; infinite where lengths differ or a number is not finite. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return largest;
}

async function translateHere(model: string): Promise<Translated> {
  const engine = await createEngine({ threads: 1 });
  try {
    const translator = await loadTranslator(model, { engine });
    const translations = await translator.translate(SENTENCES);
    const { source, target, attention } = translations[0];
    const { sourceWords, matrix } = alignWords(source, target, crossWeights(await attention(), { layer: 1 }));
    return {
      threads: 1,
      texts: translations.map(({ text }) => text),
      alignment: Array.from(matrix.values),
      sourceWords,
    };
  } finally {
    await engine.dispose();
  }
}
