// ONNX Runtime's fused MultiHeadAttention: what its builds for WebAssembly and for Node have in common. Inputs lie as the
// operator takes them, before the clock starts.
import { multiHeadAttention } from '../onnx.mjs';
import { headsInside } from '../problem.mjs';

export function openRuntime(ort, sessionOptions) {
  return {
    async prepare(problem, { headsFirst = false } = {}) {
      const { B, H, Lq, Lk, D, q, k, v } = problem;
      const session = await ort.InferenceSession.create(
        multiHeadAttention(problem, { headsFirst }),
        sessionOptions,
      );
      const rows = (data, L) => new ort.Tensor('float32', headsInside(data, problem, L), [B, L, H * D]);
      const keys = (data) => (headsFirst ? new ort.Tensor('float32', data, [B, H, Lk, D]) : rows(data, Lk));
      const feeds = { query: rows(q, Lq), key: keys(k), value: keys(v) };
      return {
        run: async () => (await session.run(feeds)).output.data,
        inside: true,
        close: () => session.release(),
      };
    },
    close() {},
  };
}
