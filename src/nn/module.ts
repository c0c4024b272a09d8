// Base of all layers: a tree of modules whose parameters are named as in torch's state_dict.
import { Parameter } from '../autograd/parameter.js';
import type { Engine } from '../engine/types.js';
import { DTypeError, OptionError, ShapeError } from '../tensor/errors.js';

/** Numbers of one parameter on the host. */
export interface ParameterData {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** A layer. It owns its parameters, which live outside all scopes until `dispose()`. */
export abstract class Module {
  readonly engine: Engine;
  readonly #parameters = new Map<string, Parameter>();
  readonly #children = new Map<string, Module>();

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Makes a parameter under a name; without data it is zeros. */
  protected parameter(name: string, shape: readonly number[], data?: Float32Array | null): Parameter {
    const parameter = Parameter.create(this.engine, name, shape, data ?? undefined);
    this.#parameters.set(name, parameter);
    return parameter;
  }

  /** Adds a module below this one; its parameters are called `name.…`. */
  protected child<M extends Module>(name: string, module: M): M {
    this.#children.set(name, module);
    return module;
  }

  /** All parameters of this module and those below, by their state_dict name, own ones first. */
  parameters(): Map<string, Parameter> {
    const all = new Map(this.#parameters);
    for (const [name, child] of this.#children) {
      for (const [inner, parameter] of child.parameters()) all.set(`${name}.${inner}`, parameter);
    }
    return all;
  }

  /** Number of trained numbers. */
  get parameterCount(): number {
    let count = 0;
    for (const parameter of new Set(this.parameters().values())) count += parameter.size;
    return count;
  }

  /**
   * Overwrites all parameters. Names must agree exactly, both ways.
   * @throws OptionError for a missing or unknown name; ShapeError, DTypeError for what does not fit.
   */
  load(state: ReadonlyMap<string, ParameterData>): void {
    const parameters = this.parameters();
    for (const name of state.keys()) {
      if (!parameters.has(name)) throw new OptionError(`load: there is no parameter ${name}`);
    }
    for (const [name, { shape }] of parameters) {
      const given = state.get(name);
      if (!given) throw new OptionError(`load: parameter ${name} is missing`);
      if (Object.prototype.toString.call(given.data) !== '[object Float32Array]') {
        throw new DTypeError(`load: ${name} must be a Float32Array`);
      }
      if (given.shape.length !== shape.length || given.shape.some((n, i) => n !== shape[i])) {
        throw new ShapeError(`load: ${name} has shape [${given.shape}], expected [${shape}]`);
      }
    }
    for (const [name, parameter] of parameters) parameter.value.write(state.get(name)!.data);
  }

  zeroGrad(): void {
    for (const parameter of this.parameters().values()) parameter.zeroGrad();
  }

  /** Frees the parameters of this module and those below. */
  dispose(): void {
    for (const parameter of this.#parameters.values()) parameter.dispose();
    for (const child of this.#children.values()) child.dispose();
  }
}
