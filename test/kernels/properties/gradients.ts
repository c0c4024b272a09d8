// The backward where few owners cut their keys into pieces, and what packed sequences draw.
import { type Case, generator, makeCase, runKernels } from '../attention-cases.js';
import { assertSame, caseStep, cleanAndPoisoned, type Step } from './lab.js';

const heads = [
  [1, 1, 1],
  [2, 1, 2],
  [1, 3, 3],
];

/** 600 keys are ten tiles, two to a piece; the first rows of a window, or the last keys of 'upper-left', leave whole pieces empty. */
export const pieceSteps: Step[] = heads.flatMap(([B, Hkv, H]) => {
  const [Lq, Lk] = [70, 600];
  const shapes = { q: [B, H, Lq, 12], k: [B, Hkv, Lk, 12], v: [B, Hkv, Lk, 8] };
  const kinds = {
    bare: {},
    'lower-right': { causal: 'lower-right' },
    'upper-left': { causal: 'upper-left' },
    window: { window: [3, 90] },
  } as const;
  const cuSeqlens = { q: Int32Array.of(0, 5, 5, 75), k: Int32Array.of(0, 0, 130, 730) };
  const packed = { q: [75, H, 12], k: [730, Hkv, 12], v: [730, Hkv, 8] };
  const name = `pieces, B ${B}, H ${H}, Hkv ${Hkv}`;
  return [
    ...Object.entries(kinds).map(([kind, options]) =>
      caseStep(`${name}, ${kind}`, () => makeCase(shapes, options, generator(16))),
    ),
    caseStep(`${name}, packed`, () => makeCase(packed, { cuSeqlens }, generator(17))),
  ];
});

/**
 * Rows of gradients that need no copy, because their widths are multiples of 8: few owners and many; and with forbidden
 * keys that are not finite, whose sums are made cell by cell.
 */
export const directSteps: Step[] = [2, 9].flatMap((H) => {
  const shapes = { q: [1, H, 21, 8], k: [1, H, 600, 8], v: [1, H, 600, 16] };
  const data = Uint8Array.from({ length: 600 }, (_, j) => +(j % 5 !== 2));
  const masked = (poison: boolean) => {
    const mask = { data, shape: [600], dtype: 'bool' as const };
    const one = makeCase(shapes, { mask }, generator(19));
    const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let row = 0; poison && row < H * 600; row++) {
      if (data[row % 600] === 1) continue;
      (one.problem.k.tensor.data as Float32Array).fill(bad[row % 3], row * 8, row * 8 + 8);
      (one.problem.v.tensor.data as Float32Array).fill(bad[row % 3], row * 16, row * 16 + 16);
    }
    return one;
  };
  return [
    caseStep(`gradients in place, H ${H}`, () => makeCase(shapes, {}, generator(19))),
    {
      name: `gradients in place, H ${H}, NaN and ∞ in masked keys leave no trace`,
      ...cleanAndPoisoned(masked, `masked in place ${H}`),
    },
  ];
});

/** Sequences of one length, packed and as a batch: the same numbers in the same places, but for the statistics' layout. */
export const packedDrawStep: Step = {
  name: 'with dropout, packed sequences equal a batch of them bit for bit: b is the index of the sequence',
  async run({ engine }) {
    const [B, L, H, D] = [4, 19, 2, 8];
    const dropout = { rate: 0.4, seed: 11 };
    const cu = Int32Array.from({ length: B + 1 }, (_, b) => b * L);
    const make = (shape: number[], more: object): Case =>
      makeCase({ q: shape, k: shape, v: shape }, { dropout, ...more }, generator(15));
    const packed = make([B * L, H, D], { cuSeqlens: { q: cu, k: cu } });
    const batch = make([B, L, H, D], { layout: 'blhd' });
    batch.dLogSumExp.forEach((_, n) => {
      const [b, h, i] = [Math.floor(n / (H * L)), Math.floor(n / L) % H, n % L];
      batch.dLogSumExp[n] = packed.dLogSumExp[(b * L + i) * H + h];
    });
    const pick = ({ output, dq, dk, dv }: Awaited<ReturnType<typeof runKernels>>) => ({ output, dq, dk, dv });
    assertSame(pick(await runKernels(engine, packed)), pick(await runKernels(engine, batch)));
  },
};

/** Twelve heads are owners enough to keep their pieces together, two are not: the gradients have the same bits. */
export const headStep: Step = {
  name: 'some heads of a call equal a call of these heads bit for bit',
  async run({ engine }) {
    const [H, L, D] = [12, 530, 8];
    const shape = (heads: number) => ({ q: [1, heads, 20, D], k: [1, heads, L, D], v: [1, heads, L, D] });
    const all = makeCase(shape(H), {}, generator(18));
    const two = makeCase(shape(2), {}, generator(18));
    for (const name of ['q', 'k', 'v'] as const) {
      const own = two.problem[name].tensor.data as Float32Array;
      own.set((all.problem[name].tensor.data as Float32Array).subarray(0, own.length));
    }
    two.dOutput.set(all.dOutput.subarray(0, two.dOutput.length));
    two.dLogSumExp.set(all.dLogSumExp.subarray(0, two.dLogSumExp.length));
    const [got, want] = [await runKernels(engine, two), await runKernels(engine, all)];
    const kept = (x: Float32Array, like: Float32Array) => x.subarray(0, like.length);
    const { dq, dk, dv } = got;
    assertSame(
      { dq, dk, dv },
      {
        dq: kept(want.dq, dq),
        dk: kept(want.dk, dk),
        dv: kept(want.dv, dv),
      },
    );
  },
};
