// The page of page.ts in headless Chromium: bundled once, served with the headers that threads need.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { findChromium } from '../../../scripts/chromium.mjs';
import { ISOLATED, serve } from '../server.js';

export const TIMEOUT = 120_000;
const HTML = `<!doctype html><html lang="en"><head><meta charset="utf-8" /><title>Map</title>
<style>body { margin: 10px } fovea-map { height: 500px }</style>
<script type="module" src="page.js"></script></head><body><fovea-map></fovea-map></body></html>`;

export interface Site {
  browser: Browser;
  /** A new page; what goes wrong in it is added to `errors`. */
  open(options?: BrowserContextOptions): Promise<Page>;
  errors: string[];
  close(): Promise<void>;
}

export async function openSite(): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'fovea-map-'));
  await esbuild.build({
    absWorkingDir: join(import.meta.dirname, '../../..'),
    entryPoints: { page: 'test/browser/map/page.ts', worker: 'dist/engine/worker.js' },
    bundle: true,
    format: 'esm',
    conditions: ['browser'],
    loader: { '.wasm': 'file' },
    outdir: folder,
    logLevel: 'error',
  });
  await writeFile(join(folder, 'index.html'), HTML);
  const server = await serve({ '/': folder }, ISOLATED);
  const browser = await chromium.launch({ executablePath: findChromium()!, args: ['--no-sandbox'] });
  const errors: string[] = [];
  return {
    browser,
    errors,
    async open(options = {}) {
      const viewport = { width: 1000, height: 700 };
      const page = await browser.newPage({ viewport, reducedMotion: 'reduce', ...options });
      page.setDefaultTimeout(TIMEOUT);
      page.on('pageerror', (error) => errors.push(error.message));
      await page.goto(server.url);
      await page.waitForFunction(() => globalThis.page !== undefined);
      return page;
    },
    async close() {
      await browser.close();
      await server.close();
      await rm(folder, { recursive: true });
    },
  };
}
