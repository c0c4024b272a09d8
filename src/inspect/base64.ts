// Bytes as text, for files that hold others.

/** Bytes encoded at a time, a multiple of 3: pieces of base64 join. */
const PIECE = 0x3000;

export function base64(bytes: Uint8Array): string {
  const pieces: string[] = [];
  for (let from = 0; from < bytes.length; from += PIECE)
    pieces.push(btoa(String.fromCharCode(...bytes.subarray(from, from + PIECE))));
  return pieces.join('');
}
