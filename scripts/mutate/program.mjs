// The program that is mutated, in a folder of its own: kernels compiled without optimisation beyond constants (one
// instruction for one operation of the source) with their source map, dispatch with its choices written in, and the properties as one file.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { scriptMutants } from './script-points.mjs';
import { parseModule, parseSourceMap } from './wasm.mjs';
import { wasmMutants } from './wasm-points.mjs';

/** Exports of the kernels that are mutated, with everything they call. */
const KERNELS = /^attention/;
/** Modules of dist/ that are mutated: the ops over the kernels, their argument slots, and the way from host arrays and back. */
const DISPATCH = [
  /^engine\/ops\/attention.*\.js$/,
  /^kernels\/cpu\/attention.*\.js$/,
  /^map\/(call|parts|portions|boxes|forward|backward-parts)\.js$/,
];
/** Functions that only read ahead into the cache, in KERNELS' sources: nothing depends on what they do. */
const READING_AHEAD = /^(export )?function warm/;
const PROPERTIES = 'test/kernels/properties/index.ts';

const hashOf = (...contents) => {
  const hash = createHash('sha256');
  for (const content of contents) hash.update(content);
  return hash.digest('hex').slice(0, 16);
};

/** Makes `folder` and returns a hash of all that decides an outcome, the kernels, the dispatch and the properties. */
export async function makeProgram(root, folder) {
  rmSync(join(folder, 'dist'), { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  const { name, type, imports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, type, imports }));
  compileKernels(root, folder);
  rewriteDispatch(folder);
  await bundleProperties(root, folder);
  hashSources(root, folder);
  return hashOf(
    ...['kernels.wasm', 'dispatch.json', 'properties.mjs'].map((file) => readFileSync(join(folder, file))),
  );
}

/** A mutant's name has the hash of its file: it stays the same mutant while that file stays the same. */
function hashSources(root, folder) {
  const { sources } = JSON.parse(readFileSync(join(folder, 'kernels.wasm.map'), 'utf8'));
  const dispatch = JSON.parse(readFileSync(join(folder, 'dispatch.json'), 'utf8'));
  const files = new Set([...sources, ...dispatch.map(({ file }) => file)]);
  const own = [...files].filter((file) => existsSync(join(root, file)));
  const told = own.map((file) => {
    const code = readFileSync(join(root, file), 'utf8');
    return [file, { hash: hashOf(code), ahead: linesAhead(code.split('\n')) }];
  });
  writeFileSync(join(folder, 'sources.json'), JSON.stringify(Object.fromEntries(told)));
}

/** Numbers of the lines within functions that read ahead. */
function linesAhead(lines) {
  let inside = false;
  return lines.flatMap((line, n) => {
    inside = READING_AHEAD.test(line) || (inside && line !== '}');
    return inside ? [n + 1] : [];
  });
}

function compileKernels(root, folder) {
  const source = join(root, 'src/kernels/cpu/assembly');
  const hash = hashOf(...readdirSync(source).flatMap((file) => [file, readFileSync(join(source, file))]));
  const stamp = join(folder, 'kernels.hash');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  const flags =
    '-O0 --runPasses precompute,vacuum --noAssert --sourceMap --runtime stub --importMemory --sharedMemory --initialMemory 2';
  const more = '--maximumMemory 65536 --enable simd --enable threads --use abort= --disableWarning 112';
  const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
  const entry = 'src/kernels/cpu/assembly/index.ts';
  const args = [asc, entry, '-o', join(folder, 'kernels.wasm'), ...flags.split(' '), ...more.split(' ')];
  execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  writeFileSync(stamp, hash);
}

function rewriteDispatch(folder) {
  const dist = join(folder, 'dist');
  const all = [];
  for (const file of readdirSync(dist, { recursive: true }).sort()) {
    if (!DISPATCH.some((pattern) => pattern.test(file))) continue;
    const code = readFileSync(join(dist, file), 'utf8');
    const { mutants, code: changed } = scriptMutants(code, all.length + 1);
    all.push(...mutants.map((mutant) => ({ ...mutant, file: `dist/${file}` })));
    writeFileSync(join(dist, file), changed);
  }
  writeFileSync(join(folder, 'dispatch.json'), JSON.stringify(all));
}

/** The built package stays outside the bundle: workers and the mutated modules are those of `folder`. */
async function bundleProperties(root, folder) {
  const own = {
    name: 'built',
    setup(plugin) {
      plugin.onResolve({ filter: /\/dist\/.*\.js$/ }, ({ path }) => ({
        path: `./dist/${path.split('/dist/')[1]}`,
        external: true,
      }));
    },
  };
  await build({
    entryPoints: [join(root, PROPERTIES)],
    outfile: join(folder, 'properties.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    plugins: [own],
    logLevel: 'error',
  });
}

/** Every mutant of what makeProgram left in `folder`: { id, file, line, column, kind, what } and how to make it. */
export function listMutants(folder) {
  const read = (file) => JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const module = parseModule(new Uint8Array(readFileSync(join(folder, 'kernels.wasm'))));
  const map = parseSourceMap(read('kernels.wasm.map'));
  const sources = read('sources.json');
  const names = [...module.exports.keys()].filter((name) => KERNELS.test(name));
  const kernels = wasmMutants(module, names).map((mutant) => {
    const at = locate(map, mutant.at);
    const [, file, line, column] = map[at];
    return { ...mutant, file, line, column, within: callerOf(map, at, mutant.fn), module };
  });
  const isAhead = ({ file, line }) => sources[file]?.ahead.includes(line);
  const ahead = new Set(kernels.filter(isAhead).map(({ fn }) => fn));
  const counted = kernels.filter(({ fn }) => !ahead.has(fn));
  const seen = new Map();
  return [...counted, ...read('dispatch.json')].map((mutant) => {
    const { file, line, column, what } = mutant;
    const name = `${sources[file]?.hash} ${file}:${line}:${column} ${what}`;
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return { ...mutant, id: `${name} ${seen.get(name)}` };
  });
}

/** Of an inlined function's code: the line that calls it, the last in the compiled function that is of another file. */
function callerOf(map, at, { start }) {
  const [, own] = map[at];
  for (let n = at; n >= 0 && map[n][0] >= start; n--) {
    const [, file, line] = map[n];
    if (file !== own) return `${file}:${line}`;
  }
  return undefined;
}

/** Index of the last entry of a source map at or before an offset. */
function locate(map, offset) {
  let low = 0;
  let high = map.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (map[middle][0] <= offset) low = middle;
    else high = middle;
  }
  return low;
}
