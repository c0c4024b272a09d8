// Attention of few queries over many keys that are cached: which calls the kernel for it serves, and how they are split.
// Not differentiable: it sums scores in another order than the kernels of the backward pass.
import { type AttentionResult, attentionForward } from './attention.js';
import { type AttentionCall, callSlots, type Operand } from './attention-call.js';

/** Calls of at most so many queries and at least so many keys are split over keys; bits depend on it. */
const FEW = 8;
const MANY = 128;
/** Keys of a run; `SPLIT` in assembly/attention-decode.ts says the same. */
const SPLIT = 256;
/** Numbers of keys and values that one part reads, about. */
const PART_NUMBERS = 1 << 17;

/** As attentionForward. Short caches, many queries, dropout and packed sequences are its own kernel's. */
export function attentionDecode(call: AttentionCall, output: Operand): AttentionResult {
  const { B, H, Hkv, Lq, Lk, D, Dv } = call;
  const rows = B * H * Lq;
  if (Lq > FEW || Lk < MANY || rows === 0 || call.dropout || call.packed)
    return attentionForward(call, output);
  const engine = output.tensor.engine;
  const statistic = () => engine.empty([B, H, Lq]);
  const [rowMax, rowSum, logSumExp] = [statistic(), statistic(), statistic()];
  const runs = Math.ceil(Lk / SPLIT);
  const partials = engine.empty([rows * runs, Dv]);
  const partialStats = engine.empty([rows * runs, 2]);
  const ended = engine.zeros([B * Hkv], 'int32');
  const perPart = Math.max(1, Math.floor(PART_NUMBERS / (Math.min(Lk, SPLIT) * (D + Dv))));
  const slots = {
    ...callSlots(call, { rowMax, rowSum }, perPart, logSumExp),
    output: output.tensor.pointer + output.offset * 4,
    outputBatch: output.batch * 4,
    outputHead: output.head * 4,
    outputRow: output.row * 4,
    partials: partials.pointer,
    partialStats: partialStats.pointer,
    ended: ended.pointer,
    runs,
  };
  engine.run('attentionDecode', slots, Math.ceil((B * Hkv * runs) / perPart));
  for (const scratch of [partials, partialStats, ended]) scratch.dispose();
  return { output: output.tensor, rowMax, rowSum, logSumExp };
}
