// How threads share one job without locks. One 32-bit word, the ticket, holds the job's generation (20 bits) and how
// many of its parts nobody has taken (12 bits). A part is taken by exchanging the whole word, so a thread that looked
// at an earlier job can never take a part of a later one. The caller publishes a job only when the last is complete:
// whoever has taken a part may read the other job words at leisure.

/** Indices of 32-bit words; the words written by different threads lie 128 bytes apart. */
export const TICKET = 0;
/** Parts not yet completed. */
export const PENDING = 32;
/** Threads that wait for a ticket. */
export const SLEEPERS = 64;
/** Kernel number, parts that were published, number of the first of them. */
export const KERNEL = 96;
export const PARTS = 97;
export const BASE = 98;
/** Nonzero once a kernel trapped in a thread. */
export const FAULT = 128;
/** Nonzero once threads are to end. */
export const QUIT = 129;
export const CONTROL_WORDS = 256;

const PART_BITS = 12;
/** Parts one ticket can hold. */
export const MAXIMUM_PARTS = (1 << PART_BITS) - 1;

export type Kernel = (args: number, part: number) => void;

/** Makes a job of `parts` parts visible; part 0 is the caller's own, the others are open to all. */
export function publish(control: Int32Array, kernel: number, base: number, parts: number): void {
  control[KERNEL] = kernel;
  control[PARTS] = parts;
  control[BASE] = base;
  Atomics.store(control, PENDING, parts);
  const generation = (Atomics.load(control, TICKET) >>> PART_BITS) + 1;
  Atomics.store(control, TICKET, (generation << PART_BITS) | (parts - 1));
  if (Atomics.load(control, SLEEPERS) > 0) Atomics.notify(control, TICKET, parts - 1);
}

/** Takes one part of the job: its number, or -1 when none is left. */
export function take(control: Int32Array): number {
  let ticket = Atomics.load(control, TICKET);
  for (;;) {
    const left = ticket & MAXIMUM_PARTS;
    if (left === 0) return -1;
    const found = Atomics.compareExchange(control, TICKET, ticket, ticket - 1);
    if (found === ticket) return control[BASE]! + control[PARTS]! - left;
    ticket = found;
  }
}

/** Withdraws the parts nobody has taken and makes every thread end that is not in a kernel. */
export function close(control: Int32Array): void {
  Atomics.store(control, QUIT, 1);
  const generation = (Atomics.load(control, TICKET) >>> PART_BITS) + 1;
  Atomics.store(control, TICKET, generation << PART_BITS);
  Atomics.notify(control, TICKET);
}

/** True once the word differs from `value`; false when `milliseconds` pass before. */
export function spin(control: Int32Array, word: number, value: number, milliseconds: number): boolean {
  const end = performance.now() + milliseconds;
  do {
    for (let i = 0; i < 64; i++) if (Atomics.load(control, word) !== value) return true;
  } while (performance.now() < end);
  return false;
}

/**
 * How long an idle thread looks for the next job before it sleeps, in milliseconds: longer than a caller takes between two short
 * calls, which at 0.05 ms took up to 18% longer.
 */
const IDLE_SPIN = 0.2;

/** A thread's life: takes parts until the engine ends; returns what a kernel threw, if one did. */
export function serve(control: Int32Array, kernels: readonly Kernel[], args: number): unknown {
  for (;;) {
    const part = take(control);
    if (part < 0) {
      if (Atomics.load(control, QUIT) !== 0) return undefined;
      rest(control);
      continue;
    }
    let fault: unknown;
    try {
      kernels[control[KERNEL]!]!(args, part);
    } catch (reason) {
      fault = reason ?? new Error('unknown');
      Atomics.store(control, FAULT, 1);
    }
    if (Atomics.sub(control, PENDING, 1) === 1) Atomics.notify(control, PENDING);
    if (fault !== undefined) return fault;
  }
}

/** Returns when there may be something to take: looks for a while, then sleeps. */
function rest(control: Int32Array): void {
  const ticket = Atomics.load(control, TICKET);
  if ((ticket & MAXIMUM_PARTS) !== 0 || spin(control, TICKET, ticket, IDLE_SPIN)) return;
  Atomics.add(control, SLEEPERS, 1);
  Atomics.wait(control, TICKET, ticket);
  Atomics.sub(control, SLEEPERS, 1);
}
