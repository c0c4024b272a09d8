// How many columns a text takes in a terminal: wide characters (Korean, Chinese, emoji) two, marks none.

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Ranges of East Asian Width W and F (UAX 11), joined where only unassigned characters lie between. */
const wide: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x4dbf],
  [0x4e00, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x1b2ff],
  [0x20000, 0x3fffd],
];

function graphemeWidth(grapheme: string): number {
  if (/^[\p{M}\p{Cf}\p{Cc}]*$/u.test(grapheme)) return 0;
  if (/\p{Emoji_Presentation}|\ufe0f/u.test(grapheme)) return 2;
  const code = grapheme.codePointAt(0)!;
  return wide.some(([low, high]) => code >= low && code <= high) ? 2 : 1;
}

const graphemes = (text: string): string[] => Array.from(segmenter.segment(text), ({ segment }) => segment);

/** Columns of a text. */
export function displayWidth(text: string): number {
  return graphemes(text).reduce((sum, grapheme) => sum + graphemeWidth(grapheme), 0);
}

/** The text in at most `columns` columns; what is cut off is marked with an ellipsis. */
export function fitWidth(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let width = 0;
  let kept = '';
  for (const grapheme of graphemes(text)) {
    width += graphemeWidth(grapheme);
    if (width > columns - 1) break;
    kept += grapheme;
  }
  return columns < 1 ? '' : `${kept}…`;
}

/** Pads with spaces to exactly `columns`, cutting where too long. */
export function padWidth(text: string, columns: number, side: 'left' | 'right' | 'center' = 'right'): string {
  const fitted = fitWidth(text, columns);
  const space = Math.max(0, columns - displayWidth(fitted));
  const left = side === 'left' ? space : side === 'center' ? space >> 1 : 0;
  return ' '.repeat(left) + fitted + ' '.repeat(space - left);
}

/** A text that commands no terminal: control characters become U+FFFD, tabs and line ends spaces. */
export function harmless(text: string): string {
  return text.replace(/[\t\n\r]+/g, ' ').replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
}

/** The graphemes of a text with their widths: for labels written downwards. */
export const columnsOf = (text: string): { text: string; width: number }[] =>
  graphemes(text).map((grapheme) => ({ text: grapheme, width: graphemeWidth(grapheme) }));
