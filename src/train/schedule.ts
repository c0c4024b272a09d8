// Learning-rate schedules: the rate of a 1-based optimiser step, a plain function of the step.
import { OptionError } from '../tensor/errors.js';

export interface ScheduleOptions {
  kind: 'inverse-square-root' | 'constant';
  /** The highest rate; reached at the end of the warm-up. */
  peakRate: number;
  /** Steps of linear rise from 0; 0 is none. */
  warmupSteps: number;
  /** Over the last `steps` of the run the rate goes to 0 times a line or half a cosine. */
  cooldown?: { shape: 'linear' | 'cosine'; steps: number };
}

/**
 * Rate at `step` (1-based) of a run of `totalSteps`.
 * inverse-square-root: peak·min(step/warmup, √(warmup/step)) ("Attention Is All You Need", 5.3).
 */
export function rateAt(step: number, totalSteps: number, options: ScheduleOptions): number {
  if (!(step >= 1)) throw new OptionError(`schedule: step must be at least 1, got ${step}`);
  const { peakRate, warmupSteps: warmup, cooldown } = options;
  let rate = peakRate;
  if (step < warmup) rate = (peakRate * step) / warmup;
  else if (options.kind === 'inverse-square-root') rate = peakRate * Math.sqrt(Math.max(1, warmup) / step);
  if (cooldown && cooldown.steps > 0) {
    const left = Math.max(0, Math.min(1, (totalSteps - step + 1) / cooldown.steps));
    rate *= cooldown.shape === 'linear' ? left : 0.5 - 0.5 * Math.cos(Math.PI * left);
  }
  return rate;
}
