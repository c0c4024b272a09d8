// Builds dist/: TypeScript with tsc, kernels with AssemblyScript in two SIMD builds, the page with Vite.
// `--kernels`, `--types` or `--page` builds only that part. Unchanged kernels are not compiled again.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync, transformSync } from 'esbuild';
import { compileKernels } from './kernels.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const only = process.argv[2];
const node = (script, args) =>
  execFileSync(process.execPath, [join(root, 'node_modules', script), ...args], {
    cwd: root,
    stdio: 'inherit',
  });

const assembly = join(root, 'src/kernels/cpu/assembly');
const out = join(root, 'dist/kernels/cpu');

/** What the wasm files depend on: the sources and what compiles them. */
function sourceHash() {
  const hash = createHash('sha256').update(readFileSync(join(root, 'scripts/kernels.mjs')));
  for (const name of readdirSync(assembly).sort())
    hash.update(name).update(readFileSync(join(assembly, name)));
  return hash.digest('hex');
}

function buildKernels() {
  const stamp = join(out, 'kernels.hash');
  const hash = sourceHash();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  mkdirSync(out, { recursive: true });
  for (const build of ['relaxed', 'strict']) compileKernels(build, join(out, `kernels.${build}.wasm`));
  writeFileSync(stamp, hash);
}

function buildTypes() {
  node('typescript/bin/tsc', ['-p', 'tsconfig.json']);
  // The script and style of the HTML files that drawHtml() makes, as texts of one module.
  const { outputFiles } = buildSync({
    entryPoints: [join(root, 'dist/inspect/page/main.js')],
    bundle: true,
    minify: true,
    charset: 'utf8',
    target: 'es2022',
    write: false,
  });
  const css = readFileSync(join(root, 'src/inspect/page/style.css'), 'utf8');
  const style = transformSync(css, { loader: 'css', minify: true, charset: 'utf8' }).code;
  const texts = { script: outputFiles[0].text.trim(), style: style.trim() };
  const lines = Object.entries(texts).map(
    ([name, text]) => `export const ${name} = ${JSON.stringify(text)};\n`,
  );
  writeFileSync(join(root, 'dist/inspect/page-source.js'), lines.join(''));
}

/** The custom elements that other pages import, and the page of `fovea view` bundled. */
function buildPage() {
  node('typescript/bin/tsc', ['-p', 'viewer/elements/tsconfig.json']);
  node('typescript/bin/tsc', ['-p', 'viewer/tsconfig.json']);
  node('vite/bin/vite.js', ['build', '--config', 'viewer/vite.config.js', '--logLevel', 'warn']);
}

const wanted = (part) => only === undefined || only === part;
if (wanted('--kernels')) buildKernels();
if (wanted('--types')) buildTypes();
if (wanted('--page')) buildPage();
