// The machine's peak: the best register tile alone, on data in the first-level cache. In as many parts as a
// multiplication has, so that a thread that the machine holds up does not make the others wait for its share.
import { seeded } from './measure.mjs';

const PARTS_PER_THREAD = 16;
/** Floats from one part's tile to the next. */
const STRIDE = 64;

/** run() and the operations it does, for an engine. Its result is checked: whole numbers, whose sums are exact. */
export async function preparePeak(engine) {
  const random = seeded();
  const k = 256;
  const tile = engine.build === 'relaxed' ? [6, 8] : [5, 8];
  const whole = (count) => Float32Array.from({ length: count }, () => Math.round(random() * 2));
  const a = whole(k * tile[0]);
  const b = whole(k * tile[1]);
  const parts = PARTS_PER_THREAD * engine.threads;
  const [ta, tb, tc] = [
    engine.tensor(a, [k, tile[0]]),
    engine.tensor(b, [k, tile[1]]),
    engine.zeros([parts, STRIDE]),
  ];
  const repeats = 64;
  const flop = 2 * k * tile[0] * tile[1] * repeats * parts;
  const args = { a: ta.pointer, b: tb.pointer, c: tc.pointer, k, repeats };
  const run = () => engine.run('gemmPeak', args, parts);
  run();
  const got = await tc.read();
  for (let at = 0; at < parts * STRIDE; at++) {
    const i = Math.floor((at % STRIDE) / tile[1]);
    const j = at % tile[1];
    if (i >= tile[0]) continue;
    let sum = 0;
    for (let p = 0; p < k; p++) sum += a[p * tile[0] + i] * b[p * tile[1] + j];
    if (got[at] !== sum * repeats)
      throw new Error(`peak: element ${at} is ${got[at]}, expected ${sum * repeats}`);
  }
  return { run, flop };
}
