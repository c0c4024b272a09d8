// `fovea view` as its user meets it: a process that prints an address, serves the page there, and ends at Ctrl-C.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCommand } from '../../dist/cli/view.js';
import { createTrace, openTrace, saveTrace } from '../../dist/index.js';

const main = join(import.meta.dirname, '../../dist/cli/main.js');
let folder: string;
let trace: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fovea-view-'));
  trace = join(folder, 'a trace.safetensors');
  const q = { dtype: 'float32', shape: [1, 3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) } as const;
  writeFileSync(trace, await saveTrace(createTrace({ entries: [{ name: 'layer.0', q, k: q }] })));
  writeFileSync(join(folder, 'empty.safetensors'), await saveTrace(createTrace({ entries: [] })));
  writeFileSync(join(folder, 'text.safetensors'), 'no trace at all');
});

afterAll(() => rmSync(folder, { recursive: true }));

function view(...args: string[]): ChildProcess {
  return spawn(process.execPath, [main, 'view', ...args], { cwd: folder });
}

/** All that a process says until it ends. */
async function ended(child: ChildProcess): Promise<{ code: number | null; out: string; err: string }> {
  let [out, err] = ['', ''];
  child.stdout!.on('data', (bytes) => {
    out += bytes;
  });
  child.stderr!.on('data', (bytes) => {
    err += bytes;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, out, err };
}

/** Its first line. */
function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout!.on('data', (bytes) => {
      text += bytes;
      if (text.includes('\n')) resolve(text.split('\n')[0]);
    });
    child.once('close', (code) => reject(new Error(`ended with ${code}`)));
  });
}

describe('fovea view', () => {
  test('serves page, model and trace, and ends at Ctrl-C with exit 0', async () => {
    const child = view('a trace.safetensors', '--json');
    const { url } = JSON.parse(await firstLine(child));
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    expect(await (await fetch(url)).text()).toContain('<fovea-page>');
    const config = await (await fetch(new URL('page.json', url))).json();
    const model = await (await fetch(new URL(`${config.model}config.json`, url))).json();
    expect(model.format).toBe('fovea-model');
    const served = await openTrace(await (await fetch(new URL(config.trace, url))).blob());
    expect(served.entries.map(({ name }) => name)).toEqual(['layer.0']);
    const outcome = ended(child);
    child.kill('SIGINT');
    expect(await outcome).toMatchObject({ code: 0, err: '' });
  });

  test('of two traces, of one name too, the printed address names the second', async () => {
    mkdirSync(join(folder, 'other'));
    const q = { dtype: 'float32', shape: [1, 2, 2], data: Float32Array.of(1, 2, 3, 4) } as const;
    const bytes = await saveTrace(createTrace({ entries: [{ name: 'another', q, k: q }] }));
    writeFileSync(join(folder, 'other', 'a trace.safetensors'), bytes);
    const child = view('a trace.safetensors', join('other', 'a trace.safetensors'));
    const url = new URL(await firstLine(child));
    const { view: shown, trace2 } = Object.fromEntries(new URLSearchParams(url.hash.slice(1)));
    expect(shown).toBe('compare');
    const names = async (address: string) => {
      const { entries } = await openTrace(await (await fetch(new URL(address, url))).blob());
      return entries.map(({ name }) => name);
    };
    expect(await names((await (await fetch(new URL('page.json', url))).json()).trace)).toEqual(['layer.0']);
    expect(await names(trace2)).toEqual(['another']);
    const outcome = ended(child);
    child.kill('SIGINT');
    expect((await outcome).code).toBe(0);
  });

  test.each([
    ['linux', ['xdg-open', 'http://a/#b&c']],
    ['darwin', ['open', 'http://a/#b&c']],
    ['win32', ['rundll32', 'url.dll,FileProtocolHandler', 'http://a/#b&c']],
  ])('on %s the address goes to the browser whole, through no shell', (platform, command) => {
    expect(openCommand(platform, 'http://a/#b&c')).toEqual(command);
  });

  test('without a trace page.json names none', async () => {
    const child = view();
    const url = await firstLine(child);
    expect(await (await fetch(new URL('page.json', url))).json()).toEqual({ model: './model/' });
    const outcome = ended(child);
    child.kill('SIGTERM');
    expect((await outcome).code).toBe(0);
  });

  test.each([
    [['nothing.safetensors'], 1, /nothing\.safetensors: no such file/],
    [['.'], 1, /\.: is a folder, expected a trace file/],
    [['text.safetensors'], 1, /^fovea: text\.safetensors: safetensors: /],
    [['--model', '.'], 1, /config\.json: no such file/],
    [['empty.safetensors'], 1, /empty\.safetensors: the trace holds no attention/],
    [['--model', 'xx-yy'], 2, /unknown model xx-yy/],
    [['--port', '70000'], 2, /whole number from 1 to 65535/],
    [['--port', 'http'], 2, /whole number from 1 to 65535/],
    [['a trace.safetensors', 'nothing.safetensors'], 1, /nothing\.safetensors: no such file/],
    [['a trace.safetensors', '--text', 'text.safetensors'], 2, /expected a trace or --text, got both/],
    [['a', 'b', 'c'], 2, /too many arguments/],
  ])('fovea view %j fails with exit %i and one line', async (args, code, message) => {
    const outcome = await ended(view(...args));
    expect(outcome).toMatchObject({ code, out: '' });
    expect(outcome.err).toMatch(message);
    expect(outcome.err.trimEnd().split('\n')).toHaveLength(1);
  });

  test('of a model only its own files are served', async () => {
    const model = join(folder, 'model');
    mkdirSync(model);
    for (const name of ['config.json', 'model.safetensors', 'tokenizer.json', 'private.txt'])
      writeFileSync(join(model, name), name);
    const child = view('--model', 'model');
    const url = await firstLine(child);
    const status = async (path: string) => (await fetch(new URL(path, url))).status;
    expect(await status('model/tokenizer.json')).toBe(200);
    expect(await status('model/private.txt')).toBe(404);
    const outcome = ended(child);
    child.kill('SIGINT');
    expect((await outcome).code).toBe(0);
  });

  test('a port in use: exit 1, and how to choose another; before a text is read', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    writeFileSync(join(folder, 'one.txt'), 'alone');
    const { code, out, err } = await ended(view('--port', String(port), '--text', 'one.txt'));
    other.close();
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toBe(`fovea: port ${port} is in use; choose another with --port\n`);
  });
});
