// The output folder of a training run, under Node: tokenizer.json, checkpoint.safetensors and the one before it,
// log.jsonl, and best/, a model folder. A kill at any moment leaves a whole checkpoint and a whole best model, if ever
// there were.
import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE } from '../models/files.js';
import { removeLeftovers, replaceFolder, restoreFolder, writeAtomically } from '../models/node-files.js';
import { FileFormatError } from '../tensor/errors.js';
import { type Checkpoint, parseCheckpoint } from '../train/index.js';

const CHECKPOINT = 'checkpoint.safetensors';
const PREVIOUS = 'checkpoint.previous.safetensors';
const LOG = 'log.jsonl';

export class RunFolder {
  readonly path: string;
  readonly #warn: (text: string) => void;
  #logged: Promise<void> = Promise.resolve();

  constructor(path: string, warn: (text: string) => void) {
    this.path = path;
    this.#warn = warn;
  }

  /** Makes the folder, and removes what a killed run left half-written. */
  async prepare(): Promise<void> {
    await mkdir(this.path, { recursive: true });
    await restoreFolder(this.best);
    for (const name of [CHECKPOINT, TOKENIZER_FILE, `best/${WEIGHTS_FILE}`]) {
      await removeLeftovers(join(this.path, name));
    }
  }

  /** Folder of the best model. */
  get best(): string {
    return join(this.path, 'best');
  }

  /** The text of tokenizer.json; null where there is none. */
  readTokenizer(): Promise<string | null> {
    return readFile(join(this.path, TOKENIZER_FILE), 'utf8').catch(ignoreMissing);
  }

  writeTokenizer(text: string): Promise<void> {
    return writeAtomically(join(this.path, TOKENIZER_FILE), text);
  }

  /**
   * The newest whole checkpoint: a broken one is passed over for the one before it, with a warning. Null where there
   * is none at all.
   * @throws FileFormatError where none of those there are is whole.
   */
  async findCheckpoint(): Promise<Checkpoint | null> {
    let broken: FileFormatError | null = null;
    for (const name of [CHECKPOINT, PREVIOUS]) {
      const bytes = await readFile(join(this.path, name)).catch(ignoreMissing);
      if (!bytes) continue;
      try {
        return parseCheckpoint(bytes);
      } catch (error) {
        if (!(error instanceof FileFormatError)) throw error;
        broken = new FileFormatError(`${join(this.path, name)} cannot be used (${error.message})`, {
          cause: error,
        });
        this.#warn(broken.message);
      }
    }
    if (broken) throw broken;
    return null;
  }

  /** Writes a checkpoint; the one there stays as the previous one. */
  saveCheckpoint(bytes: Uint8Array): Promise<void> {
    return writeAtomically(join(this.path, CHECKPOINT), bytes, join(this.path, PREVIOUS));
  }

  /**
   * Writes the best model: its files, and its tokenizer. In a folder of the same model the weights alone are new; one
   * with another tokenizer or configuration is replaced as a whole, so that files of two models never mix.
   */
  async saveBest(modelFiles: ReadonlyMap<string, Uint8Array>, tokenizer: string): Promise<void> {
    const files = new Map(modelFiles).set(TOKENIZER_FILE, new TextEncoder().encode(tokenizer));
    const isThere = async (name: string) => {
      const found = await readFile(join(this.best, name)).catch(() => null);
      return found?.equals(files.get(name)!) === true;
    };
    if ((await isThere(TOKENIZER_FILE)) && (await isThere(CONFIG_FILE)))
      await writeAtomically(join(this.best, WEIGHTS_FILE), files.get(WEIGHTS_FILE)!);
    else await replaceFolder(this.best, files);
  }

  /** Appends to log.jsonl, in order; a full disk must not stop the training. */
  log(event: object): void {
    const line = `${JSON.stringify({ time: new Date().toISOString(), ...event }, roundNumbers)}\n`;
    this.#logged = this.#logged.then(() => appendFile(join(this.path, LOG), line)).catch(() => {});
  }

  /** Resolves when the log is written. */
  flush(): Promise<void> {
    return this.#logged;
  }
}

export function ignoreMissing(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw error;
}

const roundNumbers = (_: string, value: unknown) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
