// Problems as a map holds them: without what weights do not depend on, and copied when their arrays may change.
import type { AttentionProblem, CellTensor, Operand } from '../attention/problem.js';
import type { HostTensor } from '../tensor/host.js';
import { copyTensor } from '../tensor/safetensors.js';

/** A problem without what weights do not depend on: v and dropout. */
export function weighing(p: AttentionProblem): AttentionProblem {
  const nothing: HostTensor = { dtype: 'float32', shape: [0], data: new Float32Array(0) };
  return { ...p, v: { ...p.v, tensor: nothing }, dropout: undefined };
}

export function retained(p: AttentionProblem): AttentionProblem {
  const rows = (operand: Operand): Operand => ({ ...operand, tensor: copyTensor(operand.tensor) });
  const cells = (x?: CellTensor) => x && { ...x, tensor: copyTensor(x.tensor) };
  return {
    ...p,
    q: rows(p.q),
    k: rows(p.k),
    mask: cells(p.mask),
    bias: cells(p.bias),
    alibi: p.alibi && { ...p.alibi, tensor: copyTensor(p.alibi.tensor) },
    sinks: p.sinks && copyTensor(p.sinks),
    keyLengths: p.keyLengths?.slice(),
    packed: p.packed && { q: p.packed.q.slice(), k: p.packed.k.slice() },
  };
}
