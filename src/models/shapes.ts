// Names and shapes of a model's parameters, from its configuration alone: files are checked before memory is taken.
import type { Seq2SeqConfig } from './config.js';

/** As `new Seq2Seq(…).parameters()` has them. */
export function seq2SeqShapes(config: Seq2SeqConfig): Map<string, readonly number[]> {
  const { vocabulary, width: E, feedForward: F } = config;
  const shapes = new Map<string, readonly number[]>([['embedding.weight', [vocabulary, E]]]);
  const affine = (name: string, out: number, into: number) =>
    shapes.set(`${name}.weight`, [out, into]).set(`${name}.bias`, [out]);
  const norm = (name: string) => shapes.set(`${name}.weight`, [E]).set(`${name}.bias`, [E]);
  const attention = (name: string) => {
    shapes.set(`${name}.in_proj_weight`, [3 * E, E]).set(`${name}.in_proj_bias`, [3 * E]);
    affine(`${name}.out_proj`, E, E);
  };
  const stack = (name: string, layers: number, attentions: readonly string[]) => {
    for (let i = 0; i < layers; i++) {
      const layer = `${name}.layers.${i}`;
      for (const part of attentions) attention(`${layer}.${part}`);
      affine(`${layer}.linear1`, F, E);
      affine(`${layer}.linear2`, E, F);
      for (let n = 1; n <= attentions.length + 1; n++) norm(`${layer}.norm${n}`);
    }
    norm(`${name}.norm`);
  };
  stack('encoder', config.encoderLayers, ['self_attn']);
  stack('decoder', config.decoderLayers, ['self_attn', 'multihead_attn']);
  return shapes;
}
