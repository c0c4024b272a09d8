// A bar, what was measured, and whether it is met.

const shown = (value, unit) => `${value.toFixed(value < 10 ? 2 : 1)}${unit}`;

const verdict = (work, sign, limit, value, unit, met, note) => ({
  work,
  bar: `${sign} ${limit}${unit}`,
  measured: shown(value, unit) + (note ? ` (${note})` : ''),
  value,
  met,
});

/** unit is written behind the number: '×', ' GFLOP/s', '%'. */
export const atLeast = (work, value, limit, unit = '×', note = '') =>
  verdict(work, '≥', limit, value, unit, value >= limit, note);

export const atMost = (work, value, limit, unit, note = '') =>
  verdict(work, '≤', limit, value, unit, value <= limit, note);
