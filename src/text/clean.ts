// A sentence as the models here read it: what only looks different is made equal.

/** NFC; white space of any kind and number becomes one space, none at the ends; characters without a shape (soft
 * hyphens, zero-width spaces, byte order marks, controls) go; curly apostrophes become straight. */
export function cleanSentence(text: string): string {
  return text
    .normalize('NFC')
    .replace(/[\u00ad\u200b\u2060\ufeff]/g, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .replace(/[\u2018\u2019\u02bc]/g, "'")
    .trim();
}
