// fovea evaluate: scores of a model on parallel text.
import { createEngine } from '../engine/engine.js';
import { evaluate } from '../tasks/evaluate.js';
import { parseParallelText } from '../tasks/parallel-text.js';
import { loadTranslator } from '../tasks/translate.js';
import { findModel, readBytes } from './input.js';
import { Progress, print, tell } from './output.js';

/** As the command line gives them. */
export interface EvaluateVerbOptions {
  data: string;
  beam: number;
  lengthPenalty: number;
  json?: boolean;
  threads?: number;
}

/** Runs the verb. */
export async function runEvaluate(model: string, options: EvaluateVerbOptions): Promise<void> {
  const folder = await findModel(model);
  const lines = parseParallelText(options.data, await readBytes(options.data));
  const engine = await createEngine({ threads: options.threads });
  const progress = new Progress('sentences', lines.length);
  try {
    const translator = await loadTranslator(folder, { engine });
    const result = await evaluate(translator, lines, {
      ...options,
      onProgress: (done) => progress.update(done),
    });
    progress.stop();
    const { sentences, bleu, chrf, loss, left, seconds } = result;
    if (left > 0) tell(`warning: the loss leaves out ${left} references too long for the model`);
    const rate = sentences / seconds;
    if (options.json) {
      const numbers = {
        sentences,
        beam: options.beam,
        lengthPenalty: options.lengthPenalty,
        bleu,
        chrf,
        loss,
        left,
        seconds,
      };
      await print(JSON.stringify(numbers));
    } else {
      await print(`${bleu.text}\n  ${bleu.signature}\n${chrf.text}\n  ${chrf.signature}`);
      await print(`loss = ${loss.toFixed(4)} nats per token, perplexity = ${Math.exp(loss).toFixed(2)}`);
      await print(`${sentences} sentences, beam ${options.beam}, ${rate.toFixed(1)} sentences/s`);
    }
  } finally {
    progress.stop();
    await engine.dispose();
  }
}
