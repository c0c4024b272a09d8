// Every entry point as a typed consumer uses it; only type-checked. @ts-expect-error lines must be errors.
import {
  type AttentionMap,
  type AttentionOutput,
  attention,
  configure,
  createEngine,
  type Engine,
  OptionError,
  ShapeError,
} from 'fovea';
import { alignWords, crossWeights, drawHeatMap } from 'fovea/inspect';
import { MultiHeadAttention, ops, Random, Tape } from 'fovea/nn';
import { bleu, loadTranslator, type Translation } from 'fovea/tasks';
import { Adam, rateAt } from 'fovea/train';

const q = { data: new Float32Array(8), shape: [2, 4] };

export async function attend(): Promise<Float32Array> {
  const result: AttentionOutput = await attention(q, q, q, { causal: 'lower-right', window: [3, -1] });
  const map: AttentionMap = result.map;
  // @ts-expect-error: causal takes no such word
  await attention(q, q, q, { causal: 'middle' });
  // @ts-expect-error: a row has a query
  await map.row({ head: 0 });
  const row: Float32Array = await map.row({ query: 1 });
  map.dispose();
  return row;
}

export async function build(): Promise<number> {
  configure({ workerUrl: './worker.js', wasmUrl: { relaxed: './r.wasm', strict: './s.wasm' } });
  const engine: Engine = await createEngine({ threads: 2, simd: 'auto' });
  const tape = new Tape(engine);
  const step: number = rateAt(1, 100, { kind: 'inverse-square-root', peakRate: 1e-3, warmupSteps: 10 });
  return step + [tape, ops, Random, MultiHeadAttention, Adam].length;
}

export async function translate(): Promise<string> {
  const translator = await loadTranslator('./model');
  const [first]: Translation[] = await translator.translate(['I see.'], { beam: 4 });
  const words = alignWords(first.source, first.target, crossWeights(await first.attention(), {}));
  const score: number = bleu([first.text], [['Je vois.']]).score;
  return `${words.sourceWords.join(' ')} ${score} ${drawHeatMap.name}`;
}

export function explain(error: unknown): string {
  return error instanceof ShapeError || error instanceof OptionError ? error.code : 'unknown';
}
