// fovea/train: optimisers, schedules, batches, averaging, checkpoints and the training loop. Loads in browsers too.
// Modules, the tape and differentiable ops, which a model and its loss are made of, are in fovea/nn.

export { type AveragingOptions, WeightAverage } from './averaging.js';
export { type EncodedPairs, type PackedBatch, packBatch, planEpoch } from './batches.js';
export {
  type Checkpoint,
  INITIAL_STATE,
  parseCheckpoint,
  type RunIdentity,
  restoreCheckpoint,
  serializeCheckpoint,
  type TrainingState,
} from './checkpoint.js';
export { ADAM_DEFAULTS, Adam, type AdamOptions } from './optimizer.js';
export { rateAt, type ScheduleOptions } from './schedule.js';
export {
  DivergenceError,
  InterruptedError,
  type StepLoss,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
} from './trainer.js';
