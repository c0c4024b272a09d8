// Reads ../shared/conformance/torch-reference and speaks PyTorch's conventions for it: bool masks there say
// true = may NOT attend, three-dimensional masks are [B·H,Lq,Lk], tensors may be seq-first.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Tape } from '../../dist/autograd/tape.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import type { Module, ParameterData } from '../../dist/nn/index.js';
import { parseSafetensors } from '../../dist/tensor/safetensors.js';

const folder = join(dirname(fileURLToPath(import.meta.url)), '../../../shared/conformance/torch-reference');
export const available = existsSync(join(folder, 'manifest.json'));
export const MISSING = available ? '' : ' (skipped: ../shared/conformance is missing)';

export interface HostNumbers {
  data: Float64Array;
  shape: readonly number[];
  bool: boolean;
}

export interface TorchCase {
  name: string;
  kind: string;
  attributes: Record<string, unknown>;
  tensors: Map<string, HostNumbers>;
}

/** All cases of these kinds; empty where the folder is missing. */
export function torchCases(...kinds: string[]): TorchCase[] {
  if (!available) return [];
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as {
    cases: { name: string; kind: string; file: string; attributes: Record<string, unknown> }[];
  };
  return manifest.cases
    .filter(({ kind }) => kinds.includes(kind))
    .map(({ name, kind, file, attributes }) => {
      const { tensors } = parseSafetensors(new Uint8Array(readFileSync(join(folder, file))));
      const numbers = [...tensors].map(([key, { dtype, shape, data }]): [string, HostNumbers] => [
        key,
        { data: Float64Array.from(data as ArrayLike<number>), shape, bool: dtype === 'bool' },
      ]);
      return { name, kind, attributes, tensors: new Map(numbers) };
    });
}

/** Entries under a prefix, without it. */
export function under(testCase: TorchCase, prefix: string): Map<string, HostNumbers> {
  return new Map(
    [...testCase.tensors]
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value]),
  );
}

export function loadParameters(module: Module, testCase: TorchCase): void {
  const state = [...under(testCase, 'param.')].map(([name, { data, shape }]): [string, ParameterData] => [
    name,
    { data: Float32Array.from(data), shape },
  ]);
  module.load(new Map(state));
}

/** The inputs in the engine; those whose gradient the case gives are watched. */
export function inputs(engine: Engine, tape: Tape, testCase: TorchCase): Map<string, Tensor> {
  const all = new Map<string, Tensor>();
  for (const [name, { data, shape, bool }] of under(testCase, 'in.')) {
    if (bool) {
      // PyTorch: true forbids; here: true allows.
      all.set(
        name,
        engine.tensor(
          Uint8Array.from(data, (forbidden) => +!forbidden),
          shape,
        ),
      );
      continue;
    }
    const tensor = engine.tensor(Float32Array.from(data), shape);
    all.set(name, testCase.tensors.has(`grad.in.${name}`) ? tape.watch(tensor) : tensor);
  }
  return all;
}

/** A mask [B·H,Lq,Lk] as [B,H,Lq,Lk]. */
export function splitHeads(mask: Tensor | undefined, heads: number): Tensor | undefined {
  if (mask?.shape.length !== 3) return mask;
  const [planes, Lq, Lk] = mask.shape;
  return mask.reshape([planes / heads, heads, Lq, Lk]);
}
