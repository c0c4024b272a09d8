// Differentiable element-wise ops: sum, scaling, activation, dropout with residual.

import {
  activationBackward,
  activation as activationRaw,
  add as addRaw,
  type DropoutKey,
  dropoutBackward,
  dropout as dropoutRaw,
  reluDropout,
  reluDropoutBackward,
  scale as scaleRaw,
} from '../../engine/ops/elementwise.js';
import type { Tensor } from '../../engine/types.js';
import { OptionError } from '../../tensor/errors.js';
import type { Tape } from '../tape.js';

export type Activation = 'relu' | 'gelu' | 'gelu-tanh';

/** a + b, of one shape. */
export function add(tape: Tape | null, a: Tensor, b: Tensor): Tensor {
  const y = addRaw(a, b);
  if (tape && (tape.tracks(a) || tape.tracks(b))) {
    tape.record(y, (dy) => {
      tape.accumulate(a, dy);
      tape.accumulate(b, dy);
    });
  }
  return y;
}

/** factor · x. */
export function scale(tape: Tape | null, x: Tensor, factor: number): Tensor {
  const y = scaleRaw(x, factor);
  if (tape?.tracks(x)) tape.record(y, (dy) => tape.accumulate(x, scaleRaw(dy, factor)));
  return y;
}

function checkRate(rate: number): void {
  if (!(rate >= 0 && rate < 1)) throw new OptionError(`dropout: rate must be in [0, 1), got ${rate}`);
}

/** Whether dropout of this rate does anything under this tape. */
export function dropoutActive(tape: Tape | null, rate: number): boolean {
  checkRate(rate);
  return rate > 0 && tape !== null && tape.dropout !== null;
}

/**
 * residual + dropout(x). Off without a tape, without the tape's DropoutStream, or at rate 0: then x itself
 * comes back where there is no residual. `x` is not needed afterwards: callers may dispose it.
 */
export function dropout(tape: Tape | null, x: Tensor, rate: number, residual?: Tensor): Tensor {
  if (!dropoutActive(tape, rate)) return residual ? add(tape, residual, x) : x;
  const t = tape as Tape;
  const key = t.dropout!.next();
  const y = dropoutRaw(x, rate, key, residual);
  if (t.tracks(x) || (residual && t.tracks(residual))) {
    t.record(y, (dy) => {
      if (residual) t.accumulate(residual, dy);
      if (t.tracks(x)) t.accumulate(x, dropoutBackward(dy, rate, key));
    });
  }
  return y;
}

export interface ActivationOptions {
  /** Dropout after the activation. */
  dropout?: number;
  /** Hands x over: it is freed as soon as backward can do without it. */
  consume?: boolean;
}

/**
 * dropout(activation(x)). For ReLU backward needs the output alone: it tells where the input was positive and
 * kept. So a consumed x is freed at once there, and without a tape.
 */
export function activation(
  tape: Tape | null,
  x: Tensor,
  kind: Activation,
  { dropout: rate = 0, consume = false }: ActivationOptions = {},
): Tensor {
  const key = dropoutActive(tape, rate) ? tape!.dropout!.next() : null;
  const y = activate(x, kind, rate, key);
  const recorded = tape?.tracks(x) === true;
  if (recorded) {
    tape.record(y, (dy) => {
      if (kind === 'relu') {
        tape.accumulate(x, key ? reluDropoutBackward(dy, y, rate) : activationBackward(dy, y, kind));
        return;
      }
      const dActive = key ? dropoutBackward(dy, rate, key) : dy;
      tape.accumulate(x, activationBackward(dActive, x, kind));
      if (dActive !== dy) dActive.dispose();
    });
  }
  if (consume && (!recorded || kind === 'relu')) x.dispose();
  return y;
}

function activate(x: Tensor, kind: Activation, rate: number, key: DropoutKey | null): Tensor {
  if (key && kind === 'relu') return reluDropout(x, rate, key);
  const active = activationRaw(x, kind);
  if (!key) return active;
  const y = dropoutRaw(active, rate, key);
  active.dispose();
  return y;
}
