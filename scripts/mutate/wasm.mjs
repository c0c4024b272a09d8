// Reads a WebAssembly module down to its instructions, and writes it again with functions' bodies changed. Knows the
// instructions that the kernels' compiler emits: MVP, sign extension, bulk memory, threads and SIMD.

/** A cursor over bytes: LEB128 numbers, names, and skips. */
class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }
  byte() {
    return this.bytes[this.at++];
  }
  /** Unsigned LEB128 of up to 53 bits. */
  u() {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }
  /** Signed LEB128 as a BigInt of `bits` bits. */
  s(bits) {
    let value = 0n;
    let shift = 0n;
    for (;;) {
      const byte = this.byte();
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
      if (byte < 128) return BigInt.asIntN(bits, byte & 64 ? value - (1n << shift) : value);
    }
  }
  text() {
    const length = this.u();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
}

export function unsigned(value) {
  const out = [];
  do {
    const low = value % 128;
    value = Math.floor(value / 128);
    out.push(value > 0 ? low + 128 : low);
  } while (value > 0);
  return out;
}

export function signed(value) {
  const out = [];
  for (;;) {
    const low = Number(value & 127n);
    value >>= 7n;
    if ((value === 0n && low < 64) || (value === -1n && low >= 64)) return [...out, low];
    out.push(low + 128);
  }
}

/** Immediates of a SIMD instruction (prefix 0xfd). */
function simdImmediates(r, op, made) {
  if (op <= 11 || op === 92 || op === 93) memory(r, made);
  else if (op === 12) r.at += 16;
  else if (op === 13) {
    made.lanes = r.at;
    r.at += 16;
  } else if (op >= 21 && op <= 34) {
    made.lane = r.at;
    r.at++;
  } else if (op >= 84 && op <= 91) {
    memory(r, made);
    r.at++;
  }
}

function memory(r, made) {
  r.u();
  made.offsetAt = r.at;
  made.offset = r.u();
}

/** One instruction: opcode `op` (prefixed ones as 0xfd00 + n and so on), where it starts and ends, and its immediates. */
function instruction(r) {
  const made = { at: r.at, op: r.byte() };
  const { op } = made;
  if (op === 0x02 || op === 0x03 || op === 0x04) made.block = r.s(33);
  else if (op === 0x0c || op === 0x0d) made.label = r.u();
  else if (op === 0x0e) for (let n = r.u() + 1; n > 0; n--) r.u();
  else if (op === 0x10) made.callee = r.u();
  else if (op === 0x11) made.type = [r.u(), r.u()][0];
  else if (op >= 0x20 && op <= 0x24) made.index = r.u();
  else if (op >= 0x28 && op <= 0x3e) memory(r, made);
  else if (op === 0x3f || op === 0x40) r.at++;
  else if (op === 0x41) made.value = r.s(32);
  else if (op === 0x42) made.value = r.s(64);
  else if (op === 0x43) r.at += 4;
  else if (op === 0x44) r.at += 8;
  else if (op === 0xfc) {
    made.op = 0xfc00 + r.u();
    if (made.op === 0xfc0a) r.at += 2;
    else if (made.op === 0xfc0b) r.at++;
    else if (made.op > 0xfc07) throw new Error(`instruction ${made.op.toString(16)} is not known here`);
  } else if (op === 0xfd) {
    const second = r.u();
    made.op = 0xfd0000 + second;
    simdImmediates(r, second, made);
  } else if (op === 0xfe) {
    made.op = 0xfe00 + r.u();
    if (made.op === 0xfe03) r.at++;
    else memory(r, made);
  } else if (!known(op)) throw new Error(`instruction ${op.toString(16)} is not known here`);
  made.end = r.at;
  return made;
}

/** Whether an instruction without prefix has no immediates. */
function known(op) {
  return (
    op <= 0x01 ||
    op === 0x05 ||
    op === 0x0b ||
    op === 0x0f ||
    op === 0x1a ||
    op === 0x1b ||
    (op >= 0x45 && op <= 0xc4)
  );
}

/**
 * { types, imports, functions, exports }: a type is [parameter types, result types]; a function has its type's index,
 * where its entry starts (the length in front of the body), where its body starts and ends, and its instructions.
 */
export function parseModule(bytes) {
  const r = new Reader(bytes, 8);
  const made = { bytes, types: [], imported: [], functions: [], exports: new Map() };
  const list = (read) => Array.from({ length: r.u() }, read);
  const signatures = [];
  while (r.at < bytes.length) {
    const id = r.byte();
    const sizeAt = r.at;
    const size = r.u();
    const start = r.at;
    if (id === 1) {
      made.types = list(() => [r.byte(), list(() => r.byte()), list(() => r.byte())].slice(1));
    } else if (id === 2) {
      for (let n = r.u(); n > 0; n--) importEntry(r, made);
    } else if (id === 3) {
      signatures.push(...list(() => r.u()));
    } else if (id === 7) {
      for (let n = r.u(); n > 0; n--) {
        const name = r.text();
        const kind = r.byte();
        const index = r.u();
        if (kind === 0) made.exports.set(name, index);
      }
    } else if (id === 10) {
      made.code = { sizeAt, start, end: start + size };
      const count = r.u();
      for (let n = 0; n < count; n++) made.functions.push(body(r, signatures[n]));
    }
    r.at = start + size;
  }
  return made;
}

function importEntry(r, made) {
  r.text();
  r.text();
  const kind = r.byte();
  if (kind === 0) made.imported.push(r.u());
  else if (kind === 2) {
    const flags = r.byte();
    r.u();
    if (flags & 1) r.u();
  } else r.at += 2;
}

function body(r, type) {
  const entry = r.at;
  const size = r.u();
  const start = r.at;
  const end = start + size;
  for (let n = r.u(); n > 0; n--) {
    r.u();
    r.byte();
  }
  const instructions = [];
  while (r.at < end) instructions.push(instruction(r));
  return { type, entry, start, end, instructions };
}

/** The module with changes [from, to) → put within functions' bodies, in the order of the bytes and apart from each other. */
export function editCode({ bytes, code, functions }, edits) {
  const bodies = [bytes.subarray(code.start, functions[0].entry)];
  let next = 0;
  for (const fn of functions) {
    const inside = [];
    let at = fn.start;
    for (; next < edits.length && edits[next].from < fn.end; next++) {
      const { from, to, put } = edits[next];
      inside.push(bytes.subarray(at, from), Uint8Array.from(put));
      at = to;
    }
    inside.push(bytes.subarray(at, fn.end));
    const size = inside.reduce((sum, piece) => sum + piece.length, 0);
    bodies.push(Uint8Array.from(unsigned(size)), ...inside);
  }
  const length = bodies.reduce((sum, piece) => sum + piece.length, 0);
  const head = [bytes.subarray(0, code.sizeAt), Uint8Array.from(unsigned(length))];
  return Buffer.concat([...head, ...bodies, bytes.subarray(code.end)]);
}

/** Indices into `functions` of those that run when the exports of these names do. */
export function reachable({ functions, exports, imported }, names) {
  const found = new Set();
  const visit = (index) => {
    const own = index - imported.length;
    if (own < 0 || found.has(own)) return;
    found.add(own);
    for (const { op, callee } of functions[own].instructions) if (op === 0x10) visit(callee);
  };
  for (const name of names) visit(exports.get(name));
  return [...found].sort((a, b) => a - b);
}

/** What a module's source map says: [offset in the module, source, line, column] by offset; lines and columns from 1. */
export function parseSourceMap({ sources, mappings }) {
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const state = [0, 0, 0, 0];
  return mappings.split(',').map((segment) => {
    let field = 0;
    let value = 0;
    let shift = 0;
    for (const letter of segment) {
      const digit = digits.indexOf(letter);
      value += (digit & 31) << shift;
      shift += 5;
      if (digit >= 32) continue;
      state[field++] += value & 1 ? -(value >> 1) : value >> 1;
      value = 0;
      shift = 0;
    }
    const [offset, source, line, column] = state;
    return [offset, sources[source], line + 1, column + 1];
  });
}
