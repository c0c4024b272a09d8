// A file in the Portable Network Graphics format (W3C, third edition), line by line: 8 bits of red, green and blue.
import { Zlib } from 'fflate';

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const TRUE_COLOUR = [8, 2, 0, 0, 0];

export class PngFile {
  private readonly parts: Uint8Array[] = [Uint8Array.from(SIGNATURE)];
  private readonly zlib = new Zlib({ level: 3 }, (bytes) => this.chunk('IDAT', bytes));

  constructor(width: number, height: number) {
    this.chunk('IHDR', Uint8Array.from([...bigEndian(width), ...bigEndian(height), ...TRUE_COLOUR]));
  }

  /** The next line: a 0 (no filter), then width · 3 numbers; copied. */
  line(bytes: Uint8Array): void {
    this.zlib.push(bytes);
  }

  /** The file's bytes, once all lines are given. */
  finish(): Uint8Array {
    this.zlib.push(new Uint8Array(0), true);
    this.chunk('IEND', new Uint8Array(0));
    const file = new Uint8Array(this.parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of this.parts) {
      file.set(part, at);
      at += part.length;
    }
    return file;
  }

  private chunk(name: string, data: Uint8Array): void {
    const made = new Uint8Array(12 + data.length);
    made.set(bigEndian(data.length));
    for (let n = 0; n < 4; n++) made[4 + n] = name.charCodeAt(n);
    made.set(data, 8);
    made.set(bigEndian(checksum(made.subarray(4, 8 + data.length))), 8 + data.length);
    this.parts.push(made);
  }
}

const bigEndian = (x: number): number[] => [x >>> 24, (x >>> 16) & 255, (x >>> 8) & 255, x & 255];

/** Of each byte, what the format's CRC-32 makes of it. */
const REMAINDERS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

function checksum(bytes: Uint8Array): number {
  let rest = 0xffffffff;
  for (const byte of bytes) rest = REMAINDERS[(rest ^ byte) & 255] ^ (rest >>> 8);
  return ~rest >>> 0;
}
