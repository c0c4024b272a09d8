// A training checkpoint: one safetensors file with the parameters, Adam's moments, the average, and, as metadata,
// the place in the run and what the run depends on. Reading checks everything; it knows no file system.

import type { Tensor } from '../engine/types.js';
import { FileFormatError } from '../tensor/errors.js';
import { parseSafetensors, serializeSafetensors } from '../tensor/safetensors.js';
import type { WeightAverage } from './averaging.js';
import { readBuffers, valuesOf, writeBuffers } from './buffers.js';
import type { Adam } from './optimizer.js';

const FORMAT = 'fovea-checkpoint';
const VERSION = 1;

/** Where a run stands. All generators are keyed by seed, epoch and step, so these are their counters too. */
export interface TrainingState {
  /** Optimiser steps done. */
  step: number;
  /** Steps that Adam's moments had seen when the run took them over; 0 where it began with none. */
  earlierSteps: number;
  /** Epochs done. */
  epoch: number;
  /** Batches done in the running epoch's order. */
  place: number;
  /** Sums over the running epoch: smoothed loss, plain loss, target tokens. */
  epochLoss: number;
  epochPlain: number;
  epochTokens: number;
  /** Samples in the weight average. */
  averageSamples: number;
  /** Exponential mean of the steps' loss, and the lowest it was: far over it is divergence. */
  smoothLoss: number | null;
  lowestLoss: number | null;
  /** The best score of a validation so far. */
  bestScore: number | null;
  /** Seconds of training so far. */
  seconds: number;
}

/** The start of a run. */
export const INITIAL_STATE: Readonly<TrainingState> = {
  step: 0,
  earlierSteps: 0,
  epoch: 0,
  place: 0,
  epochLoss: 0,
  epochPlain: 0,
  epochTokens: 0,
  averageSamples: 0,
  smoothLoss: null,
  lowestLoss: null,
  bestScore: null,
  seconds: 0,
};

/** What a run depends on: it resumes to the bit only where all of these are the same. */
export interface RunIdentity {
  config: string;
  data: string;
  tokenizer: string;
  build: string;
}

export interface Checkpoint {
  readonly state: TrainingState;
  readonly identity: RunIdentity;
  readonly tensors: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>;
}

type Buffers = { adam: Adam; average?: WeightAverage };

function parts({ adam, average }: Buffers): [string, ReadonlyMap<string, Tensor>][] {
  const list: [string, ReadonlyMap<string, Tensor>][] = [
    ['values.', valuesOf(adam.parameters)],
    ['adam.m.', adam.m],
    ['adam.v.', adam.v],
  ];
  if (average) list.push(['average.', average.values]);
  return list;
}

/** The bytes of a checkpoint: parameters, moments and average are read from the engine. */
export async function serializeCheckpoint(
  buffers: Buffers,
  state: TrainingState,
  identity: RunIdentity,
): Promise<Uint8Array> {
  const tensors: [string, { dtype: 'float32'; shape: readonly number[]; data: Float32Array }][] = [];
  for (const [prefix, buffer] of parts(buffers)) {
    for (const [name, { shape, data }] of await readBuffers(buffer)) {
      tensors.push([prefix + name, { dtype: 'float32', shape, data }]);
    }
  }
  return serializeSafetensors(tensors, [
    ['format', FORMAT],
    ['version', String(VERSION)],
    ['state', JSON.stringify(state)],
    ['identity', JSON.stringify(identity)],
  ]);
}

/** Throws FileFormatError for anything that is not a whole checkpoint of a version this code knows. */
export function parseCheckpoint(bytes: Uint8Array): Checkpoint {
  const { tensors, metadata } = parseSafetensors(bytes);
  const format = metadata.get('format');
  if (format !== FORMAT)
    throw new FileFormatError(`checkpoint: expected format ${FORMAT}, got ${format ?? 'none'}`);
  const version = Number(metadata.get('version'));
  if (version !== VERSION) {
    throw new FileFormatError(
      `checkpoint: expected version ${VERSION}, got ${metadata.get('version') ?? 'none'}`,
    );
  }
  const state = parseState(json(metadata, 'state'));
  const identity = parseIdentity(json(metadata, 'identity'));
  const out = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  for (const [name, { dtype, shape, data }] of tensors) {
    if (dtype !== 'float32')
      throw new FileFormatError(`checkpoint: tensor ${name}: expected float32, got ${dtype}`);
    out.set(name, { shape, data: data as Float32Array });
  }
  return { state, identity, tensors: out };
}

function json(metadata: ReadonlyMap<string, string>, key: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(metadata.get(key) ?? '');
  } catch (cause) {
    throw new FileFormatError(`checkpoint: metadata ${key}: expected JSON`, { cause });
  }
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new FileFormatError(`checkpoint: metadata ${key}: expected an object, got ${value}`);
}

const COUNTERS = ['step', 'earlierSteps', 'epoch', 'place', 'epochTokens', 'averageSamples'];

function parseState(given: Record<string, unknown>): TrainingState {
  // A checkpoint written before runs could take over moments took over none.
  const value: Record<string, unknown> = { earlierSteps: 0, ...given };
  for (const [key, initial] of Object.entries(INITIAL_STATE)) {
    const got = value[key];
    if (initial === null && got === null) continue;
    const fits = COUNTERS.includes(key)
      ? Number.isSafeInteger(got) && Number(got) >= 0
      : Number.isFinite(got);
    const expected = COUNTERS.includes(key) ? 'a whole number from 0' : 'a number';
    if (!fits) throw new FileFormatError(`checkpoint: state.${key}: expected ${expected}, got ${got}`);
  }
  return value as unknown as TrainingState;
}

function parseIdentity(value: Record<string, unknown>): RunIdentity {
  for (const key of ['config', 'data', 'tokenizer', 'build']) {
    if (typeof value[key] === 'string') continue;
    throw new FileFormatError(`checkpoint: identity.${key}: expected a string, got ${value[key]}`);
  }
  return value as unknown as RunIdentity;
}

/**
 * Puts a checkpoint's numbers into the buffers of a run.
 * @throws FileFormatError where a tensor is missing or misshapen; the buffers are then partly written.
 */
export function restoreCheckpoint(buffers: Buffers, checkpoint: Checkpoint): void {
  for (const [prefix, buffer] of parts(buffers)) writeBuffers(buffer, checkpoint.tensors, prefix);
  if (buffers.average) buffers.average.samples = checkpoint.state.averageSamples;
}
