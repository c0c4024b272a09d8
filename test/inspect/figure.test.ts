// Figures as SVG and PNG: every cell has its colour, labels are there and harmless, and both are one picture.
import { decode } from 'fast-png';
import { describe, expect, test } from 'vitest';
import { cividis, drawPng, drawSvg, type Figure, MOST_CELLS, viridis } from '../../dist/inspect/index.js';
import { textWidth } from '../../dist/inspect/lettering.js';
import { expectWatched } from '../helpers/watched.js';

const figure = {
  title: 'Who looked where',
  rows: ['Qui', 'prend', 'la', '책임을'],
  columns: ['Who', 'is', 'taking', 'responsibility', 'for'],
  values: Array.from({ length: 20 }, (_, n) => ((7 * n) % 20) / 25),
  rowAxis: 'translation',
  columnAxis: 'sentence',
} satisfies Figure;

interface Grid {
  x: number;
  y: number;
  cellWidth: number;
  cellHeight: number;
  /** By row, column. */
  fills: Map<string, string>;
}

/** The grids of cells that an SVG draws, the colour bar last. */
function gridsOf(svg: string): Grid[] {
  const groups = svg.matchAll(
    /<g transform="translate\(([\d.]+) ([\d.]+)\) scale\(([\d.]+) ([\d.]+)\)"[^>]*>([\s\S]*?)<\/g>/g,
  );
  return [...groups].map(([, x, y, cellWidth, cellHeight, body]) => {
    const fills = new Map<string, string>();
    for (const [, fill, path] of body.matchAll(/<path fill="(#[0-9a-f]{6})" d="([^"]*)"\/>/g)) {
      for (const [, j, i, length] of path.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g))
        for (let n = 0; n < Number(length); n++) fills.set(`${i},${Number(j) + n}`, fill);
    }
    const [left, top, width, height] = [x, y, cellWidth, cellHeight].map(Number);
    return { x: left, y: top, cellWidth: width, cellHeight: height, fills };
  });
}

const hex = (color: readonly number[]) => `#${color.map((x) => x.toString(16).padStart(2, '0')).join('')}`;
const textsOf = (svg: string) => [...svg.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);

describe('SVG', () => {
  test('every cell has the colour of its number in 256 steps, the bar all colours from high to low', () => {
    const [cells, bar] = gridsOf(drawSvg(figure));
    figure.values.forEach((value, n) => {
      const place = `${Math.floor(n / 5)},${n % 5}`;
      expect(cells.fills.get(place)).toBe(hex(viridis(Math.round((255 * value) / 0.76) / 255)));
    });
    expect([bar.fills.get('0,0'), bar.fills.get('255,0')]).toEqual([hex(viridis(1)), hex(viridis(0))]);
  });

  test('labels, axes, title and the numbers of the bar', () => {
    const texts = textsOf(drawSvg(figure));
    const { title, rows, columns, rowAxis, columnAxis } = figure;
    expect(texts).toEqual(
      expect.arrayContaining([title, ...rows, ...columns, rowAxis, columnAxis, '0', '0.2', '0.6']),
    );
  });

  test('is XML whatever the labels hold', () => {
    const rows = ['<b>&amp;', '"\'', 'a\u0000\u001b[31m\ud800\ufffe', '\u202eevil'];
    const svg = drawSvg({ ...figure, rows, title: '</svg><script>alert(1)</script>' });
    expect(svg).not.toMatch(/<script|<b>/);
    expect(svg).not.toMatch(/&(?!#\d+;)/);
    expect(svg).not.toMatch(/[^\P{Cc}\n]|[\p{Cs}\ufffe\uffff\u202e]/u);
    const tags = [...svg.matchAll(/<(\/?)(\w+)[^<>]*?(\/?)>/g)];
    const open: string[] = [];
    for (const [, closes, name, alone] of tags) {
      if (closes) expect(open.pop()).toBe(name);
      else if (!alone) open.push(name);
    }
    expect(open).toEqual([]);
  });

  test('NaN leaves a cell empty; a range of one’s own clamps; palettes', () => {
    const values = [Number.NaN, 0.5, 2, -1];
    const [cells] = gridsOf(drawSvg({ rows: 2, columns: 2, values, range: [0, 1], palette: 'cividis' }));
    expect([...'0,0 0,1 1,0 1,1'.split(' ')].map((place) => cells.fills.get(place))).toEqual(
      [undefined, 128 / 255, 1, 0].map((place) => (place === undefined ? undefined : hex(cividis(place)))),
    );
  });

  test('log: equal ratios are equal steps; the bar names powers of ten; 0 is the darkest', () => {
    const svg = drawSvg({ rows: 1, columns: 4, values: [1, 0.01, 0.0001, 0], scale: 'log' });
    const [cells] = gridsOf(svg);
    const colors = [0, 1, 2, 3].map((j) => cells.fills.get(`0,${j}`));
    expect(colors).toEqual([1, 128 / 255, 0, 0].map((place) => hex(viridis(place))));
    expect(textsOf(svg)).toEqual(
      ['1e-4', '0.001', '0.01', '0.1', '1'].map((text) => (text === '1e-4' ? '0.0001' : text)),
    );
  });

  test('a grid shares colours and labels: panels in reading order', () => {
    const panels = [0, 1, 2, 3, 4].map((n) => ({
      title: `head ${n}`,
      values: figure.values.map((x) => (x * n) / 4),
    }));
    const svg = drawSvg({ rows: figure.rows, columns: figure.columns, panels, across: 2 });
    const grids = gridsOf(svg);
    expect(grids).toHaveLength(6);
    expect(
      grids
        .slice(0, 5)
        .map(({ x, y }) => [x > grids[0].x, Math.round((y - grids[0].y) / (grids[2].y - grids[0].y))]),
    ).toEqual([
      [false, 0],
      [true, 0],
      [false, 1],
      [true, 1],
      [false, 2],
    ]);
    expect(grids[4].fills.get('0,1')).toBe(hex(viridis(Math.round((255 * 0.28) / 0.76) / 255)));
    expect(grids[2].fills.get('0,1')).toBe(hex(viridis(Math.round((255 * 0.14) / 0.76) / 255)));
    expect(textsOf(svg)).toEqual(expect.arrayContaining(panels.map(({ title }) => title)));
  });

  test('two cells of one colour side by side are one rectangle', () => {
    const svg = drawSvg({ rows: 1, columns: 1000, values: new Float32Array(1000) });
    expect(svg.match(/M0 0h1000v1h-1000z/)).not.toBeNull();
  });
});

describe('SVG of many cells', () => {
  const side = 300;
  const values = Float32Array.from({ length: side * side }, (_, n) => (n % 7 === 3 ? NaN : (n % 1000) / 999));
  const labels = Array.from({ length: side }, (_, n) => `word ${n}`);
  const many = {
    title: 'many',
    rows: labels,
    columns: labels,
    values,
    rowAxis: 'down',
    columnAxis: 'across',
  };
  const images = (svg: string) =>
    [...svg.matchAll(/<image ([^>]*)href="data:image\/png;base64,([^"]*)"\/>/g)].map(([, place, data]) => ({
      place: Object.fromEntries(
        [...place.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, text]) => [name, text]),
      ),
      png: decode(Buffer.from(data, 'base64')),
    }));

  test('over 65,536 cells are one PNG, a pixel each, never smoothed; labels and bar stay as they are', () => {
    const svg = drawSvg(many);
    const [{ place, png }, ...more] = images(svg);
    expect(more).toEqual([]);
    expect([png.width, png.height, png.channels]).toEqual([side, side, 3]);
    const expected = Uint8Array.from(
      [...values].flatMap((x) => (Number.isNaN(x) ? [255, 255, 255] : viridis(Math.round(255 * x) / 255))),
    );
    expect(Buffer.compare(png.data as Uint8Array, expected)).toBe(0);
    expect(place).toMatchObject({ width: '900', height: '900', preserveAspectRatio: 'none' });
    expect(place.style).toContain('image-rendering:pixelated');
    const grids = gridsOf(svg);
    expect(grids.map(({ fills }) => fills.size)).toEqual([256]);
    expect(textsOf(svg)).toEqual(
      expect.arrayContaining(['many', 'word 0', 'word 297', 'down', 'across', '0.2']),
    );
  });

  test('stand where fewer cells would: a matrix of 65,536 is paths, and each panel of a larger grid a PNG', () => {
    const few = { rows: 256, columns: 256, values: new Float32Array(2 ** 16) };
    expect(images(drawSvg(few))).toEqual([]);
    const panels = [0, 1, 2].map((n) => ({ values: values.subarray(n, n + 160 * 160) }));
    const grid = { rows: 160, columns: 160, panels };
    const [whole, part] = [drawSvg(grid), drawSvg({ ...grid, panels: panels.slice(0, 2), across: 2 })];
    const places = images(whole).map(({ place: { x, y, width } }) => [x, y, width].map(Number));
    expect(places).toHaveLength(3);
    expect(places.slice(0, 2)).toEqual(
      gridsOf(part)
        .slice(0, 2)
        .map(({ x, y, cellWidth }) => [x, y, 160 * cellWidth]),
    );
  });
});

describe('PNG', () => {
  test('tells its progress, and ends at a signal between two parts', async () => {
    const large = { rows: 400, columns: 400, values: new Float32Array(400 * 400) };
    await expectWatched(4, (watch) => drawPng(large, watch));
  });

  test('is the SVG’s picture: cells have their colours to the edge, no label runs into them', async () => {
    const png = decode(await drawPng(figure, { scale: 2 }));
    const svg = drawSvg(figure);
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!.map(Number);
    expect([png.width, png.height, png.channels]).toEqual([2 * width, 2 * height, 3]);
    const at = (x: number, y: number) => hex([0, 1, 2].map((c) => png.data[3 * (y * png.width + x) + c]));
    const [{ x, y, cellWidth, cellHeight, fills }] = gridsOf(svg);
    for (const [place, fill] of fills) {
      const [i, j] = place.split(',').map(Number);
      for (const [dx, dy] of [
        [0, 0],
        [0.5, 0.5],
        [cellWidth - 0.5, cellHeight - 0.5],
      ])
        expect(at(2 * (x + j * cellWidth + dx), 2 * (y + i * cellHeight + dy))).toBe(fill);
    }
    const inside = new Set<string>();
    for (let down = 2 * y; down < 2 * (y + 4 * cellHeight); down++)
      for (let across = 2 * x; across < 2 * (x + 5 * cellWidth); across++) inside.add(at(across, down));
    expect([...inside].sort()).toEqual([...new Set(fills.values())].sort());
    const border = new Set<string>();
    for (let n = 0; n < png.width; n++) for (const row of [0, 5, png.height - 1]) border.add(at(n, row));
    for (let n = 0; n < png.height; n++)
      for (const column of [0, 5, png.width - 1]) border.add(at(column, n));
    expect([...border]).toEqual(['#ffffff']);
  });

  /** Dark pixels of a figure's only label. */
  const ink = async (label: string) => {
    const { data } = decode(
      await drawPng({ rows: [label], columns: 1, values: [1], range: [0, 1], palette: 'viridis' }),
    );
    let dark = 0;
    for (let n = 0; n < data.length; n += 3)
      if (data[n] < 90 && data[n] === data[n + 1] && data[n] === data[n + 2]) dark++;
    return dark;
  };

  test('letters: accents and Hangul are drawn, other scripts are boxes', async () => {
    const [none, e, eAcute, gan, gal] = await Promise.all(['', 'e', 'é', '가', '각'].map(ink));
    expect(e).toBeGreaterThan(none);
    expect(eAcute).toBeGreaterThan(e);
    expect(gal).toBeGreaterThan(gan);
    const [han, zi] = await Promise.all(['漢', '字'].map(ink));
    expect(han).toBe(zi);
    expect(han).toBeGreaterThan(none);
    expect(await ink('e\u0301')).toBe(eAcute);
  });

  test('syllables of Hangul and every character of Latin-1 have a width; wide ones are twice as wide', () => {
    const syllables = Array.from({ length: 588 }, (_, n) => String.fromCodePoint(0xac00 + 19 * n));
    expect(new Set(syllables.map((text) => textWidth(text, 10))).size).toBe(1);
    for (let code = 0x20; code < 0x180; code++)
      if (code < 0x7f || code > 0xa0)
        expect(textWidth(String.fromCodePoint(code), 10), code.toString(16)).toBeGreaterThanOrEqual(
          code === 0xad ? 0 : 1,
        );
    expect(textWidth('漢', 10) / textWidth('각', 10)).toBeCloseTo(1, 6);
  });
});

describe('what is no figure', () => {
  const bad: [string, Record<string, unknown>, RegExp][] = [
    ['no rows', { rows: [] }, /rows: expected labels, or how many there are, got none/],
    ['no columns', { columns: 0 }, /columns: expected labels/],
    ['no values', { values: undefined }, /expected values, or at least one panel/],
    ['too few values', { values: [1] }, /1 values, expected 4 rows × 5 columns/],
    [
      'a panel of another size',
      { panels: [{ values: figure.values }, { values: [] }] },
      /panel 1 has 0 values/,
    ],
    [
      'too many cells',
      { rows: 2 ** 12, columns: 2 ** 11, values: { length: 2 ** 23 } },
      /pool the map first/,
    ],
    ['an unknown palette', { palette: 'jet' }, /palette is viridis or cividis, got "jet"/],
    ['an unknown scale', { scale: 'sqrt' }, /scale is linear or log/],
    ['an empty range', { range: [1, 1] }, /range is \[low, high\]/],
    ['a range from 0 in log', { range: [0, 1], scale: 'log' }, /above 0/],
    ['no panel across', { across: 0 }, /across is a whole number/],
  ];
  test.each(bad)('%s is refused by both', async (_, change, message) => {
    const wrong = { ...figure, ...change } as unknown as Figure;
    expect(() => drawSvg(wrong)).toThrow(message);
    await expect(drawPng(wrong)).rejects.toThrow(message);
  });
  test('a scale below 1 is refused, and a picture beyond all size', async () => {
    await expect(drawPng(figure, { scale: 0 })).rejects.toThrow('scale is a number from 1 to 8');
    const large = { rows: 2048, columns: 2048, values: new Float32Array(MOST_CELLS) };
    await expect(drawPng(large, { scale: 8 })).rejects.toThrow('use a smaller scale');
  });
  test('all numbers equal, or none: still a picture', () => {
    for (const value of [0, 1, Number.NaN])
      for (const scale of ['linear', 'log'] as const)
        expect(drawSvg({ rows: 1, columns: 2, values: [value, value], scale })).toMatch(/^<svg/);
  });
});
