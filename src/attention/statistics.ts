// Row statistics beside a float32 logSumExp. The maximum and the sum are kept apart, because their float32 logSumExp
// alone loses weights when scores are large: at a logSumExp of 1000 its last bit is 6e-5 of every weight.
// Results are remembered by their logSumExp array, so that merging and the backward pass find what they need.

/** Per row of scores, laid out as logSumExp: logSumExp = max + log(sum). An empty row has −∞ and 0. */
export interface RowStatistics {
  readonly rowMax: Float32Array | Float64Array;
  readonly rowSum: Float32Array | Float64Array;
  readonly layout: 'bhld' | 'blhd' | 'packed';
  /** Over the keys of several calls. */
  readonly merged?: boolean;
}

const known = new WeakMap<object, RowStatistics>();

export function rememberStatistics(logSumExp: object, statistics: RowStatistics): void {
  known.set(logSumExp, statistics);
}

export function recallStatistics(logSumExp: object): RowStatistics | undefined {
  return known.get(logSumExp);
}

/** Whether a given logSumExp is a row's own, rounded, rather than that of a whole with more keys. */
export function belongs(given: number, own: number): boolean {
  return given === own || Math.abs(given - own) <= 2e-6 * Math.max(1, Math.abs(own)) || Number.isNaN(own);
}
