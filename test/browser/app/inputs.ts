// The numbers that a page and the test in Node both make.

export interface Sizes {
  heads: number;
  length: number;
  width: number;
}

/** The query whose weights are read. */
export const QUERY = 70;

export function makeInputs({ heads, length, width }: Sizes) {
  const shape = [heads, length, width];
  const tensor = (seed: number) => ({
    shape,
    // Quotients of whole numbers: the same in every engine, unlike a sine.
    data: Float32Array.from(
      { length: heads * length * width },
      (_, i) => (((i + seed) * 7919) % 1009) / 250 - 2,
    ),
  });
  return { q: tensor(1), k: tensor(500), v: tensor(77) };
}
