// What the properties of attention run in: an engine, ways to more of them, and comparison with the truth. The tests
// and the mutation script (scripts/mutate.mjs) run the same steps, so that a mutant that dies there dies in the tests.
// Steps throw where a property does not hold. They know nothing of the test runner.
import assert from 'node:assert/strict';
import type { Engine } from '../../../dist/engine/types.js';
import { budget } from '../../../dist/map/parts.js';
import { type Case, largestError, type Results, runKernels, truthOf } from '../attention-cases.js';

/** An engine of one thread that counts the turns of its kernels' loops. */
export interface Meter {
  readonly engine: Engine;
  /** Turns since the last call. */
  turns(): number;
}

export interface Lab {
  /** Of one thread. */
  readonly engine: Engine;
  /** Another engine of the same build; who asks disposes it. */
  make(threads: number): Promise<Engine>;
  /** One that runs the parts of each command apart and backwards; with `ends`, also with each operand at the memory's end: see apart.ts. */
  makeApart(ends?: boolean): Promise<Engine>;
  /** The lab's own; it is disposed with the lab. */
  meter(): Promise<Meter>;
}

export interface Step {
  readonly name: string;
  run(lab: Lab): Promise<void>;
}

/** Weights: 4 ulp of float32 at 1, plus what a score's own rounding brings. */
export const WEIGHT_BOUND = 4e-6;

type Truth = ReturnType<typeof truthOf>;
/** Truths by the step's name, so that they are computed once for all builds (and all mutants). */
export const truths = new Map<string, Truth>();

export function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

export function known(name: string, one: Case): Truth {
  const truth = truths.get(name) ?? truthOf(one);
  truths.set(name, truth);
  return truth;
}

/** Computes with so many bytes of working budget: few cut a call into parts. */
export async function withBudget<T>(bytes: number | undefined, compute: () => Promise<T>): Promise<T> {
  const whole = budget.bytes;
  budget.bytes = bytes ?? whole;
  try {
    return await compute();
  } finally {
    budget.bytes = whole;
  }
}

/** Every result within twice the plain float32 computation's error plus 1e-6. */
export function assertTrue(got: Results, { truth, bounds }: Truth, weightBound = WEIGHT_BOUND): void {
  for (const name of Object.keys(truth)) {
    assert.ok(got[name], `${name} is missing`);
    const error = largestError(got[name], truth[name]);
    const bound = bounds[name] ?? weightBound;
    assert.ok(error <= bound, `${name}: error ${error} is over ${bound}`);
  }
}

/** Forward, backward and weights of one case against the truth. */
export function caseStep(name: string, build: () => Case, weightBound?: number): Step {
  const made = once(build);
  return {
    name,
    async run({ engine }) {
      assertTrue(await runKernels(engine, made()), known(name, made()), weightBound);
    },
  };
}

/** The same bits, result by result. */
export function assertSame(got: Results, want: Results, what = ''): void {
  assert.deepEqual(Object.keys(got), Object.keys(want));
  for (const name of Object.keys(want)) {
    const at = want[name].findIndex((x, n) => !Object.is(x, got[name][n]));
    assert.ok(at < 0, `${what} ${name}: element ${at} is ${got[name][at]}, expected ${want[name][at]}`);
    assert.equal(got[name].length, want[name].length);
  }
}

/** The same bits with and without poison; against the truth where it has a name. */
export function cleanAndPoisoned(build: (poison: boolean) => Case, name?: string): Pick<Step, 'run'> {
  const cases = once(() => [build(false), build(true)]);
  return {
    run: async ({ engine }) => {
      const [one, bad] = cases();
      const clean = await runKernels(engine, one);
      if (name !== undefined) assertTrue(clean, known(name, one));
      assertSame(await runKernels(engine, bad), clean);
    },
  };
}
