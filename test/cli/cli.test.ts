// The command line, driven as a process.
import { type ChildProcess, spawn } from 'node:child_process';
import { cp, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openTrace } from '../../dist/index.js';
import { FRENCH, makeTinyModel, SENTENCES } from '../helpers/tiny-model.js';

// A process a check: slow on a busy machine.
vi.setConfig({ testTimeout: 300_000 });

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
let model: string;
let scratch: string;

beforeAll(async () => {
  model = await makeTinyModel();
  scratch = await mkdtemp(join(tmpdir(), 'fovea-cli-'));
}, 300_000);
afterAll(async () => {
  await rm(model, { recursive: true });
  await rm(scratch, { recursive: true });
});

interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

function start(args: string[], env: Record<string, string> = {}): ChildProcess {
  const { FORCE_COLOR, NO_COLOR, ...rest } = process.env;
  return spawn(process.execPath, [main, ...args], { env: { ...rest, ...env } });
}

function outcome(child: ChildProcess): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    let out = '';
    let err = '';
    child.stdout!.setEncoding('utf8').on('data', (text) => {
      out += text;
    });
    child.stderr!.setEncoding('utf8').on('data', (text) => {
      err += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
  });
}

function fovea(
  args: string[],
  input: string | Uint8Array = '',
  env: Record<string, string> = {},
): Promise<Outcome> {
  const child = start(args, env);
  child.stdin!.on('error', () => {});
  child.stdin!.end(input);
  return outcome(child);
}

/** One line on standard error, nothing on standard output. */
async function expectFailure(run: Promise<Outcome>, code: number, message: RegExp): Promise<void> {
  const { code: got, out, err } = await run;
  expect(err).toMatch(message);
  expect(err.trimEnd().split('\n')).toHaveLength(1);
  expect(err).toMatch(/^fovea: /);
  expect({ code: got, out }).toEqual({ code, out: '' });
}

describe('help and usage', () => {
  test.each([[[]], [['translate']], [['train']], [['evaluate']], [['view']]])(
    'fovea %j --help shows examples, exit 0',
    async (verb) => {
      const { code, out, err } = await fovea([...verb, '--help']);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(out).toMatch(/^Usage: fovea/);
      expect(out).toMatch(/Examples:\n {2}\$ fovea /);
    },
  );
  test('--version', async () => {
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await fovea(['--version'])).toMatchObject({ code: 0, out: `${version}\n` });
  });
  test('no verb: help on standard error, exit 2', async () => {
    expect(await fovea([])).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^Usage/) });
  });
  test.each([
    [['bogus'], /unknown command 'bogus'/],
    [['translate', '--bogus'], /unknown option '--bogus'/],
    [['translate', '--beam', '0', 'a'], /whole number from 1 to 64/],
    [['translate', '--beam', '2.5', 'a'], /whole number from 1 to 64/],
    [['translate', '--layer', '-1', 'a'], /whole number from 0/],
    [['translate', 'a', '--file', 'b'], /expected sentences or --file, got both/],
    [['translate', '--model', 'xx-yy', 'a'], /unknown model xx-yy/],
    [['translate', ''], /the sentence is blank/],
    [['translate', 'a', ' \t'], /sentence 2 is blank/],
    [['evaluate', 'en-fr'], /required option .*--data/],
    [['train'], /missing required argument/],
  ])('%j: one line, exit 2', async (args, message) => {
    await expectFailure(fovea(args), 2, message);
  });
  test('a layer or head the model has not: exit 2', async () => {
    await expectFailure(
      fovea(['translate', '--model', model, '--layer', '2', 'a']),
      2,
      /--layer 2: .* layers 0 to 1/,
    );
    await expectFailure(
      fovea(['translate', '--model', model, '--head', '4', 'a']),
      2,
      /--head 4: .* heads 0 to 3/,
    );
  });
});

describe('translate', () => {
  test('sentences, each followed by its map; no escape codes where there is no terminal', async () => {
    const { code, out, err } = await fovea(['translate', '--model', model, SENTENCES[2], SENTENCES[0]]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const [first, second] = out.split('\n\n').map((part) => part.trimEnd().split('\n'));
    expect([first[0], second[0]]).toEqual([FRENCH[2], FRENCH[0]]);
    expect(first[1].trim().split(/\s+/)).toEqual([
      'Who',
      'is',
      'taking',
      'responsibility',
      'for',
      'the',
      'loss',
      '?',
    ]);
    expect(first.slice(2).map((line) => line.trim().split(/\s+/)[0])).toEqual(FRENCH[2].split(' '));
    expect(out).not.toContain('\x1b');
  });
  test('FORCE_COLOR gives truecolor; NO_COLOR wins', async () => {
    const args = ['translate', '--model', model, SENTENCES[0]];
    expect((await fovea(args, '', { FORCE_COLOR: '3' })).out).toMatch(
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
      /\x1b\[38;2;\d+;\d+;\d+;48;2;\d+;\d+;\d+m/,
    );
    expect((await fovea(args, '', { FORCE_COLOR: '3', NO_COLOR: '1' })).out).not.toContain('\x1b');
  });
  test('--no-attention: translations alone; --layer and --head change the map', async () => {
    const args = ['translate', '--model', model, SENTENCES[0]];
    expect((await fovea([...args, '--no-attention'])).out).toBe(`${FRENCH[0]}\n`);
    const [mean, head] = await Promise.all([fovea(args), fovea([...args, '--layer', '1', '--head', '3'])]);
    expect(head.out).not.toBe(mean.out);
    expect(head.out.split('\n')[0]).toBe(FRENCH[0]);
  });
  test('--json: tokens, score, attention by layer and head, alignment', async () => {
    const { code, out } = await fovea(['translate', '--model', model, '--json', SENTENCES[0], SENTENCES[1]]);
    expect(code).toBe(0);
    const [one, two] = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect([one.source, one.translation, two.translation]).toEqual([SENTENCES[0], FRENCH[0], FRENCH[1]]);
    expect(one.sourceTokens.slice(0, -1).join('')).toBe(` ${SENTENCES[0]}`);
    expect(one.tokens.slice(0, -1).join('')).toBe(` ${FRENCH[0]}`);
    expect([one.sourceTokens.at(-1), one.tokens.at(-1)]).toEqual(['</s>', '</s>']);
    expect([one.attention.length, one.attention[0].length]).toEqual([2, 4]);
    expect([one.attention[1][3].length, one.attention[1][3][0].length]).toEqual([
      one.tokens.length,
      one.sourceTokens.length,
    ]);
    expect(one.score).toBeLessThan(0);
    expect(one.words).toEqual(['Je', 'vois', 'la', 'maison', 'rouge', '.']);
    expect(one.alignment).toHaveLength(6);
    const bare = JSON.parse(
      (await fovea(['translate', '--model', model, '--json', '--no-attention', SENTENCES[0]])).out,
    );
    expect(bare.attention).toBeUndefined();
  });
  test('standard input and --file, line for line; blank lines stay', async () => {
    const text = `${SENTENCES[0]}\n\n ${SENTENCES[1]}\r\n\t\n${SENTENCES[3]}\n\n`;
    const expected = `${FRENCH[0]}\n\n${FRENCH[1]}\n\n${FRENCH[3]}\n\n`;
    expect(await fovea(['translate', '--model', model], text)).toEqual({
      code: 0,
      signal: null,
      out: expected,
      err: '',
    });
    const path = join(scratch, 'english.txt');
    await writeFile(path, `\ufeff${text.trimEnd()}`);
    expect((await fovea(['translate', '--model', model, '--file', path])).out).toBe(
      `${expected.trimEnd()}\n`,
    );
    const json = (await fovea(['translate', '--model', model, '--json', '--no-attention'], text)).out
      .trimEnd()
      .split('\n');
    expect(json.map((line) => JSON.parse(line)?.translation ?? null)).toEqual([
      FRENCH[0],
      null,
      FRENCH[1],
      null,
      FRENCH[3],
      null,
    ]);
  });
  test('results stream: the first comes before the input ends', async () => {
    const child = start(['translate', '--model', model]);
    const done = outcome(child);
    child.stdin!.write(`${SENTENCES[0]}\n`);
    const first = await new Promise<string>((resolve) => child.stdout!.once('data', resolve));
    expect(first).toBe(`${FRENCH[0]}\n`);
    child.stdin!.end(`${SENTENCES[1]}\n`);
    expect(await done).toMatchObject({ code: 0, out: `${FRENCH[0]}\n${FRENCH[1]}\n` });
  });
  test('a client that awaits each answer before it writes on gets every one', async () => {
    const child = start(['translate', '--model', model]);
    const done = outcome(child);
    for (const [i, sentence] of SENTENCES.entries()) {
      const answer = new Promise<string>((resolve) => child.stdout!.once('data', resolve));
      child.stdin!.write(`${sentence}\n`);
      expect(await answer).toBe(`${FRENCH[i]}\n`);
    }
    child.stdin!.end();
    expect(await done).toMatchObject({ code: 0, err: '' });
  }, 60_000);
  test('a blank line is answered at once, before and between sentences', async () => {
    const child = start(['translate', '--model', model]);
    const done = outcome(child);
    for (const [line, expected] of [
      ['', ''],
      [SENTENCES[0], FRENCH[0]],
      [' ', ''],
      [SENTENCES[1], FRENCH[1]],
    ]) {
      const answer = new Promise<string>((resolve) => child.stdout!.once('data', resolve));
      child.stdin!.write(`${line}\n`);
      expect(await answer).toBe(`${expected}\n`);
    }
    child.stdin!.end();
    expect(await done).toMatchObject({ code: 0, err: '' });
  }, 60_000);
  test('a failure ends it though the input is open', async () => {
    const child = start(['translate', '--model', model]);
    const done = outcome(child);
    child.stdin!.write(`${SENTENCES[0]}\n${'house '.repeat(10_000)}\n`);
    expect(await done).toMatchObject({ code: 1, out: `${FRENCH[0]}\n` });
  }, 60_000);
  test('a reader that stops reading is no failure', async () => {
    const child = start(['translate', '--model', model]);
    child.stdin!.on('error', () => {});
    child.stdin!.end(`${SENTENCES[0]}\n`.repeat(500));
    const done = outcome(child);
    child.stdout!.once('data', () => child.stdout!.destroy());
    expect(await done).toMatchObject({ code: 0, err: '' });
  });
  test.skipIf(process.platform !== 'linux')(
    'a full disk under standard output: one line, exit 1 (Linux)',
    async () => {
      const full = await open('/dev/full', 'w');
      const child = spawn(process.execPath, [main, 'translate', '--model', model, SENTENCES[0]], {
        stdio: ['ignore', full.fd, 'pipe'],
      });
      let err = '';
      child.stderr!.setEncoding('utf8').on('data', (text) => {
        err += text;
      });
      const code = await new Promise((resolve) => child.on('close', resolve));
      await full.close();
      expect({ code, err }).toEqual({ code: 1, err: 'fovea: no space left on the disk\n' });
    },
  );
  test('Ctrl-C ends it', async () => {
    const child = start(['translate', '--model', model]);
    const done = outcome(child);
    child.stdin!.write(`${SENTENCES[0]}\n`);
    await new Promise((resolve) => child.stdout!.once('data', resolve));
    child.kill('SIGINT');
    expect(await done).toMatchObject({ code: 130 });
  });
});

describe('translate --trace', () => {
  test('writes all attention of one sentence, whole or not at all, and prints what it does without', async () => {
    const path = join(scratch, 'one.safetensors');
    const plain = await fovea(['translate', '--model', model, SENTENCES[0]]);
    const traced = await fovea(['translate', '--model', model, SENTENCES[0], '--trace', path]);
    expect(traced).toEqual({ ...plain, code: 0, err: '' });
    const trace = await openTrace(path);
    expect(trace.texts.source.text).toBe(SENTENCES[0]);
    expect(trace.texts.output.text).toBe(FRENCH[0]);
    expect(trace.entries).toHaveLength(6);
    const [H, Lq, Lk] = trace.entries[3].shape;
    expect((await (await trace.entries[3].map()).toTensor()).shape).toEqual([1, H, Lq, Lk]);
    trace.dispose();
    expect((await readdir(scratch)).filter((name) => name.startsWith('one'))).toEqual(['one.safetensors']);
  });

  test('several sentences, none, and a place that is not there', async () => {
    const path = join(scratch, 'none.safetensors');
    const usage = /--trace takes one sentence, given on the command line/;
    const verb = ['translate', '--model', model, '--trace', path];
    await expectFailure(fovea([...verb, 'I see.', 'You see.']), 2, usage);
    await expectFailure(fovea(verb, 'I see.'), 2, usage);
    const away = join(scratch, 'not', 'there.safetensors');
    const { code, err } = await fovea(['translate', '--model', model, 'I see.', '--trace', away]);
    expect(code).toBe(1);
    expect(err).toContain(`${away}: no such file or folder`);
    expect((await readdir(scratch)).filter((name) => name.startsWith('none'))).toEqual([]);
  });
});

describe('translate --svg, --png, --html', () => {
  const at = (name: string) => join(scratch, name);

  test('one sentence: three files, what is printed stays the same, standard error names them', async () => {
    const plain = await fovea(['translate', '--model', model, SENTENCES[0]]);
    await writeFile(at('drawn.svg'), 'old');
    const names = ['drawn.svg', 'drawn.png', 'drawn.html'].map(at);
    const flags = ['--svg', names[0], '--png', names[1], '--html', names[2]];
    const drawn = await fovea(['translate', '--model', model, SENTENCES[0], ...flags]);
    expect(drawn).toEqual({ ...plain, code: 0, err: names.map((name) => `${name} written\n`).join('') });
    const [svg, png, html] = await Promise.all(names.map((name) => readFile(name)));
    expect(svg.toString()).toMatch(
      /^<svg [\s\S]*mean of all layers and heads[\s\S]*>rouge<\/text>[\s\S]*<\/svg>\n$/,
    );
    expect([...png.subarray(0, 4)]).toEqual([0x89, 0x50, 0x4e, 0x47]);
    expect(html.toString()).toContain(`<title>${FRENCH[0]}</title>`);
    expect((await readdir(scratch)).filter((name) => name.startsWith('drawn')).sort()).toEqual([
      'drawn.html',
      'drawn.png',
      'drawn.svg',
    ]);
  });

  test('several: a numbered figure each, one HTML file of all; --layer and --head are drawn; silent with --json', async () => {
    const flags = [
      '--svg',
      at('many.a.svg'),
      '--html',
      at('many'),
      '--layer',
      '1',
      '--head',
      '3',
      '--json',
      '--no-attention',
    ];
    const { code, out } = await fovea(['translate', '--model', model, ...flags, SENTENCES[0], SENTENCES[1]]);
    expect([code, out.trimEnd().split('\n').length]).toEqual([0, 2]);
    expect((await readdir(scratch)).filter((name) => name.startsWith('many')).sort()).toEqual([
      'many',
      'many.a-1.svg',
      'many.a-2.svg',
    ]);
    expect(await readFile(at('many.a-2.svg'), 'utf8')).toContain('Cross-attention, layer 1, head 3<');
    const html = await readFile(at('many'), 'utf8');
    expect(html).toContain('"open":{"layer":1,"head":3}');
    for (const sentence of SENTENCES.slice(0, 2)) expect(html).toContain(JSON.stringify(sentence));
  });

  test('a place that is not there, a folder, and lines from standard input', async () => {
    const away = at('not/there.png');
    for (const [path, message] of [
      [away, `${away}: no such file or folder`],
      [scratch, 'is a folder'],
    ]) {
      const { code, err } = await fovea(['translate', '--model', model, SENTENCES[0], '--png', path]);
      expect(code).toBe(1);
      expect(err).toContain(message);
      expect(err.trimEnd().split('\n')).toHaveLength(1);
    }
    const usage = /--svg, --png and --html take sentences given on the command line/;
    await expectFailure(
      fovea(['translate', '--model', model, '--html', at('none.html')], 'I see.'),
      2,
      usage,
    );
    await expectFailure(fovea(['translate', '--model', model, '--svg', at('none.svg'), '']), 2, /blank/);
    expect((await readdir(scratch)).filter((name) => name.startsWith('none'))).toEqual([]);
  });
});

describe('bad input', () => {
  test('10,000 words: one line, exit 1; lines before it are translated', async () => {
    const long = 'house '.repeat(10_000);
    await expectFailure(
      fovea(['translate', '--model', model, long]),
      1,
      /sentence 1 has at least \d+ tokens, the model takes 63: cut it/,
    );
    const { code, out, err } = await fovea(
      ['translate', '--model', model],
      `${SENTENCES[0]}\n${SENTENCES[1]}\n${long}\n`,
    );
    expect({ code, out }).toEqual({ code: 1, out: `${FRENCH[0]}\n${FRENCH[1]}\n` });
    expect(err).toMatch(/^fovea: translate: sentence 3 has/);
  });
  test('a binary file, no file, a folder, nothing: one line, exit code', async () => {
    const args = ['translate', '--model', model];
    await expectFailure(
      fovea([...args, '--file', process.execPath]),
      1,
      /expected UTF-8 text, got a binary file/,
    );
    await expectFailure(fovea(args, Uint8Array.of(255, 254, 10)), 1, /standard input: expected UTF-8 text/);
    await expectFailure(fovea([...args, '--file', join(scratch, 'none')]), 1, /none: no such file/);
    await expectFailure(fovea([...args, '--file', scratch]), 1, /is a folder, expected a file/);
    const empty = join(scratch, 'empty.txt');
    await writeFile(empty, '');
    await expectFailure(
      fovea([...args, '--file', empty]),
      1,
      /empty\.txt: expected at least one sentence, got none/,
    );
    await expectFailure(fovea(args, ''), 1, /standard input: expected at least one sentence/);
    const blank = await fovea(args, '\n\n');
    expect(blank).toMatchObject({ code: 1, out: '\n\n' });
    expect(blank.err).toMatch(/^fovea: standard input: expected at least one sentence, got none\n$/);
  });
  test('parallel text with a wrong number of columns, blank columns or no line: file and line, exit 1', async () => {
    const path = join(scratch, 'bad.tsv');
    for (const [text, message] of [
      ['a\tb\nc\n', /bad\.tsv:2: expected two or more tab-separated columns, got 1/],
      ['a\t\n', /bad\.tsv:1: column 2 is empty/],
      ['\n', /expected at least one line/],
    ] as const) {
      await writeFile(path, text);
      await expectFailure(fovea(['evaluate', model, '--data', path]), 1, message);
    }
    await expectFailure(fovea(['evaluate', model, '--data', process.execPath]), 1, /expected UTF-8 text/);
    await expectFailure(fovea(['evaluate', model, '--data', scratch]), 1, /is a folder/);
  });

  type Break = (folder: string) => Promise<unknown>;
  const edit =
    (name: string, change: (json: Record<string, object>) => unknown): Break =>
    async (folder) => {
      const path = join(folder, name);
      await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, 'utf8')))));
    };
  /** Changes the header of model.safetensors; `change` gets tensors by name. */
  const editHeader =
    (change: (tensors: Record<string, { shape: number[]; data_offsets: number[] }>) => void): Break =>
    async (folder) => {
      const path = join(folder, 'model.safetensors');
      const bytes = await readFile(path);
      const length = Number(bytes.readBigUInt64LE(0));
      const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
      change(header);
      const text = Buffer.from(JSON.stringify(header));
      const size = Buffer.alloc(8);
      size.writeBigUInt64LE(BigInt(text.length));
      await writeFile(path, Buffer.concat([size, text, bytes.subarray(8 + length)]));
    };
  const editBytes =
    (at: (bytes: Buffer) => void): Break =>
    async (folder) => {
      const path = join(folder, 'model.safetensors');
      const bytes = await readFile(path);
      at(bytes);
      await writeFile(path, bytes);
    };
  test.each<[string, Break]>([
    ['no weights', (f) => rm(join(f, 'model.safetensors'))],
    ['no configuration', (f) => rm(join(f, 'config.json'))],
    ['no tokenizer', (f) => rm(join(f, 'tokenizer.json'))],
    ['truncated weights', (f) => truncate(join(f, 'model.safetensors'), 50_000)],
    ['empty weights', (f) => truncate(join(f, 'model.safetensors'), 0)],
    ['truncated configuration', (f) => truncate(join(f, 'config.json'), 100)],
    ['truncated tokenizer', (f) => truncate(join(f, 'tokenizer.json'), 1000)],
    ['a header longer than the file', editBytes((b) => b.writeBigUInt64LE(1n << 40n, 0))],
    [
      'an offset beyond the file',
      editHeader((t) => {
        t['embedding.weight'].data_offsets[1] += 1e9;
      }),
    ],
    [
      'overlapping tensors',
      editHeader((t) => {
        t['encoder.norm.bias'].data_offsets = [...t['encoder.norm.weight'].data_offsets];
      }),
    ],
    [
      'a huge shape',
      editHeader((t) => {
        t['embedding.weight'].shape = [2 ** 31, 2 ** 31];
      }),
    ],
    [
      'another shape',
      editHeader((t) => {
        t['embedding.weight'].shape.reverse();
      }),
    ],
    [
      'a missing tensor',
      editHeader((t) => {
        delete t['decoder.norm.bias'];
      }),
    ],
    ['NaN weights', editBytes((b) => b.writeUInt16LE(0x7e00, b.length - 2))],
    ['a newer format', edit('config.json', (c) => ({ ...c, version: 99 }))],
    ['heads that do not divide the width', edit('config.json', (c) => ({ ...c, heads: 5 }))],
    ['a huge width', edit('config.json', (c) => ({ ...c, width: 1e9 }))],
    ['another vocabulary', edit('config.json', (c) => ({ ...c, vocabulary: 300 }))],
    [
      'a tokenizer of another kind',
      edit('tokenizer.json', (t) => ({ ...t, model: { ...t.model, type: 'Unigram' } })),
    ],
  ])('a model folder with %s: one line, exit 1', async (_, breakIt) => {
    const folder = await mkdtemp(join(scratch, 'model-'));
    await cp(model, folder, { recursive: true });
    await breakIt(folder);
    await expectFailure(fovea(['translate', '--model', folder, SENTENCES[0]]), 1, /./);
  });
  test('a file for a model: one line, exit 1', async () => {
    await expectFailure(fovea(['translate', '--model', main, 'a']), 1, /expected a folder/);
  });
});

describe('evaluate', () => {
  test('BLEU, chrF and loss with their signatures; --json; several references', async () => {
    const path = join(scratch, 'good.tsv');
    await writeFile(
      path,
      SENTENCES.map((sentence, i) => `${sentence}\tautre chose\t${FRENCH[i]}`).join('\n'),
    );
    const { code, out, err } = await fovea(['evaluate', model, '--data', path]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(
      /^BLEU = 100\.00 .*\n {2}nrefs:2\|case:mixed\|eff:no\|tok:13a\|smooth:exp\nchrF2 = 100\.00\n/,
    );
    const json = JSON.parse((await fovea(['evaluate', model, '--data', path, '--json', '--beam', '1'])).out);
    expect(json).toMatchObject({
      sentences: 4,
      beam: 1,
      bleu: { score: expect.closeTo(100, 6) },
      chrf: { score: 100 },
    });
    expect(json.loss).toBeGreaterThan(1);
  });
});
