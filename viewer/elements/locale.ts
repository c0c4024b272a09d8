// The languages of the interface. Each element keeps its own strings, one record per language, beside it.

export type Locale = 'en' | 'ko';

/** One language's strings; English where a page names a language that there are none in. */
export function stringsOf<S extends Record<Locale, unknown>>(strings: S, locale: Locale): S[Locale] {
  return strings[locale] ?? strings.en;
}

/** Korean where the page or else the reader asks for it, else English. */
export function preferredLocale(): Locale {
  const wanted = document.documentElement.lang || navigator.language;
  return wanted.toLowerCase().startsWith('ko') ? 'ko' : 'en';
}
