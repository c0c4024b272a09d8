// A text file as a trace of its attention to itself, for `fovea view --text`.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createEngine } from '../engine/engine.js';
import { saveTrace } from '../map/trace.js';
import { traceText } from '../tasks/text-trace.js';
import { loadTranslator } from '../tasks/translate.js';
import { FileFormatError, FoveaError, LimitError, OptionError } from '../tensor/errors.js';
import { findModel } from './input.js';
import { Progress } from './output.js';

/** Bytes of the largest file read. */
const LARGEST = 32 << 20;

export interface TextFileOptions {
  /** A shipped model's name, or a model's folder. */
  readonly model: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/**
 * The bytes of a trace file (see traceText, saveTrace) of a text in UTF-8. A bar with the time left is on standard error where
 * that is a terminal. Rejects with FileFormatError for a file that is empty, of one word, a folder or no text, LimitError
 * for one over 32 MiB or a million words, as Node does where there is none, and with the signal's reason.
 */
export async function traceTextFile(
  path: string,
  { model, threads, signal }: TextFileOptions,
): Promise<Uint8Array> {
  const text = await readText(path);
  const folder = await findModel(model);
  const engine = await createEngine({ threads });
  try {
    const translator = await loadTranslator(folder, { engine });
    const progress = new Progress('characters', text.length);
    const onProgress = (fraction: number) => progress.update(Math.round(fraction * text.length));
    try {
      return await saveTrace(await traceText(translator, text, { signal, onProgress }), { signal });
    } finally {
      progress.stop();
    }
  } catch (error) {
    throw error instanceof FoveaError ? aboutFile(path, error) : error;
  } finally {
    await engine.dispose();
  }
}

/** What is a wrong text of a call is here a wrong file. */
function aboutFile(path: string, error: FoveaError): FoveaError {
  const message = error.message.replace(/^traceText: /, `${path}: `);
  if (message === error.message) return error;
  if (error instanceof LimitError) return new LimitError(message);
  return error instanceof OptionError ? new FileFormatError(message, { cause: error }) : error;
}

/** All of a file, which may be a pipe. */
async function readText(path: string): Promise<string> {
  if ((await stat(path)).isDirectory()) throw new FileFormatError(`${path}: is a folder, expected a file`);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let [text, size] = ['', 0];
  const decode = (bytes?: Uint8Array) => {
    let piece: string;
    try {
      piece = decoder.decode(bytes, { stream: bytes !== undefined });
    } catch (cause) {
      throw new FileFormatError(`${path}: expected text in UTF-8, got other bytes`, { cause });
    }
    if (piece.includes('\0')) throw new FileFormatError(`${path}: expected text in UTF-8, got a binary file`);
    text += piece;
  };
  for await (const bytes of createReadStream(path) as AsyncIterable<Uint8Array>) {
    size += bytes.length;
    if (size > LARGEST)
      throw new LimitError(`${path}: expected a text of at most ${LARGEST} bytes, got more`);
    decode(bytes);
  }
  decode();
  return text;
}
