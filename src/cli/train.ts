// `fovea train CONFIG.json`: trains or goes on training, with a progress bar; Ctrl-C saves first.
import { resolve } from 'node:path';
import process from 'node:process';
import { createEngine } from '../engine/engine.js';
import { type TrainMessage, trainFromConfig } from '../tasks/train.js';
import { InterruptedError, type TrainingEvent } from '../train/index.js';
import { trainProgress } from './train-progress.js';

export interface TrainCommandOptions {
  /** Begin anew, whatever the output folder holds. */
  restart?: boolean;
  /** One line of JSON per event on stdout. */
  json?: boolean;
  threads?: number;
}

/** Runs the verb; resolves with the exit code: 0 done, 130 interrupted. Errors other than Ctrl-C reject. */
export async function trainCommand(configPath: string, options: TrainCommandOptions): Promise<number> {
  const stop = new AbortController();
  const interrupt = () => {
    process.stderr.write('\nstopping: saving a checkpoint first (Ctrl-C again to give up)\n');
    stop.abort();
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const engine = await createEngine({ threads: options.threads });
  const progress = trainProgress(process.stderr);
  const onEvent = (event: TrainingEvent | TrainMessage) => {
    if (options.json) process.stdout.write(`${JSON.stringify(event)}\n`);
    progress.show(event);
  };
  try {
    const { best, state } = await trainFromConfig({
      engine,
      configPath: resolve(configPath),
      restart: options.restart,
      signal: stop.signal,
      onEvent,
    });
    progress.end();
    process.stderr.write(`done after ${state.step} steps; the best model is in ${best}\n`);
    return 0;
  } catch (error) {
    progress.end();
    if (!(error instanceof InterruptedError)) throw error;
    process.stderr.write(`${error.message}. To go on: fovea train ${configPath}\n`);
    return 130;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    await engine.dispose();
  }
}
