// Fovea, through the door every user takes: attention() on host arrays.
import { attention, createEngine } from '../../../dist/index.js';

export const name = 'fovea';

export async function open({ threads, simd = 'auto' }) {
  const engine = await createEngine({ threads, simd });
  return {
    engine,
    prepare({ B, H, Lq, Lk, D, causal, q, k, v }) {
      const tensor = (data, L) => ({ data, shape: [B, H, L, D] });
      const inputs = [tensor(q, Lq), tensor(k, Lk), tensor(v, Lk)];
      const options = { engine, causal };
      const attend = () => attention(...inputs, options);
      const run = async () => {
        const { output, map } = await attend();
        map.dispose();
        return output.data;
      };
      return { run, attend, inputs, inside: false, close() {} };
    },
    close: () => engine.dispose(),
  };
}
