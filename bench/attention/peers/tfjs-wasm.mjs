// TensorFlow.js on its WebAssembly backend, which has no fused attention: the two products and the softmax between.
import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';

export const name = 'tfjs-wasm';

export async function open() {
  await tf.setBackend('wasm');
  await tf.ready();
  return {
    prepare({ B, H, Lq, Lk, D, q, k, v }) {
      const attend = () => {
        const query = tf.tensor4d(q, [B, H, Lq, D]);
        const [key, value] = [k, v].map((data) => tf.tensor4d(data, [B, H, Lk, D]));
        const scores = tf.mul(tf.matMul(query, key, false, true), 1 / Math.sqrt(D));
        return tf.matMul(tf.softmax(scores), value);
      };
      return {
        run: async () => {
          const output = tf.tidy(attend);
          const data = await output.data();
          output.dispose();
          return data;
        },
        inside: false,
        close() {},
      };
    },
    close() {},
  };
}
