// The training loop: steps, logs, validation, checkpoints, resume. It knows no model, no text and no files: a task
// hands it batches and a loss, and a function that saves.
import { DropoutStream } from '../autograd/dropout-stream.js';
import { Tape } from '../autograd/tape.js';
import { addInto, fill } from '../engine/ops/elementwise.js';
import type { Engine, Tensor } from '../engine/types.js';
import { FoveaError } from '../tensor/errors.js';
import type { WeightAverage } from './averaging.js';
import { INITIAL_STATE, type TrainingState } from './checkpoint.js';
import type { Adam } from './optimizer.js';
import { rateAt, type ScheduleOptions } from './schedule.js';

/** The loss became NaN, infinite, or far larger than it was: going on would only spoil the weights. */
export class DivergenceError extends FoveaError {
  constructor(message: string) {
    super('FOVEA_DIVERGENCE', message);
  }
}

/** The run was stopped by its AbortSignal, after it saved a checkpoint. */
export class InterruptedError extends FoveaError {
  constructor(message: string) {
    super('FOVEA_INTERRUPTED', message);
  }
}

/** What one step's forward pass gives. Sums run over target tokens. */
export interface StepLoss {
  /** [1]: the sum that is minimised; its gradient is divided by `tokens`. */
  readonly loss: Tensor;
  /** [1]: the sum without label smoothing, for reports. */
  readonly plain: Tensor;
  /** Target tokens. */
  readonly tokens: number;
  /** Source and target tokens, for speed. */
  readonly allTokens: number;
}

export interface TrainerOptions<Batch> {
  readonly engine: Engine;
  readonly adam: Adam;
  readonly average?: WeightAverage;
  readonly schedule: ScheduleOptions;
  readonly epochs: number;
  /** The epoch's batches, in order; the same for the same epoch (0-based). */
  plan(epoch: number): readonly Int32Array[];
  pack(members: Int32Array): Batch;
  /** Keys dropout, together with the step. */
  readonly seed: number;
  /** Records the forward pass. */
  loss(tape: Tape, batch: Batch): StepLoss;
  /** Scores after each epoch; `score` (larger is better) chooses the best weights. The average, if any, is in place. */
  validate?(epoch: number): Promise<{ score: number; [name: string]: number }>;
  /** Keeps a checkpoint. */
  save?(state: TrainingState): Promise<void>;
  /** Keeps the weights in place, which scored best so far. */
  saveBest?(state: TrainingState): Promise<void>;
  onEvent?(event: TrainingEvent): void;
  /** Steps between logs. Default 20. */
  logEvery?: number;
  /** Steps between checkpoints within an epoch. Default 200. */
  saveEvery?: number;
  /** A smoothed loss over this, and over 1.5 × its lowest + 1, stops the run. Default 0. */
  divergedOver?: number;
  /** Saves and stops, with an InterruptedError, before the next step. */
  readonly signal?: AbortSignal;
  /** As `signal`, once so many steps are done in all. */
  readonly stopAfter?: number;
  /** Where to go on. Default: the start. */
  readonly state?: TrainingState;
}

export type TrainingEvent =
  | {
      readonly type: 'step';
      readonly step: number;
      readonly steps: number;
      readonly epoch: number;
      readonly epochs: number;
      /** Mean per target token over the steps since the last such event. */
      readonly loss: number;
      readonly plain: number;
      readonly rate: number;
      readonly gradientNorm: number;
      readonly tokensPerSecond: number;
      readonly secondsLeft: number;
    }
  | {
      readonly type: 'epoch';
      readonly epoch: number;
      readonly epochs: number;
      readonly step: number;
      readonly loss: number;
      readonly plain: number;
      readonly seconds: number;
      readonly validationSeconds: number;
      readonly scores: Readonly<Record<string, number>>;
      readonly best: boolean;
    }
  | { readonly type: 'checkpoint'; readonly step: number; readonly seconds: number };

/** Dropout keys are counted from step × this: a step of fewer dropouts shares none with the next. */
const DROPOUTS_PER_STEP = 1024;

/** Lets timers, signals and a page's events run between steps. */
const breathe = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, 0);
  });

/**
 * Trains anything that gives a loss. `Batch` is whatever `pack` makes and `loss` reads:
 * ```ts
 * const adam = new Adam(model.parameters());
 * const trainer = new Trainer({
 *   engine, adam, epochs: 10, seed: 1,
 *   schedule: { kind: 'inverse-square-root', peakRate: 2e-3, warmupSteps: 2000 },
 *   plan: (epoch) => planEpoch(pairs, { tokens: 4096, pool: 5000, seed: 1 }, epoch),
 *   pack: (members) => packBatch(pairs, members, bos, eos),
 *   loss: (tape, batch) => model.loss(tape, batch, 0.1),
 * });
 * await trainer.run();
 * ```
 */
export class Trainer<Batch> {
  /** Where the run stands; changes as it goes on. */
  readonly state: TrainingState;
  readonly #o: TrainerOptions<Batch>;
  /** [loss sum, plain sum, squared gradient norm] of one step, on the engine. */
  readonly #sums: Tensor;
  /** Since the last log. */
  #interval = { loss: 0, plain: 0, tokens: 0, allTokens: 0, steps: 0, norm: 0 };
  #logStarted = 0;
  #trained = 0;
  #trainedSteps = 0;

  constructor(options: TrainerOptions<Batch>) {
    this.#o = options;
    this.state = { ...INITIAL_STATE, ...options.state };
    this.#sums = options.engine.keep(options.engine.zeros([3]));
  }

  /** Runs to the last epoch. Throws DivergenceError, or InterruptedError once the signal's stop is saved. */
  async run(): Promise<TrainingState> {
    const { epochs } = this.#o;
    try {
      let totalSteps = 0;
      for (let epoch = 0; epoch < epochs; epoch++) totalSteps += this.#o.plan(epoch).length;
      while (this.state.epoch < epochs) await this.#epoch(totalSteps);
    } finally {
      this.#sums.dispose();
    }
    return this.state;
  }

  async #epoch(totalSteps: number): Promise<void> {
    const { state } = this;
    const { signal, stopAfter = Number.POSITIVE_INFINITY, logEvery = 20, saveEvery = 200 } = this.#o;
    const plan = this.#o.plan(state.epoch);
    const started = performance.now();
    this.#logStarted = started;
    let saved = state.step;
    while (state.place < plan.length) {
      if (signal?.aborted || state.step >= stopAfter) await this.#stop(totalSteps);
      await this.#step(this.#o.pack(plan[state.place]), totalSteps);
      state.place++;
      await breathe();
      if (this.#interval.steps >= logEvery || state.place === plan.length) this.#log(totalSteps);
      if (state.step - saved >= saveEvery && state.place < plan.length) {
        saved = state.step;
        await this.#save();
      }
    }
    await this.#endEpoch((performance.now() - started) / 1000);
  }

  async #step(batch: Batch, totalSteps: number): Promise<void> {
    const { engine, adam, average, schedule, seed } = this.#o;
    const { state } = this;
    const step = ++state.step;
    const { tokens, allTokens } = engine.scope(() => {
      const tape = new Tape(engine, { dropout: new DropoutStream(seed, (step * DROPOUTS_PER_STEP) >>> 0) });
      const { loss, plain, tokens, allTokens } = this.#o.loss(tape, batch);
      tape.backward(loss);
      fill(this.#sums, 0);
      addInto(this.#sums.rows(0, 1), loss);
      addInto(this.#sums.rows(1, 2), plain);
      const rate = rateAt(step, totalSteps, schedule);
      adam.step(state.earlierSteps + step, rate, 1 / tokens, this.#sums.rows(2, 3));
      average?.update(step);
      return { tokens, allTokens };
    });
    const [loss, plain, squared] = (await this.#sums.read()) as Float32Array;
    this.#check(loss / tokens, Math.sqrt(squared));
    state.epochLoss += loss;
    state.epochPlain += plain;
    state.epochTokens += tokens;
    if (average) state.averageSamples = average.samples;
    const interval = this.#interval;
    interval.loss += loss;
    interval.plain += plain;
    interval.tokens += tokens;
    interval.allTokens += allTokens;
    interval.norm = Math.sqrt(squared) / tokens;
    interval.steps++;
  }

  #log(totalSteps: number): void {
    const { state } = this;
    const { loss, plain, tokens, allTokens, steps, norm } = this.#interval;
    if (steps === 0) return;
    const seconds = (performance.now() - this.#logStarted) / 1000;
    state.seconds += seconds;
    this.#trained += seconds;
    this.#trainedSteps += steps;
    this.#o.onEvent?.({
      type: 'step',
      step: state.step,
      steps: totalSteps,
      epoch: state.epoch + 1,
      epochs: this.#o.epochs,
      loss: loss / tokens,
      plain: plain / tokens,
      rate: rateAt(state.step, totalSteps, this.#o.schedule),
      gradientNorm: norm,
      tokensPerSecond: allTokens / seconds,
      secondsLeft: ((totalSteps - state.step) * this.#trained) / this.#trainedSteps,
    });
    this.#interval = { loss: 0, plain: 0, tokens: 0, allTokens: 0, steps: 0, norm: 0 };
    this.#logStarted = performance.now();
  }

  /** Stops a run whose loss or gradient is not finite, or whose smoothed loss is far over its lowest. */
  #check(mean: number, gradientNorm: number): void {
    const { state } = this;
    const at = `step ${state.step} (epoch ${state.epoch + 1})`;
    const advice =
      'the last checkpoint is kept; try a lower peak rate, a longer warm-up or gradient clipping';
    if (!Number.isFinite(mean))
      throw new DivergenceError(`training: the loss became ${mean} at ${at}; ${advice}`);
    if (!Number.isFinite(gradientNorm)) {
      throw new DivergenceError(`training: the gradient's norm became ${gradientNorm} at ${at}; ${advice}`);
    }
    state.smoothLoss = state.smoothLoss === null ? mean : 0.95 * state.smoothLoss + 0.05 * mean;
    const lowest = Math.min(state.lowestLoss ?? mean, state.smoothLoss);
    state.lowestLoss = lowest;
    if (state.smoothLoss > Math.max(this.#o.divergedOver ?? 0, 1.5 * lowest + 1)) {
      throw new DivergenceError(
        `training: the loss diverged to ${state.smoothLoss.toFixed(2)} at ${at}, its lowest was ` +
          `${lowest.toFixed(2)}; ${advice}`,
      );
    }
  }

  async #save(): Promise<void> {
    if (!this.#o.save) return;
    const started = performance.now();
    await this.#o.save(this.state);
    const seconds = (performance.now() - started) / 1000;
    this.#o.onEvent?.({ type: 'checkpoint', step: this.state.step, seconds });
    this.#logStarted += seconds * 1000;
  }

  async #stop(totalSteps: number): Promise<never> {
    await this.#save();
    throw new InterruptedError(`training: stopped at step ${this.state.step} of ${totalSteps}; saved`);
  }

  async #endEpoch(seconds: number): Promise<void> {
    const { state } = this;
    const { average } = this.#o;
    state.epoch++;
    state.place = 0;
    const loss = state.epochLoss / state.epochTokens;
    const plain = state.epochPlain / state.epochTokens;
    state.epochLoss = state.epochPlain = state.epochTokens = 0;
    const started = performance.now();
    const evaluate = async () => {
      const scores: Record<string, number> = (await this.#o.validate?.(state.epoch - 1)) ?? {};
      const score = scores.score ?? -loss;
      const best = state.bestScore === null || score > state.bestScore;
      if (best) {
        state.bestScore = score;
        await this.#o.saveBest?.(state);
      }
      return { scores, best };
    };
    const { scores, best } = average ? await average.during(evaluate) : await evaluate();
    const validationSeconds = (performance.now() - started) / 1000;
    this.#o.onEvent?.({
      type: 'epoch',
      epoch: state.epoch,
      epochs: this.#o.epochs,
      step: state.step,
      loss,
      plain,
      seconds,
      validationSeconds,
      scores,
      best,
    });
    await this.#save();
  }
}
