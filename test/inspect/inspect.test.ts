import { describe, expect, test } from 'vitest';
import {
  alignWords,
  averageWeights,
  cividis,
  colorMode,
  displayWidth,
  drawHeatMap,
  fitWidth,
  harmless,
  nearest256,
  padWidth,
  palettes,
  viridis,
} from '../../dist/inspect/index.js';
import { splitWords } from '../../dist/text/index.js';

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const sequences = /\x1b\[[0-9;]*m/g;
const map = {
  rows: ['Qui', 'prend', '나는'],
  columns: ['Who', 'takes', '?'],
  values: [0.9, 0.05, 0.05, 0, 1, 0, 0.004, 0.25, Number.NaN],
};

describe('palettes', () => {
  test('viridis: ends and middle are those of matplotlib (± 4 of 255 a channel)', () => {
    for (const [value, expected] of [
      [0, [68, 1, 84]],
      [0.25, [59, 82, 139]],
      [0.5, [33, 145, 140]],
      [0.75, [94, 201, 98]],
      [1, [253, 231, 37]],
    ] as const)
      for (const i of [0, 1, 2]) expect(Math.abs(viridis(value)[i] - expected[i])).toBeLessThanOrEqual(4);
  });
  test('cividis: ends, quarters and middle as published (± 4 of 255 a channel)', () => {
    for (const [value, expected] of [
      [0, [0, 32, 77]],
      [0.25, [61, 76, 107]],
      [0.5, [124, 123, 120]],
      [0.75, [188, 175, 111]],
      [1, [255, 233, 69]],
    ] as const)
      for (const i of [0, 1, 2]) expect(Math.abs(cividis(value)[i] - expected[i])).toBeLessThanOrEqual(4);
  });
  test.each(Object.entries(palettes))('%s clamps; NaN is 0; gets lighter all the way', (_, palette) => {
    expect([palette(-1), palette(Number.NaN), palette(2)]).toEqual([palette(0), palette(0), palette(1)]);
    const light = (x: number) => palette(x).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    for (let x = 0; x < 1; x += 0.01) expect(light(x + 0.01)).toBeGreaterThan(light(x));
  });
  test.each([
    [[0, 0, 0], 16],
    [[255, 255, 255], 231],
    [[8, 8, 8], 232],
    [[95, 135, 175], 67],
    [[238, 238, 238], 255],
  ])('%j is nearest to colour %i', (color, expected) => {
    expect(nearest256(color as [number, number, number])).toBe(expected);
  });
});

describe('what a stream can show', () => {
  test.each([
    [{ COLORTERM: 'truecolor' }, true, 'truecolor'],
    [{ TERM: 'xterm-256color' }, true, '256'],
    [{ COLORTERM: 'truecolor' }, false, 'none'],
    [{ COLORTERM: 'truecolor', TERM: 'dumb' }, true, 'none'],
    [{ NO_COLOR: '1', COLORTERM: 'truecolor', FORCE_COLOR: '3' }, true, 'none'],
    [{ NO_COLOR: '', COLORTERM: '24bit' }, true, 'truecolor'],
    [{ FORCE_COLOR: '0' }, true, 'none'],
    [{ FORCE_COLOR: '2' }, false, '256'],
    [{ FORCE_COLOR: '3' }, false, 'truecolor'],
    [{ FORCE_COLOR: '' }, false, 'truecolor'],
  ])('%j, terminal %s: %s', (env, isTerminal, mode) => {
    expect(colorMode(env, isTerminal)).toBe(mode);
  });
});

describe('columns', () => {
  test.each([
    ['abc', 3],
    ['나는', 4],
    ['é', 1],
    ['e\u0301', 1],
    ['👩‍👩‍👧', 2],
    ['漢字!', 5],
    ['a\u200bb', 2],
    ['', 0],
  ])('%j takes %i', (text, width) => {
    expect(displayWidth(text)).toBe(width);
  });
  test('cutting and padding hold to columns', () => {
    expect(fitWidth('학교에', 5)).toBe('학교…');
    expect(fitWidth('학교에', 4)).toBe('학…');
    expect(padWidth('학', 5, 'center')).toBe(' 학  ');
    expect(displayWidth(padWidth('학교에', 4))).toBe(4);
  });
  test('control characters command no terminal', () => {
    expect(harmless('a\x1b[31mb\u009bc\td\u202e')).toBe('a\ufffd[31mb\ufffdc d\ufffd');
  });
});

describe('heat map', () => {
  test('without colour: percent under the words, a point below one', () => {
    expect(drawHeatMap(map).split('\n')).toEqual([
      '      Who takes  ?',
      '  Qui  90   5    5',
      'prend  ·   100   ·',
      ' 나는  ·    25   ·',
    ]);
  });
  test('truecolor: cells carry the colours of viridis, lines end reset, without them the text is the same', () => {
    const [header, first] = drawHeatMap(map, { color: 'truecolor' }).split('\n');
    expect(header).toBe('      Who takes  ?');
    expect(first).toContain(`48;2;${viridis(0.9).join(';')}m`);
    expect(first.endsWith('\x1b[0m')).toBe(true);
    expect(first.replace(sequences, '')).toBe('  Qui  90           ');
  });
  test('256 colours', () => {
    expect(drawHeatMap(map, { color: '256' })).toContain(`48;5;${nearest256(viridis(1))}m`);
  });
  test('compact: two rows a line, the upper in ink, the lower behind', () => {
    const lines = drawHeatMap(map, { color: 'truecolor', compact: true }).split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[1]).toContain(`\x1b[38;2;${viridis(0.9).join(';')};48;2;${viridis(0).join(';')}m▀▀▀▀`);
    expect(lines[1].replace(sequences, '')).toMatch(/^Qui · prend ▀+$/);
    expect(lines[2]).not.toContain('48;2');
  });
  test('never wider than the terminal: labels downwards, then bands', () => {
    const columns = Array.from({ length: 30 }, (_, i) => (i % 3 ? `responsibility${i}` : '학교'));
    const rows = ['예', 'un très très très long mot sans fin'];
    const values = new Array(60).fill(0.5);
    for (const width of [30, 60, 100, 200]) {
      const lines = drawHeatMap({ rows, columns, values }, { width }).split('\n');
      for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(width);
      expect(lines.join('').match(/50/g)).toHaveLength(60);
    }
  });
  test('labels are harmless; an empty map is empty; wrong sizes are refused', () => {
    expect(drawHeatMap({ rows: ['\x1b[2J'], columns: ['a'], values: [1] })).not.toContain('\x1b');
    expect(drawHeatMap({ rows: [], columns: ['a'], values: [] })).toBe('');
    expect(() => drawHeatMap({ rows: ['a'], columns: ['b'], values: [] })).toThrow(
      /0 values, expected 1 rows × 1/,
    );
  });
});

describe('alignment', () => {
  const words = (text: string, of: number[]) => ({ text, words: of, wordSpans: splitWords(text) });
  test('query t tells of token t; marks belong to no word', () => {
    // Source "the loss" + end; target "la perte" as la, per, te; the last query predicts the end.
    const weights = {
      queries: 4,
      keys: 4,
      values: [0.75, 0.125, 0, 0.125, 0, 0.5, 0.25, 0.25, 0, 0.25, 0.25, 0.5, 0, 0, 0, 1],
    };
    const { sourceWords, targetWords, matrix, pairs } = alignWords(
      words('the loss', [0, 1, 1]),
      words('la perte', [0, 1, 1]),
      weights,
    );
    expect([sourceWords, targetWords]).toEqual([
      ['the', 'loss'],
      ['la', 'perte'],
    ]);
    expect(Array.from(matrix.values)).toEqual([0.75, 0.125, 0, 0.625]);
    expect(pairs).toEqual([
      { target: 0, source: 0, weight: 0.75 },
      { target: 1, source: 1, weight: 0.625 },
    ]);
  });
  test('a word that looked at marks alone has no source; too few queries are refused', () => {
    const weights = { queries: 1, keys: 2, values: [0, 1] };
    expect(alignWords(words('a', [0]), words('b', [0]), weights).pairs).toEqual([
      { target: 0, source: -1, weight: 0 },
    ]);
    expect(() => alignWords(words('a', [0]), words('b c', [0, 1]), weights)).toThrow(
      /\[1, 2\], tokens 2 target/,
    );
  });
  test('the mean of heads', () => {
    const mean = averageWeights([
      { queries: 1, keys: 2, values: [1, 0] },
      { queries: 1, keys: 2, values: [0.5, 0.5] },
    ]);
    expect(Array.from(mean.values)).toEqual([0.75, 0.25]);
    expect(() => averageWeights([])).toThrow(/no matrix/);
  });
});
