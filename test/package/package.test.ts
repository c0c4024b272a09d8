// The packed package: what it holds, how it runs, type-checks and is bundled in a project of its own.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { beforeAll, describe, expect, test } from 'vitest';
import { esbuildBundle, viteBundle } from '../helpers/bundles.js';
import { type Installed, installed, node, root, tool } from '../helpers/installed.js';
import { PATIENCE } from '../helpers/once.js';

/** Bytes of the package without models: two WebAssembly builds, JavaScript, types, source maps. */
const CODE_BYTES = 4e6;

let made: Installed;
beforeAll(async () => {
  made = await installed();
}, PATIENCE);

describe('the packed package', () => {
  test('holds what is built, the models and documents, and nothing else', () => {
    const other = made.files
      .map(({ path }) => path)
      .filter(
        (path) =>
          !/^(dist|models|configs)\/|^(package\.json|LICENSE|README(\.ko)?\.md|CHANGELOG\.md)$/.test(path),
      );
    expect(other).toEqual([]);
    const paths = made.files.map(({ path }) => path);
    expect(paths.filter((path) => /test|\.npy$|checkpoint\.(?!js|d\.ts)|\.tmp$/.test(path))).toEqual([]);
    for (const build of ['relaxed', 'strict'])
      expect(paths).toContain(`dist/kernels/cpu/kernels.${build}.wasm`);
  });

  test(`has at most ${CODE_BYTES / 1e6} MB of code`, () => {
    const code = made.files.filter(({ path }) => !path.startsWith('models/'));
    expect(code.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(CODE_BYTES);
  });

  test('publint finds nothing to say', async () => {
    const tarball = await readFile(made.tarball);
    const { messages, pkg } = await publint({
      pack: { tarball: new Uint8Array(tarball).buffer },
      level: 'suggestion',
    });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  test(
    'its types resolve as ES modules in Node and in bundlers (are the types wrong?)',
    async () => {
      const attw = await tool('@arethetypeswrong/cli', 'attw');
      const args = [attw, made.tarball, '--profile', 'esm-only', '--no-definitely-typed', '--format', 'json'];
      const { stdout, stderr, code } = await node(args, { cwd: root, timeout: PATIENCE });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const { analysis } = JSON.parse(stdout);
      const ignored = ['node10', 'node16-cjs'];
      const problems = analysis.problems.filter(
        ({ resolutionKind }: { resolutionKind?: string }) => !ignored.includes(resolutionKind ?? ''),
      );
      expect(problems).toEqual([]);
      expect(Object.keys(analysis.entrypoints)).toEqual(
        expect.arrayContaining(['.', './nn', './train', './tasks', './inspect', './worker']),
      );
    },
    PATIENCE,
  );

  test('a script with one attention() call computes, and ends by itself', async () => {
    const { code, stdout, stderr, killed } = await node(['one-call.mjs'], {
      cwd: made.project,
      timeout: 120_000,
    });
    expect({ code, stderr, killed }).toEqual({ code: 0, stderr: '', killed: false });
    const { output, row } = JSON.parse(stdout);
    // Weights of the last query: 1 and e^(ln 3) = 3, of 4.
    expect(row[0]).toBeCloseTo(0.25, 6);
    expect(row[1]).toBeCloseTo(0.75, 6);
    expect(output[0]).toBe(10);
    expect(output[1]).toBeCloseTo(0.25 * 10 + 0.75 * 20, 5);
  }, 130_000);
});

const FROM_COMMON_JS = `
  const { attention } = require('fovea');
  const q = { data: new Float32Array(8), shape: [2, 4] };
  attention(q, q, q, { causal: true }).then(
    ({ output }) => console.log(output.shape.join()),
    (error) => console.log(error.code, error.message),
  );`;

describe('from CommonJS', () => {
  test('require() gives the whole of it', async () => {
    await writeFile(join(made.project, 'required.cjs'), FROM_COMMON_JS);
    const { code, stdout } = await node(['required.cjs'], { cwd: made.project, timeout: 120_000 });
    expect({ code, stdout }).toEqual({ code: 0, stdout: '2,4\n' });
  }, 130_000);

  test('a bundle that knows no address of its own tells what to configure', async () => {
    const outfile = join(made.project, 'bundled.cjs');
    const stdin = { contents: FROM_COMMON_JS, resolveDir: made.project };
    await build({ stdin, outfile, bundle: true, platform: 'node', format: 'cjs', logLevel: 'silent' });
    const { code, stdout } = await node([outfile], { cwd: made.project, timeout: 120_000 });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^FOVEA_ENGINE no engine starts here: .*configure\(\{ wasmUrl, workerUrl \}\)/);
  }, 130_000);
});

/** Consumers of the types; libraries are checked too. */
const CONSUMERS = {
  'NodeNext, without the DOM': { module: 'NodeNext', lib: ['ES2022'], types: ['node'] },
  'Bundler, without Node': {
    module: 'ESNext',
    moduleResolution: 'Bundler',
    lib: ['ES2022', 'DOM'],
    types: [],
  },
};

describe('types', () => {
  test.each(Object.entries(CONSUMERS))(
    'all entry points type-check strictly: %s',
    async (name, options) => {
      const config = join(made.project, `tsconfig.${name.split(',')[0]}.json`);
      const compilerOptions = {
        ...options,
        target: 'ES2022',
        strict: true,
        noEmit: true,
        skipLibCheck: false,
        typeRoots: [join(root, 'node_modules/@types')],
      };
      await writeFile(config, JSON.stringify({ compilerOptions, files: ['types.ts'] }));
      const tsc = await tool('typescript', 'tsc');
      const { code, stdout } = await node([tsc, '-p', config], { cwd: made.project, timeout: PATIENCE });
      expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    },
    PATIENCE,
  );
});

/** Names of a bundle's files, without hashes. */
async function names(folder: string): Promise<string[]> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((file) =>
    file.isFile(),
  );
  return files.map(({ name }) => name.replace(/-[\w-]{8}(?=\.\w+$)/, '')).sort();
}

async function scripts(folder: string): Promise<string> {
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.js'));
  return (await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')))).join('\n');
}

describe('bundled for browsers', () => {
  test(
    'Vite carries workers and kernels along, without a warning',
    async () => {
      const { folder, warnings } = await viteBundle();
      expect(warnings).toEqual([]);
      const files = await names(folder);
      expect(files).toEqual(
        expect.arrayContaining(['index.html', 'kernels.relaxed.wasm', 'kernels.strict.wasm']),
      );
      expect(files.filter((name) => /^(worker|thread)\.js$/.test(name))).toEqual(['thread.js', 'worker.js']);
      expect(await scripts(folder)).not.toMatch(/["'`]node:/);
    },
    PATIENCE,
  );

  test(
    'esbuild takes fovea/worker and fovea/wasm/*.wasm as they are, without a warning',
    async () => {
      const { folder, warnings } = await esbuildBundle();
      expect(warnings).toEqual([]);
      const kernels = ['kernels.relaxed.wasm', 'kernels.strict.wasm'];
      expect(await names(folder)).toEqual(['index.html', ...kernels, 'main.js', 'worker.js']);
      expect(await scripts(folder)).not.toMatch(/["'`]node:/);
    },
    PATIENCE,
  );
});
