// The examples of README.md and docs/ run as they stand there: fovea's own command lines, TypeScript and JSON. (The Python one
// runs in test/map/trace.test.ts, that of the page's elements in test/browser/elements.test.ts.)
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { transformSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createTrace, openTrace, saveTrace } from '../../dist/index.js';
import { serializeSafetensors } from '../../dist/tensor/safetensors.js';

// A process an example: slow on a busy machine.
vi.setConfig({ testTimeout: 300_000 });

const root = join(import.meta.dirname, '../..');
const main = join(root, 'dist/cli/main.js');
const documents = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)].filter(
  (name) => name.endsWith('.md'),
);
const read = (name: string) => readFileSync(join(root, name), 'utf8');

function blocks(document: string, language: string): string[] {
  return [...read(document).matchAll(/^```(\w*)\n([\s\S]*?)^```/gm)]
    .filter((match) => match[1] === language)
    .map((match) => match[2]);
}

/** Where examples run: what they read is there, and `fovea` installed. */
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fovea-docs-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/fovea'));
  const x = { shape: [1, 3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
  const trace = createTrace({ entries: [{ name: 'layer.0', q: x, k: x }] });
  for (const name of ['trace', 'rain', 'a', 'b'])
    writeFileSync(join(folder, `${name}.safetensors`), await saveTrace(trace));
  writeFileSync(join(folder, 'english.txt'), 'It is raining.\n');
  writeFileSync(join(folder, 'test.tsv'), 'It is raining.\tIl pleut.\n');
  for (const name of ['book.txt', 'five-books.txt'])
    writeFileSync(join(folder, name), 'A book. It is short.');
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

/** Runs Node in the folder; Ctrl-C comes with the first line of what never ends. */
function node(args: string[], endless = false): Promise<Outcome> {
  const child = spawn(process.execPath, args, { cwd: folder });
  child.stdin.end();
  let [out, err] = ['', ''];
  child.stdout.on('data', (bytes) => {
    out += bytes;
    if (endless && out.includes('\n')) child.kill('SIGINT');
  });
  child.stderr.on('data', (bytes) => {
    err += bytes;
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })));
}

/** Command lines of fovea, without comments and what the shell does with the output. */
const lines = documents.flatMap((document) =>
  ['', 'sh'].flatMap((language) =>
    blocks(document, language).flatMap((block) =>
      [...block.matchAll(/^(?:npx )?fovea (.+?)(?: +[>#].*)?$/gm)].map(([, line]) => ({ document, line })),
    ),
  ),
);

describe('command lines', () => {
  test('are found', () => {
    expect(lines.length).toBeGreaterThan(8);
  });

  // Training takes hours, its parts are tested elsewhere.
  const short = lines.filter(({ line }) => !line.startsWith('train '));
  test.each(short)('$document: fovea $line', async ({ line }) => {
    const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain);
    const args = words
      .filter((word) => word !== '--open')
      .map((word) => (word.startsWith('models/') ? join(root, word) : word));
    const { code, out, err } = await node([main, ...args], args[0] === 'view');
    expect({ code, err: err.replace(/^.* written\n/gm, '') }).toEqual({ code: 0, err: '' });
    expect(out).not.toBe('');
    for (const [, file] of line.matchAll(/--(?:svg|png|html|trace) (\S+)/g))
      expect(existsSync(join(folder, file)), file).toBe(true);
  });
});

/** What the examples of a document call their own without making it. */
const GIVEN: Record<string, string> = {
  'README.md': `
    const random = (length) => ({ shape: [length, 8], data: Float32Array.from({ length: 8 * length }, Math.random) });
    const [q, k, v] = [random(300), random(800), random(800)];`,
  'docs/reading-attention.md': `
    import { drawSvg } from 'fovea/inspect';
    const map = await (await openTrace('rain.safetensors')).entries[0].map();`,
};

test.each(Object.keys(GIVEN))('the TypeScript of %s runs, all of it', async (document) => {
  const code = blocks(document, 'ts')
    .join('\n')
    .replaceAll(/^import \{ attention, configure \}.*$/gm, '');
  const file = join(folder, `${document.replaceAll('/', '-')}.mjs`);
  writeFileSync(file, transformSync(GIVEN[document] + code, { loader: 'ts' }).code);
  expect(await node([file])).toMatchObject({ code: 0, err: '' });
});

test('no other document has TypeScript that nothing runs', () => {
  const others = documents.filter((name) => !(name in GIVEN) && blocks(name, 'ts').length > 0);
  expect(others).toEqual(['docs/page.md']);
});

test('the JSON of docs/trace-format.md opens as a trace', async () => {
  const [json] = blocks('docs/trace-format.md', 'json');
  const tensor = { shape: [2, 6, 4], data: new Float32Array(48) };
  const names = ['q', 'k'].map((part) => [`encoder.2.selfAttention.${part}`, tensor] as const);
  const trace = await openTrace(serializeSafetensors(names, [['fovea', json]]));
  expect(trace.texts.source.words).toHaveLength(6);
  expect(trace.entries[0].options).toEqual({ scale: 0.125 });
  trace.dispose();
});

test('the JSON of docs/page.md names a model and a trace', () => {
  const [json] = blocks('docs/page.md', 'json');
  expect(Object.keys(JSON.parse(json))).toEqual(['model', 'trace']);
});
