// Numbers as people read them.

/** Three significant digits, in powers of ten where small: 0.213, 0.00412, 3.1e−7. */
export function weightText(value: number, digits = 3): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === 0) return '0';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e6) return minus(String(Number(value.toPrecision(digits))));
  const [mantissa, exponent] = value.toExponential(digits - 1).split('e');
  return `${minus(String(Number(mantissa)))}e${minus(String(Number(exponent)))}`;
}

/** A share of 1 as a percentage: 0.42 %, 12 %, never 100 % where it is less. */
export function percentText(share: number): string {
  const percent = Math.min(100 * share, share < 1 ? 99.9 : 100);
  return `${percent >= 10 ? Math.floor(percent) : Number(percent.toPrecision(2))} %`;
}

/** 1,000,000 (thin enough for axes in either language). */
export function countText(value: number): string {
  return whole.format(value);
}

/** Made once: making one takes longer than drawing a frame's axes. */
const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

const minus = (text: string) => text.replace('-', '−');

/** Numbers closer than this share of a colour bar would overlap. */
export const LABEL = 0.055;

/** Where the numbers of the two ends stand: beside them, but clear of the bar's own first and last number. */
export function labelPlaces(low: number, high: number): [least: number, most: number] {
  return [low > 0 ? Math.max(low, LABEL) : 0, high < 1 ? Math.min(high, 1 - LABEL) : 1];
}
