// Where tensors lie in the engine's memory: a two-level segregated-fit allocator that works on numbers alone.
// It touches no memory itself, so it serves an engine whose memory lives in another thread as well.
// The same calls in the same order give the same addresses.

/** Every block starts and ends on this many bytes: one cache line. */
export const ALIGNMENT = 64;

/** One stretch of memory, taken or free; `before` and `after` are its neighbours by address. */
export interface Block {
  address: number;
  bytes: number;
  free: boolean;
  before: Block | undefined;
  after: Block | undefined;
  previousFree: Block | undefined;
  nextFree: Block | undefined;
}

// Sizes in units of ALIGNMENT: row 0 holds 1..15 exactly; row r > 0 holds [2^(r+3), 2^(r+4)) in 16 steps.
const ROWS = 24;
const STEPS = 16;
/** How many blocks of a size's own bin are looked at before a larger bin is split. */
const SCAN = 64;

const LARGEST = 2 ** 32;

/** Bytes a block of at least `bytes` takes: rounded up, never zero. */
export function roundUp(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
}

function binOf(bytes: number): number {
  const units = bytes / ALIGNMENT;
  if (units < STEPS) return units;
  const log = 31 - Math.clz32(units);
  return (log - 3) * STEPS + ((units >>> (log - 4)) & (STEPS - 1));
}

/** Hands out the bytes [base, end) in blocks; both multiples of ALIGNMENT, end at most 2^32. */
export class Allocator {
  /** First byte that is not managed. */
  end: number;
  /** Bytes handed out, rounding included. */
  taken = 0;
  private last: Block | undefined;
  private readonly heads: (Block | undefined)[] = new Array(ROWS * STEPS).fill(undefined);
  private readonly filled = new Uint16Array(ROWS);

  constructor(base: number, end: number) {
    this.end = base;
    this.extend(end);
  }

  /** A block of at least `bytes`, or undefined when no free stretch is long enough. */
  allocate(bytes: number): Block | undefined {
    const wanted = roundUp(bytes);
    if (wanted > LARGEST) return undefined;
    const block = this.find(wanted);
    if (!block) return undefined;
    this.unlink(block);
    if (block.bytes > wanted) this.split(block, wanted);
    block.free = false;
    this.taken += wanted;
    return block;
  }

  /** Gives a block back; it joins its free neighbours. */
  free(block: Block): void {
    this.taken -= block.bytes;
    block.free = true;
    const { before, after } = block;
    if (after?.free) {
      this.unlink(after);
      this.join(block, after);
    }
    if (before?.free) {
      this.unlink(before);
      this.join(before, block);
      this.link(before);
    } else {
      this.link(block);
    }
  }

  /** Takes the bytes up to `end` under management, after the memory grew. */
  extend(end: number): void {
    if (end <= this.end) return;
    const tail: Block = {
      address: this.end,
      bytes: end - this.end,
      free: true,
      before: this.last,
      after: undefined,
      previousFree: undefined,
      nextFree: undefined,
    };
    if (this.last) this.last.after = tail;
    this.last = tail;
    this.end = end;
    this.taken += tail.bytes;
    this.free(tail);
  }

  /** Bytes by which `end` must move so that `bytes` fit at the end. */
  shortfall(bytes: number): number {
    const tail = this.last?.free ? this.last.bytes : 0;
    return Math.max(0, roundUp(bytes) - tail);
  }

  /** All blocks by address, for tests. */
  blocks(): { address: number; bytes: number; free: boolean }[] {
    const all = [];
    for (let b = this.last; b; b = b.before) all.push({ address: b.address, bytes: b.bytes, free: b.free });
    return all.reverse();
  }

  private find(bytes: number): Block | undefined {
    const bin = binOf(bytes);
    let best: Block | undefined;
    let looks = 0;
    for (let b = this.heads[bin]; b && looks < SCAN; b = b.nextFree, looks++) {
      if (b.bytes === bytes) return b;
      if (b.bytes > bytes && (!best || b.bytes < best.bytes)) best = b;
    }
    return best ?? this.findLarger(bin);
  }

  /** The head of the next filled bin: every block there is long enough. */
  private findLarger(bin: number): Block | undefined {
    let row = Math.floor(bin / STEPS);
    let bits = this.filled[row]! & ~((2 << (bin % STEPS)) - 1);
    while (bits === 0) {
      if (++row === ROWS) return undefined;
      bits = this.filled[row]!;
    }
    return this.heads[row * STEPS + 31 - Math.clz32(bits & -bits)];
  }

  /** Cuts a block that is in no free list down to `bytes`; the rest becomes a free block. */
  private split(block: Block, bytes: number): void {
    const rest: Block = {
      address: block.address + bytes,
      bytes: block.bytes - bytes,
      free: true,
      before: block,
      after: block.after,
      previousFree: undefined,
      nextFree: undefined,
    };
    if (rest.after) rest.after.before = rest;
    else this.last = rest;
    block.after = rest;
    block.bytes = bytes;
    this.link(rest);
  }

  /** `right` becomes the end of `left`. */
  private join(left: Block, right: Block): void {
    left.bytes += right.bytes;
    left.after = right.after;
    if (left.after) left.after.before = left;
    else this.last = left;
  }

  private link(block: Block): void {
    const bin = binOf(block.bytes);
    const head = this.heads[bin];
    block.previousFree = undefined;
    block.nextFree = head;
    if (head) head.previousFree = block;
    this.heads[bin] = block;
    this.filled[Math.floor(bin / STEPS)]! |= 1 << (bin % STEPS);
  }

  private unlink(block: Block): void {
    const bin = binOf(block.bytes);
    const { previousFree, nextFree } = block;
    if (nextFree) nextFree.previousFree = previousFree;
    if (previousFree) previousFree.nextFree = nextFree;
    else {
      this.heads[bin] = nextFree;
      if (!nextFree) this.filled[Math.floor(bin / STEPS)]! &= ~(1 << (bin % STEPS));
    }
    block.previousFree = undefined;
    block.nextFree = undefined;
  }
}
