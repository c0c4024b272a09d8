// The tape: records differentiable ops in order, then walks them once backwards.
// Ownership of gradients: a gradient tensor belongs to all who hold it, counted. It is changed in place only by
// its single holder, and freed when nobody holds it. Parameters are not on the tape: ops add to `parameter.grad`.

import { add, addInto, fill } from '../engine/ops/elementwise.js';
import type { Engine, Tensor } from '../engine/types.js';
import { EngineError, ShapeError } from '../tensor/errors.js';
import type { DropoutStream } from './dropout-stream.js';

/** Gets the gradient of the op's output; passes gradients on with `tape.accumulate` and to `parameter.grad`. */
export type Backward = (gradient: Tensor) => void;

/** The same for an op of several outputs: undefined for those nothing reached, but never for all. */
export type BackwardMany = (gradients: (Tensor | undefined)[]) => void;

interface Entry {
  readonly outputs: readonly Tensor[];
  readonly backward: BackwardMany;
  /** Freed after this entry's backward: statistics that only it reads. */
  readonly saved: readonly Tensor[];
}

/** Storage of a gradient: its handles (views of the same memory) and how many hold it. */
interface Held {
  readonly handles: Tensor[];
  uses: number;
}

export interface TapeOptions {
  /** Keys for dropout. Without it dropout is off, and the forward pass is that of inference. */
  dropout?: DropoutStream | null;
}

const sameShape = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((n, i) => n === b[i]);

/**
 * Make it, run the forward pass and call `backward` inside one `engine.scope`. Backward runs once; it frees
 * the recorded outputs as it passes them, except the one it started from and those given to `retain`.
 */
export class Tape {
  readonly engine: Engine;
  readonly dropout: DropoutStream | null;
  #entries: Entry[] = [];
  #done = false;
  #root: Tensor | null = null;
  readonly #tracked = new Set<Tensor>();
  readonly #retained = new Set<Tensor>();
  readonly #gradients = new Map<Tensor, Tensor>();
  readonly #held = new Map<Tensor, Held>();
  readonly #numbers = new Map<Tensor, number>();

  constructor(engine: Engine, options: TapeOptions = {}) {
    this.engine = engine;
    this.dropout = options.dropout ?? null;
  }

  /** Asks for the gradient of an input, read with `gradient()` after backward. Returns the input. */
  watch(input: Tensor): Tensor {
    this.#tracked.add(input);
    return input;
  }

  /** Keeps an intermediate result, and its gradient, alive through backward. Returns it. */
  retain(tensor: Tensor): Tensor {
    this.#retained.add(tensor);
    return tensor;
  }

  /** Whether a gradient for this tensor is wanted: it is watched, or a recorded op made it. */
  tracks(tensor: Tensor): boolean {
    return this.#tracked.has(tensor);
  }

  /** Number of recorded ops that backward has not passed yet. */
  get length(): number {
    return this.#entries.length;
  }

  /** Adds an op: `output` was computed, `backward` passes its gradient on, `saved` is freed afterwards. */
  record(output: Tensor, backward: Backward, saved: readonly Tensor[] = []): void {
    this.recordMany([output], ([gradient]) => backward(gradient!), saved);
  }

  /** The same for an op that computed several outputs. */
  recordMany(outputs: readonly Tensor[], backward: BackwardMany, saved: readonly Tensor[] = []): void {
    this.#refuseSecondUse();
    for (const output of outputs) this.#tracked.add(output);
    this.#entries.push({ outputs, backward, saved });
  }

  /**
   * Gradients of everything recorded, for `seed` = gradient of the loss with respect to `output`:
   * a tensor of its shape (not changed), or a number (default 1) where `output` has one element.
   * @throws EngineError at a second call; ShapeError where the seed does not fit.
   */
  backward(output: Tensor, seed: Tensor | number = 1): void {
    this.#refuseSecondUse();
    this.#done = true;
    this.#root = output;
    this.#plant(output, seed);
    for (let entry = this.#entries.pop(); entry !== undefined; entry = this.#entries.pop()) this.#pass(entry);
  }

  /** After backward: the gradient of a watched input or retained result; undefined where nothing reached it. */
  gradient(input: Tensor): Tensor | undefined {
    return this.#gradients.get(input);
  }

  /** Adds `gradient` (same number of elements) to what has come for `input`. The caller must not change it after. */
  accumulate(input: Tensor, gradient: Tensor): void {
    if (!this.#tracked.has(input)) {
      if (!this.#held.has(gradient)) gradient.dispose();
      return;
    }
    const held = this.#hold(gradient);
    const incoming = this.#shaped(gradient, input.shape, held);
    const current = this.#gradients.get(input);
    if (current === undefined) {
      held.uses++;
      this.#gradients.set(input, incoming);
      return;
    }
    const currentHeld = this.#hold(current);
    if (currentHeld !== held && currentHeld.uses === 1) {
      addInto(current, incoming);
      this.#release(held, 0);
    } else if (currentHeld !== held && held.uses === 0) {
      addInto(incoming, current);
      held.uses = 1;
      this.#gradients.set(input, incoming);
      this.#release(currentHeld, 1);
    } else {
      const sum = add(current, incoming);
      this.#hold(sum).uses = 1;
      this.#gradients.set(input, sum);
      this.#release(currentHeld, 1);
    }
  }

  /** The gradient that has come for `input` so far, where it may be added to in place; else null. */
  exclusive(input: Tensor): Tensor | null {
    const current = this.#gradients.get(input);
    return current !== undefined && this.#hold(current).uses === 1 ? current : null;
  }

  /** The value of a gradient that the caller of backward gave as a number; undefined for any other. */
  knownNumber(gradient: Tensor): number | undefined {
    return this.#numbers.get(gradient);
  }

  #refuseSecondUse(): void {
    if (this.#done)
      throw new EngineError('tape: backward has run already; make a new tape for the next step');
  }

  #plant(output: Tensor, seed: Tensor | number): void {
    let gradient: Tensor;
    if (typeof seed === 'number') {
      if (output.size !== 1) {
        throw new ShapeError(
          `tape.backward: output of shape [${output.shape}] needs a gradient of its shape`,
        );
      }
      gradient = this.engine.empty(output.shape);
      fill(gradient, seed);
      this.#numbers.set(gradient, seed);
    } else {
      if (!sameShape(seed.shape, output.shape)) {
        throw new ShapeError(
          `tape.backward: gradient has shape [${seed.shape}], expected the output's [${output.shape}]`,
        );
      }
      gradient = seed;
      // The caller's tensor: this use is never released, so it is neither changed nor freed.
      this.#hold(gradient).uses++;
    }
    this.#hold(gradient).uses++;
    this.#gradients.set(output, gradient);
  }

  #pass({ outputs, backward, saved }: Entry): void {
    const gradients = outputs.map((output) => this.#gradients.get(output));
    if (gradients.some(Boolean)) {
      const held = gradients.map((gradient) => gradient && this.#hold(gradient));
      outputs.forEach((output, i) => {
        if (!this.#retained.has(output)) this.#gradients.delete(output);
        else if (held[i]) held[i].uses++;
      });
      backward(gradients);
      for (const one of held) if (one) this.#release(one, 1);
    }
    for (const tensor of saved) tensor.dispose();
    for (const output of outputs) {
      if (output !== this.#root && !this.#retained.has(output)) output.dispose();
    }
  }

  #hold(gradient: Tensor): Held {
    let held = this.#held.get(gradient);
    if (held === undefined) {
      held = { handles: [gradient], uses: 0 };
      this.#held.set(gradient, held);
    }
    return held;
  }

  #shaped(gradient: Tensor, shape: readonly number[], held: Held): Tensor {
    if (sameShape(gradient.shape, shape)) return gradient;
    const view = gradient.reshape(shape);
    held.handles.push(view);
    this.#held.set(view, held);
    return view;
  }

  #release(held: Held, uses: number): void {
    held.uses -= uses;
    if (held.uses > 0) return;
    for (const handle of held.handles) {
      this.#held.delete(handle);
      this.#numbers.delete(handle);
      handle.dispose();
    }
  }
}
