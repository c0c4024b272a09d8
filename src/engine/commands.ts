// What a page's executor and its engine worker say to each other. Commands are carried out in their order.
import type { ExecutorOptions } from './executor.js';
import type { EngineDType, HostData } from './types.js';

/** First message to an engine worker. */
export interface EngineStart {
  role: 'engine';
  options: ExecutorOptions;
}

export type Command =
  | { do: 'grow'; bytes: number }
  | { do: 'write'; address: number; bytes: Uint8Array<ArrayBuffer> }
  | { do: 'zero'; address: number; bytes: number }
  | { do: 'run'; kernel: number; slots: Uint32Array; parts: number }
  | { do: 'read'; id: number; address: number; dtype: EngineDType; size: number }
  | { do: 'finish'; id: number };

export type Reply =
  | { is: 'ready'; maximumBytes: number }
  /** The answer to 'read' or 'finish'. */
  | { is: 'done'; id: number; data?: HostData }
  /** Nothing works any more. */
  | { is: 'failed'; message: string };
