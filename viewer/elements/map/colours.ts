// From weights to colours: a table of 1024, looked up on a linear or logarithmic range; and the range that fits.

export type Scale = 'linear' | 'log';
export type Range = readonly [low: number, high: number];

const COLOURS = 1024;
/** Decades below the top that a fitted logarithmic range shows at most. */
const DECADES = 6;
/** The bits of ∞; above are those of NaN, which may have either sign. */
const INFINITY = 0x7f800000;
/** Weights counted per octave: the top bits of a float32, eight to an octave. */
const SHIFT = 20;

/** Packed as ImageData wants them (little-endian RGBA). */
export function colourTable(palette: (value: number) => readonly [number, number, number]): Uint32Array {
  return Uint32Array.from({ length: COLOURS }, (_, i) => {
    const [r, g, b] = palette(i / (COLOURS - 1));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** Where a value lies on a range: 0 to 1, clamped; NaN stays. */
export function positionOf(value: number, scale: Scale, [low, high]: Range): number {
  const part =
    scale === 'linear' ? (value - low) / (high - low) : Math.log(value / low) / Math.log(high / low);
  return Number.isNaN(part) ? (Number.isNaN(value) ? value : 0) : Math.min(1, Math.max(0, part));
}

/** The value at a place from 0 to 1. */
export function valueAt(place: number, scale: Scale, [low, high]: Range): number {
  return scale === 'linear' ? low + place * (high - low) : low * (high / low) ** place;
}

/** log2(1 + m/256), by the eight highest bits of a float's mantissa. */
const MANTISSA = Float32Array.from({ length: 256 }, (_, m) => Math.log2(1 + (m + 0.5) / 256));

/** Colours every value; NaN is left transparent. */
export function colourise(
  data: Float32Array,
  out: Uint32Array,
  table: Uint32Array,
  scale: Scale,
  [low, high]: Range,
): void {
  const top = table.length - 1;
  const n = data.length;
  if (scale === 'linear') {
    const factor = top / (high - low);
    for (let i = 0; i < n; i++) {
      const place = (data[i] - low) * factor + 0.5;
      if (Number.isNaN(place)) out[i] = 0;
      else out[i] = table[place <= 0 ? 0 : place >= top ? top : place | 0];
    }
    return;
  }
  // The logarithm from the float's own bits: a hundredth of a colour off, and ten times faster than Math.log.
  const bits = new Int32Array(data.buffer, data.byteOffset, n);
  const first = Math.log2(low);
  const factor = top / (Math.log2(high) - first);
  for (let i = 0; i < n; i++) {
    const x = bits[i];
    if ((x & 0x7fffffff) > INFINITY) out[i] = 0;
    else if (x <= 0) out[i] = table[0];
    else {
      const place = ((x >> 23) - 127 + MANTISSA[(x >> 15) & 255] - first) * factor + 0.5;
      out[i] = table[place <= 0 ? 0 : place >= top ? top : place | 0];
    }
  }
}

/** How values are spread: counts of positive float32 by exponent and three bits of the mantissa. */
export class Spread {
  readonly counts = new Uint32Array(2048);
  total = 0;
  zeros = 0;
  least = Number.POSITIVE_INFINITY;
  most = 0;

  static of(data: Float32Array): Spread {
    const made = new Spread();
    const bits = new Int32Array(data.buffer, data.byteOffset, data.length);
    let [zeros, least, most, odd] = [0, INFINITY, 0, 0];
    for (let i = 0; i < bits.length; i++) {
      const x = bits[i];
      if ((x & 0x7fffffff) >= INFINITY) odd++;
      else if (x <= 0) zeros++;
      else {
        made.counts[x >> SHIFT]++;
        if (x < least) least = x;
        if (x > most) most = x;
      }
    }
    made.total = bits.length - odd;
    made.zeros = zeros;
    const floats = new Float32Array(Int32Array.of(least, most).buffer);
    [made.least, made.most] = floats;
    return made;
  }

  add(other: Spread): void {
    for (let i = 0; i < this.counts.length; i++) this.counts[i] += other.counts[i];
    this.total += other.total;
    this.zeros += other.zeros;
    this.least = Math.min(this.least, other.least);
    this.most = Math.max(this.most, other.most);
  }

  /** Values (middles of bins) and how many there are of each; no zeros. */
  *entries(): Generator<[value: number, count: number]> {
    for (let i = 0; i < this.counts.length; i++)
      if (this.counts[i] > 0) yield [this.middleOf(i), this.counts[i]];
  }

  /** The value that a share of all values (or, without zeros, of the positive ones) lies below. */
  quantile(share: number, zeros = true): number {
    let left = share * (zeros ? this.total : this.total - this.zeros) - (zeros ? this.zeros : 0);
    if (left < 0) return 0;
    for (let i = 0; i < this.counts.length; i++) {
      left -= this.counts[i];
      if (left <= 0 && this.counts[i] > 0) return this.middleOf(i);
    }
    return this.most;
  }

  private middleOf(bin: number): number {
    return Math.min(this.most, Math.max(this.least, middle(bin)));
  }
}

const middle = (bin: number) =>
  new Float32Array(Int32Array.of((bin << SHIFT) + (1 << (SHIFT - 1))).buffer)[0];

/** Pictures of at most so many values show all of them; in larger ones a thousandth may lie beyond the range. */
const FEW = 16384;

/** The range that shows what is there. */
export function fittedRange(spread: Spread, scale: Scale): Range {
  if (!(spread.most > 0)) return scale === 'linear' ? [0, 1] : [1e-6, 1];
  const few = spread.total <= FEW;
  const high = few ? spread.most : spread.quantile(0.999) || spread.most;
  if (scale === 'linear') return [0, high];
  const low = Math.max(few ? spread.least : spread.quantile(0.005, false), high / 10 ** DECADES);
  return low < high * 0.8 ? [low, high] : [high / 10, high];
}

/** A range that can be shown: finite, rising, positive where logarithmic; else undefined. */
export function validRange(range: Range | undefined, scale: Scale): Range | undefined {
  if (!range?.every(Number.isFinite) || !(range[0] < range[1])) return undefined;
  return scale === 'log' && range[0] <= 0 ? [Math.max(range[1] / 10 ** DECADES, 1e-38), range[1]] : range;
}
