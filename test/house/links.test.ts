// Documents name only files that exist.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

function deadLinks(document: string): string[] {
  const text = readFileSync(join(root, document), 'utf8');
  const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)|(?:src|href)="([^"#]+)"/g)].map(
    (m) => m[1] ?? m[2],
  );
  const paths = [...text.matchAll(/`((?:src|test|bench|scripts|docs|models)\/[\w./*-]+)`/g)].map((m) => m[1]);
  const local = links
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => join(root, dirname(document), link));
  const named = paths.filter((path) => !path.includes('*')).map((path) => join(root, path));
  return [...local, ...named].filter((path) => !existsSync(path)).map((path) => relative(root, path));
}

test.each(documents)('%s links to nothing that is not there', (document) => {
  expect(deadLinks(document)).toEqual([]);
});
