// Tokens as people see them: blanks made visible, controls taken out.

export type Labels = readonly string[] | ((index: number) => string) | undefined;

export function labelOf(labels: Labels, index: number): string | undefined {
  const text = typeof labels === 'function' ? labels(index) : labels?.[index];
  return text === undefined || text === null ? undefined : visible(String(text));
}

export function visible(text: string): string {
  const shown = text
    .replace(/\n/g, '⏎')
    .replace(/\t/g, '⇥')
    .replace(/[\p{Cc}\u200b]/gu, '');
  return shown.trim() === '' ? '␣' : shown;
}
