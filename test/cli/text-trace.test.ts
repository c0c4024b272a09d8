// A text file as a trace: what is refused, and that the file's words arrive.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { traceTextFile } from '../../dist/cli/text-trace.js';
import { openTrace } from '../../dist/index.js';

vi.setConfig({ testTimeout: 120_000 });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fovea-text-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(bytes: string | Uint8Array): Promise<string> {
  const path = join(folder, 'book.txt');
  await writeFile(path, bytes);
  return path;
}
const options = { model: 'en-fr', threads: 1 };

test.each([
  ['an empty file', '', /book\.txt: expected a text of at least two words, got none/],
  ['one word', 'Alone\n', /book\.txt: expected a text of at least two words, got one/],
  ['a binary file', 'PNG\0\0\u0001 words', /book\.txt: expected text in UTF-8, got a binary file/],
  ['Latin-1', Uint8Array.of(0x63, 0x61, 0x66, 0xe9, 0x20, 0x62), /book\.txt: expected text in UTF-8/],
  ['half a character at the end', Uint8Array.of(0x61, 0x20, 0x62, 0xc3), /expected text in UTF-8/],
])('%s is a FileFormatError that names the file', async (_, bytes, message) => {
  const error = await traceTextFile(await file(bytes), options).catch((caught) => caught);
  expect(error).toMatchObject({ code: 'FOVEA_FILE_FORMAT', message: expect.stringMatching(message) });
});

test('a folder, a missing file, one over 32 MiB and a missing model are refused', async () => {
  const refused = (path: string, model = 'en-fr') =>
    traceTextFile(path, { model, threads: 1 }).catch((caught) => caught);
  expect(await refused(folder)).toMatchObject({ code: 'FOVEA_FILE_FORMAT' });
  expect(await refused(join(folder, 'none.txt'))).toMatchObject({ code: 'ENOENT' });
  const large = await refused(await file(new Uint8Array((32 << 20) + 1).fill(0x61)));
  expect(large).toMatchObject({
    code: 'FOVEA_LIMIT',
    message: expect.stringMatching(/at most 33554432 bytes/),
  });
  expect(await refused(await file('two words'), 'none')).toMatchObject({ code: 'FOVEA_OPTION' });
});

test('characters that lie across the pieces of a file stay whole; the bytes are a trace', async () => {
  const words = `é${' élan vital'.repeat(7000)}.`;
  const bytes = await traceTextFile(await file(words), options);
  const trace = await openTrace(bytes);
  expect(trace.texts.text.text).toBe(words);
  expect(trace.entries[0].shape).toEqual([1, 14_002, 14_002]);
  trace.dispose();
});

test('a signal ends it with its reason', async () => {
  const stopped = traceTextFile(await file('two words'), {
    ...options,
    signal: AbortSignal.abort(new Error('enough')),
  });
  await expect(stopped).rejects.toThrow('enough');
});
