// The terminal's heat map as it is printed, in every colour mode and at narrow and wide terminals; snapshots write ESC as ␛.
import { describe, expect, test } from 'vitest';
import { type ColorMode, displayWidth, drawHeatMap, type HeatMap } from '../../dist/inspect/index.js';

/** Weights of a soft diagonal, rows summing to about 1. */
const diagonal = (rows: readonly string[], columns: readonly string[]): HeatMap => ({
  rows,
  columns,
  values: rows.flatMap((_, i) =>
    columns.map((_, j) => Math.exp(-2 * Math.abs((i * columns.length) / rows.length - j)) * 0.76),
  ),
});

const maps: Record<string, HeatMap> = {
  'English and French': diagonal(
    'Qui prend la responsabilité de la perte ?'.split(' '),
    'Who is taking responsibility for the loss ?'.split(' '),
  ),
  'Korean and English': diagonal(
    '누가 그 손실에 대한 책임을 집니까 ?'.split(' '),
    'Who is taking responsibility for the loss ?'.split(' '),
  ),
  'Korean across, accents apart': diagonal(
    ['cafe\u0301', '👩‍👩‍👧', 'x'],
    ['카페', '가족', '엑스레이사진', 'x'],
  ),
};
const modes: ColorMode[] = ['truecolor', '256', 'none'];
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const sequences = /\x1b\[[0-9;]*m/g;

describe.each(Object.entries(maps))('%s', (_, map) => {
  describe.each(modes)('%s', (color) => {
    test.each([16, 24, 48, 120])('%i columns', (width) => {
      const drawn = drawHeatMap(map, { color, width });
      expect(drawn.replaceAll('\x1b', '␛')).toMatchSnapshot();
      for (const line of drawn.replace(sequences, '').split('\n'))
        expect(displayWidth(line)).toBeLessThanOrEqual(width);
      expect(drawn.includes('\x1b')).toBe(color !== 'none');
    });
  });
});

test.each(modes)('many rows, %s: half blocks, two rows a line, where there is colour', (color) => {
  const rows = Array.from({ length: 41 }, (_, n) => `행${n}`);
  const drawn = drawHeatMap(diagonal(rows, ['a', '나', 'c']), { color, width: 40 });
  expect(drawn.replaceAll('\x1b', '␛')).toMatchSnapshot();
  expect(drawn.split('\n')).toHaveLength(1 + (color === 'none' ? 41 : 21));
});
