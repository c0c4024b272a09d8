// The languages of the interface. Each element keeps its own strings, one record per language, beside it.

export type Locale = 'en' | 'ko';

/** Korean where the page or else the reader asks for it, else English. */
export function preferredLocale(): Locale {
  const wanted = document.documentElement.lang || navigator.language;
  return wanted.toLowerCase().startsWith('ko') ? 'ko' : 'en';
}
