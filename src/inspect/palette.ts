// Colours of numbers, even in lightness, readable without colour vision: viridis (Smith, van der Walt 2015), and cividis
// (Nuñez, Anderton, Renslow 2018), which looks nearly the same to those who do not see red or green.
// Interpolated between the ten colours of each that the R package viridisLite documents.

export type Rgb = readonly [red: number, green: number, blue: number];

const anchorsOf = (list: string): readonly Rgb[] =>
  list
    .split(' ')
    .map((hex) => [0, 2, 4].map((i) => Number.parseInt(hex.slice(i, i + 2), 16)) as unknown as Rgb);

function interpolate(anchors: readonly Rgb[], value: number): Rgb {
  const position = Math.min(1, Math.max(0, value || 0)) * (anchors.length - 1);
  const left = Math.min(anchors.length - 2, Math.floor(position));
  const part = position - left;
  return anchors[left].map((from, i) =>
    Math.round(from + part * (anchors[left + 1][i] - from)),
  ) as unknown as Rgb;
}

const viridisAnchors = anchorsOf('440154 482878 3E4A89 31688E 26828E 1F9E89 35B779 6DCD59 B4DE2C FDE725');
const cividisAnchors = anchorsOf('00204D 00336F 39486B 575D6D 707173 8A8779 A69D75 C4B56C E4CF5B FFEA46');

/** Colour of a value from 0 to 1; values outside are clamped, NaN is 0. */
export const viridis = (value: number): Rgb => interpolate(viridisAnchors, value);

/** As viridis(). */
export const cividis = (value: number): Rgb => interpolate(cividisAnchors, value);

/** The palettes of figures, by name. */
export const palettes = { viridis, cividis } as const;
export type PaletteName = keyof typeof palettes;

/** Colours of a figure's levels, 0 to 255. */
export const coloursOf = (palette: PaletteName): readonly Rgb[] =>
  Array.from({ length: 256 }, (_, level) => palettes[palette](level / 255));

/** The nearest colour of the 6×6×6 cube or the 24 greys that terminals number 16 to 255. */
export function nearest256(color: Rgb): number {
  const level = (x: number) => (x < 48 ? 0 : x < 115 ? 1 : Math.round((x - 55) / 40));
  const value = (i: number) => (i === 0 ? 0 : 55 + 40 * i);
  const [r, g, b] = color.map(level);
  const cube = [r, g, b].map(value);
  const grey = Math.min(23, Math.max(0, Math.round(((color[0] + color[1] + color[2]) / 3 - 8) / 10)));
  const distance = (other: readonly number[]) => color.reduce((sum, x, i) => sum + (x - other[i]) ** 2, 0);
  return distance(cube) <= distance([8 + 10 * grey, 8 + 10 * grey, 8 + 10 * grey])
    ? 16 + 36 * r + 6 * g + b
    : 232 + grey;
}

/** Whether black text reads better than white on a colour. */
export const isLight = ([r, g, b]: Rgb): boolean => 0.299 * r + 0.587 * g + 0.114 * b > 128;
