// The README's textbook function runs as it stands there, and both languages show the same code and links.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { transformSync } from 'esbuild';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const blocks = (text: string) => [...text.matchAll(/```\w*\n([\s\S]*?)```/g)].map((match) => match[1]);
const withoutComments = (code: string) => code.replace(/\s*(\/\/|#).*$/gm, '');

type Attend = (
  querys: number[][],
  keys: number[][],
  values: number[][],
  is_causal?: boolean,
) => Promise<{ data: Float32Array; shape: number[] }>;

/** The code block that defines attend(), as a module over the built package. */
async function textbookFunction(): Promise<Attend> {
  const code = blocks(read('README.md')).find((block) => block.includes('function attend('));
  if (!code) throw new Error('README.md: no code block defines attend()');
  const built = pathToFileURL(join(root, 'dist/index.js')).href;
  const folder = mkdtempSync(join(tmpdir(), 'fovea-readme-'));
  try {
    const file = join(folder, 'attend.mjs');
    writeFileSync(
      file,
      transformSync(code, { loader: 'ts' }).code.replace(/(["'])fovea\1/, JSON.stringify(built)),
    );
    return (await import(pathToFileURL(file).href)).attend;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The textbook, in float64: softmax of scaled products, then the mean of values. */
function plain(q: number[][], k: number[][], v: number[][], causal: boolean): number[] {
  return q.flatMap((query, i) => {
    const scores = k.map((key, j) =>
      causal && j > i
        ? -Infinity
        : key.reduce((sum, x, d) => sum + x * query[d], 0) / Math.sqrt(query.length),
    );
    const weights = scores.map(Math.exp);
    const total = weights.reduce((a, b) => a + b);
    return v[0].map((_, d) => weights.reduce((sum, w, j) => sum + (w / total) * v[j][d], 0));
  });
}

test.each([false, true])('the textbook function of the README, is_causal=%s, within 1e-6', async (causal) => {
  const attend = await textbookFunction();
  const rows = (seed: number) =>
    [0, 1, 2].map((i) => [0, 1, 2, 3].map((d) => Math.sin(seed + 5 * i + 3 * d)));
  const [q, k, v] = [rows(1), rows(2), rows(3)];
  const { data, shape } = await attend(q, k, v, causal);
  expect(shape).toEqual([3, 4]);
  const expected = plain(q, k, v, causal);
  expect(Math.max(...expected.map((x, n) => Math.abs(x - data[n])))).toBeLessThan(1e-6);
});

test('README.md and README.ko.md show the same code, headings, images and links', () => {
  const outline = (text: string) => ({
    code: blocks(text).map(withoutComments),
    headings: [...text.matchAll(/^#+ /gm)].map(([marks]) => marks),
    links: [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link.replace('README.ko.md', 'README.md')),
    rows: [...text.matchAll(/^\|/gm)].length,
  });
  const [english, korean] = [outline(read('README.md')), outline(read('README.ko.md'))];
  expect(korean.code).toEqual(english.code);
  expect(korean.headings).toEqual(english.headings);
  expect(new Set(korean.links)).toEqual(new Set(english.links));
  expect(korean.rows).toBe(english.rows);
});
