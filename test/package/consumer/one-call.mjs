// The least a user writes: one call. Nothing ends the process; it must end by itself.
import { attention } from 'fovea';

const q = { shape: [2, 2], data: Float32Array.of(1, 0, 0, 1) };
const v = { shape: [2, 1], data: Float32Array.of(10, 20) };
const { output, map } = await attention(q, q, v, { causal: true, scale: Math.log(3) });
console.log(
  JSON.stringify({ output: Array.from(output.data), row: Array.from(await map.row({ query: 1 })) }),
);
