// fovea/train: optimisers, schedules, batches, averaging, checkpoints and the training loop. Loads in browsers too.

export { type AveragingOptions, WeightAverage } from './averaging.js';
export { type EncodedPairs, type PackedBatch, packBatch, planEpoch } from './batches.js';
export {
  type Checkpoint,
  parseCheckpoint,
  type RunIdentity,
  restoreCheckpoint,
  serializeCheckpoint,
  type TrainingState,
} from './checkpoint.js';
export { Adam, type AdamOptions } from './optimizer.js';
export { rateAt, type ScheduleOptions } from './schedule.js';
export {
  DivergenceError,
  InterruptedError,
  type StepLoss,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
} from './trainer.js';
