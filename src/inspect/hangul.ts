// Hangul syllables as strokes: initial, vowel and final, each in the part of the square that the syllable leaves it.
// Shapes are written as in strokes.ts, in a square of 6 × 6.

const consonants: Readonly<Record<string, string>> = {
  ㄱ: '006066',
  ㄴ: '000666',
  ㄷ: '60000666',
  ㄹ: '006063030666',
  ㅁ: '0060660600',
  ㅂ: '00066660 0363',
  ㅅ: '3006 2266',
  ㅇ: 'o0066',
  ㅈ: '0060 3006 2266',
  ㅊ: '2040 0262 3206 2466',
  ㅋ: '006066 0363',
  ㅌ: '60000666 0363',
  ㅍ: '0060 0666 2026 4046',
  ㅎ: '2040 0161 o1356',
};
const initials = 'ㄱ ㄱㄱ ㄴ ㄷ ㄷㄷ ㄹ ㅁ ㅂ ㅂㅂ ㅅ ㅅㅅ ㅇ ㅈ ㅈㅈ ㅊ ㅋ ㅌ ㅍ ㅎ'.split(' ');
const finals =
  ' ㄱ ㄱㄱ ㄱㅅ ㄴ ㄴㅈ ㄴㅎ ㄷ ㄹ ㄹㄱ ㄹㅁ ㄹㅂ ㄹㅅ ㄹㅌ ㄹㅍ ㄹㅎ ㅁ ㅂ ㅂㅅ ㅅ ㅅㅅ ㅇ ㅈ ㅊ ㅋ ㅌ ㅍ ㅎ'.split(
    ' ',
  );

/** Vowels that stand right of the initial, and those that lie below it. */
const standing: Readonly<Record<string, string>> = {
  ㅏ: '2026 2353',
  ㅐ: '1016 5056 1353',
  ㅑ: '2026 2252 2454',
  ㅒ: '1016 5056 1252 1454',
  ㅓ: '5056 1353',
  ㅔ: '2026 6066 0323',
  ㅕ: '5056 1252 1454',
  ㅖ: '2026 6066 0222 0424',
  ㅣ: '4046',
};
const lying: Readonly<Record<string, string>> = {
  ㅗ: '0464 3034',
  ㅛ: '0464 2024 4044',
  ㅜ: '0262 3236',
  ㅠ: '0262 2226 4246',
  ㅡ: '0363',
};
const vowels = 'ㅏ ㅐ ㅑ ㅒ ㅓ ㅔ ㅕ ㅖ ㅗ ㅗㅏ ㅗㅐ ㅗㅣ ㅛ ㅜ ㅜㅓ ㅜㅔ ㅜㅣ ㅠ ㅡ ㅡㅣ ㅣ'.split(' ');

/** Strokes, and the part of the unit square that they fill. */
export interface Part {
  readonly strokes: string;
  readonly x: readonly [number, number];
  readonly y: readonly [number, number];
}

const FIRST = 0xac00;

/** The parts of a syllable, or undefined for any other character. */
export function syllable(character: string): Part[] | undefined {
  const index = character.codePointAt(0)! - FIRST;
  if (index < 0 || index >= 19 * 21 * 28) return undefined;
  const vowel = [...vowels[Math.floor(index / 28) % 21]];
  const below = vowel.find((letter) => letter in lying);
  const beside = vowel.find((letter) => letter in standing);
  const final = finals[index % 28];
  const end = final ? 0.6 : 1;
  const right = beside ? 0.58 : 0.94;
  const initialEnd = below ? 0.52 * end : final ? end : 0.9;
  const parts = row(
    initials[Math.floor(index / 588)],
    [below && !beside ? 0.12 : 0.02, below && !beside ? 0.88 : right],
    [0.02, initialEnd],
  );
  if (below) parts.push({ strokes: lying[below], x: [0, beside ? 0.68 : 1], y: [0.62 * end, end] });
  if (beside) parts.push({ strokes: standing[beside], x: [0.68, 1], y: [0, final ? 0.64 : 1] });
  return final ? [...parts, ...row(final, [0.14, 0.94], [0.72, 1])] : parts;
}

/** One consonant, or two side by side. */
function row(letters: string, [left, right]: Part['x'], y: Part['y']): Part[] {
  const width = (right - left) / letters.length;
  return [...letters].map((letter, n) => {
    const from = left + n * width;
    return { strokes: consonants[letter], x: [from, from + width * (letters.length > 1 ? 0.84 : 1)], y };
  });
}
