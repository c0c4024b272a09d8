// Leaves of the tape: parameters and row ranges of parameters. They own engine memory and outlive every scope.

import { fill } from '../engine/ops/elementwise.js';
import type { Engine, Tensor } from '../engine/types.js';
import { ShapeError } from '../tensor/errors.js';

/** What differentiable ops take as a trainable operand: gradients are added to `grad` in place. */
export interface Weight {
  readonly value: Tensor;
  readonly grad: Tensor;
}

/** A trainable tensor of a module. `grad` is made, zeroed, at its first use and kept until `dispose()`. */
export class Parameter implements Weight {
  readonly name: string;
  readonly value: Tensor;
  #grad: Tensor | null = null;

  /** Takes ownership of `value` (it leaves the running scope). `name` is the parameter's own name in its module. */
  constructor(name: string, value: Tensor) {
    this.name = name;
    this.value = value.engine.keep(value);
  }

  /** Parameter of zeros, or of the given numbers. */
  static create(engine: Engine, name: string, shape: readonly number[], data?: Float32Array): Parameter {
    return new Parameter(name, data ? engine.tensor(data, shape) : engine.zeros(shape));
  }

  get shape(): readonly number[] {
    return this.value.shape;
  }

  get size(): number {
    return this.value.size;
  }

  /** Same shape as `value`; ops add to it, the optimiser reads and zeroes it. */
  get grad(): Tensor {
    if (this.#grad === null) {
      const { engine, shape } = this.value;
      this.#grad = engine.keep(engine.zeros(shape));
    }
    return this.#grad;
  }

  /** False until something has asked for `grad`: inference allocates none. */
  get hasGrad(): boolean {
    return this.#grad !== null;
  }

  zeroGrad(): void {
    if (this.#grad !== null) fill(this.#grad, 0);
  }

  /** Rows [from, to) as a weight of their own, e.g. the query part of a fused projection. */
  rows(from: number, to: number): ParameterRows {
    return new ParameterRows(this, from, to);
  }

  dispose(): void {
    this.value.dispose();
    this.#grad?.dispose();
    this.#grad = null;
  }
}

/** Rows [from, to) of a parameter's first dimension; storage is the parameter's. */
export class ParameterRows implements Weight {
  readonly value: Tensor;
  readonly #whole: Parameter;
  readonly #from: number;
  readonly #to: number;
  #grad: Tensor | null = null;

  constructor(whole: Parameter, from: number, to: number) {
    if (!(from >= 0 && from < to && to <= whole.shape[0])) {
      throw new ShapeError(`${whole.name}: rows ${from} to ${to} are outside its ${whole.shape[0]} rows`);
    }
    this.#whole = whole;
    this.#from = from;
    this.#to = to;
    this.value = whole.value.engine.keep(whole.value.rows(from, to));
  }

  get grad(): Tensor {
    if (this.#grad === null) {
      this.#grad = this.value.engine.keep(this.#whole.grad.rows(this.#from, this.#to));
    }
    return this.#grad;
  }

  /** Frees the views only: the parameter stays. */
  dispose(): void {
    this.value.dispose();
    this.#grad?.dispose();
    this.#grad = null;
  }
}
