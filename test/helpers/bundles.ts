// The browser app (test/browser/app), bundled from the installed package by Vite and by esbuild.
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import { createLogger, build as viteBuild } from 'vite';
import { installed } from './installed.js';
import { once } from './once.js';

export interface Bundle {
  /** What a server serves. */
  folder: string;
  /** Everything the bundler complained about. */
  warnings: string[];
}

/** Vite finds the workers and the WebAssembly files by itself. */
export async function viteBundle(): Promise<Bundle> {
  const { project } = await installed();
  const { folder, result } = await once('vite', async (outDir) => {
    const warnings: string[] = [];
    const logger = createLogger('warn', { allowClearScreen: false });
    logger.warn = (message) => {
      // How long the build took, told on a busy machine, says nothing about the bundle.
      if (!message.includes('PLUGIN_TIMINGS')) warnings.push(message);
    };
    logger.warnOnce = logger.warn;
    await viteBuild({
      configFile: false,
      root: join(project, 'app'),
      base: './',
      customLogger: logger,
      logLevel: 'warn',
      build: { outDir, emptyOutDir: true },
    });
    return warnings;
  });
  return { folder, warnings: result };
}

/** esbuild leaves `new URL(…, import.meta.url)` alone: the app configures where its files are (app/esbuild.ts). */
export async function esbuildBundle(): Promise<Bundle> {
  const { project } = await installed();
  const { folder, result } = await once('esbuild', async (outdir) => {
    const { warnings } = await esbuild.build({
      absWorkingDir: join(project, 'app'),
      entryPoints: { main: 'esbuild.ts', worker: 'fovea/worker' },
      bundle: true,
      format: 'esm',
      minify: true,
      loader: { '.wasm': 'file' },
      outdir,
      logLevel: 'silent',
    });
    await copyFile(join(project, 'app/esbuild.html'), join(outdir, 'index.html'));
    return warnings.map(({ text }) => text);
  });
  return { folder, warnings: result };
}
