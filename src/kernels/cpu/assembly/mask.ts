// Combines two broadcast masks and widens them for appended keys: out[p,i,j] over planes p = (b,h).
// bool: a AND b, appended keys allowed. float32: a + b, appended keys 0. A pointer of 0 is no mask.
// One part is one plane; plain loops, since masks are small beside the scores they forbid.
import { argU } from './runtime';

/** Slots: see registry.ts. Strides count elements. */
export function maskCombine(args: usize, part: u32): void {
  const float = argU(args, 0) !== 0;
  const out = <usize>argU(args, 1);
  const H = argU(args, 2);
  const I = argU(args, 3);
  const J = argU(args, 4);
  const width = argU(args, 5);
  const a = <usize>argU(args, 6);
  const b = <usize>argU(args, 11);
  const batch = part / H;
  const head = part % H;
  const shift: usize = float ? 2 : 0;
  const aPlane = <usize>(batch * argU(args, 7) + head * argU(args, 8));
  const bPlane = <usize>(batch * argU(args, 12) + head * argU(args, 13));
  const aColumn = <usize>argU(args, 10);
  const bColumn = <usize>argU(args, 15);
  for (let i: u32 = 0; i < I; i++) {
    const aRow = a + ((aPlane + i * argU(args, 9)) << shift);
    const bRow = b + ((bPlane + i * argU(args, 14)) << shift);
    const target = out + (((<usize>part * I + i) * J) << shift);
    for (let j: usize = 0; j < <usize>J; j++) {
      const inside = j < <usize>width;
      if (float) {
        let sum: f32 = 0;
        if (inside && a !== 0) sum += load<f32>(aRow + ((j * aColumn) << 2));
        if (inside && b !== 0) sum += load<f32>(bRow + ((j * bColumn) << 2));
        store<f32>(target + (j << 2), sum);
      } else {
        let allowed: u32 = 1;
        if (inside && a !== 0 && load<u8>(aRow + j * aColumn) === 0) allowed = 0;
        if (inside && b !== 0 && load<u8>(bRow + j * bColumn) === 0) allowed = 0;
        store<u8>(target + j, <u8>allowed);
      }
    }
  }
}
