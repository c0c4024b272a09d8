// fovea/train: optimisers, schedules, batches, averaging, checkpoints and the training loop. Loads in browsers too.
export { type AdamOptions, Adam } from './optimizer.js';
export { type AveragingOptions, WeightAverage } from './averaging.js';
export { type EncodedPairs, type PackedBatch, packBatch, planEpoch } from './batches.js';
export {
  type Checkpoint, parseCheckpoint, restoreCheckpoint, type RunIdentity, serializeCheckpoint, type TrainingState,
} from './checkpoint.js';
export { rateAt, type ScheduleOptions } from './schedule.js';
export {
  DivergenceError, InterruptedError, type StepLoss, Trainer, type TrainerOptions, type TrainingEvent,
} from './trainer.js';
