// What the verbs share of the terminal: messages and progress on standard error, results on standard output.
import { SingleBar } from 'cli-progress';
import { CommanderError } from 'commander';
import colors from 'picocolors';
import { type ColorMode, colorMode, harmless } from '../inspect/index.js';
import { removeUnfinished } from '../models/node-files.js';
import { FoveaError, OptionError } from '../tensor/errors.js';

/** A mistake in the command line: exit code 2. */
export class UsageError extends OptionError {}

/** What standard output can show. */
export const outputColor = (): ColorMode => colorMode(process.env, process.stdout.isTTY === true);

/** Columns of standard output's terminal; 100 where it is none. */
export const outputWidth = (): number => process.stdout.columns || 100;

/** Writes a result; resolves when the reader has taken it, so that a slow reader holds the work back. */
export function print(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(`${text}\n`, () => resolve());
  });
}

/** Writes a message for the person who waits. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'is a folder, expected a file',
  ENOTDIR: 'is a file, expected a folder',
  ENOSPC: 'no space left on the disk',
  EROFS: 'the file system is read-only',
  EMFILE: 'too many open files',
};

/** One line for a person; a defect of ours keeps its stack. */
export function describeError(error: unknown): string {
  if (error instanceof FoveaError) return harmless(error.message);
  if (error instanceof Error) {
    const { code, path } = error as NodeJS.ErrnoException;
    const known = code === undefined ? undefined : SYSTEM_ERRORS[code];
    if (known) return harmless(path ? `${path}: ${known}` : known);
    return code ? harmless(error.message) : (error.stack ?? error.message);
  }
  return String(error);
}

/** Says what went wrong; returns the exit code: 2 for wrong usage, 1 for all else, 0 for help that was asked for. */
export function reportError(error: unknown): number {
  // Commander has said it already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const usage = error instanceof UsageError;
  const { red } = colors.createColors(colorMode(process.env, process.stderr.isTTY === true) !== 'none');
  tell(`${red('fovea:')} ${describeError(error)}`);
  return usage ? 2 : 1;
}

/** A bar on standard error, once the work has taken a second; nothing where that is no terminal. */
export class Progress {
  private readonly bar: SingleBar;
  private readonly timer: NodeJS.Timeout;
  private running = false;
  private done = 0;
  private readonly started = performance.now();

  /** @param total 0 if not known: then a count alone is shown. */
  constructor(
    private readonly what: string,
    private total: number,
    delay = 1000,
  ) {
    const counted =
      total > 0 ? '{bar} {value}/{total} {what} · {rate}/s · {left} left' : '{value} {what} · {rate}/s';
    this.bar = new SingleBar({
      format: counted,
      stream: process.stderr,
      hideCursor: false,
      clearOnComplete: true,
      barsize: 24,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      fps: 5,
      gracefulExit: false,
    });
    this.timer = setTimeout(() => this.start(), delay);
    this.timer.unref();
  }

  private start(): void {
    if (process.stderr.isTTY !== true) return;
    this.running = true;
    shown.add(this);
    this.bar.start(Math.max(this.total, this.done), this.done, this.payload());
  }

  private payload() {
    const seconds = (performance.now() - this.started) / 1000;
    const rate = this.done / seconds;
    const left = this.done === 0 ? '?' : formatSeconds((this.total - this.done) / rate);
    return { what: this.what, rate: rate.toFixed(rate < 10 ? 1 : 0), left };
  }

  update(done: number): void {
    this.done = done;
    if (this.running) this.bar.update(done, this.payload());
  }

  /** Takes the bar away for a moment, so that a result can be printed in its place. */
  async aside(write: () => Promise<void>): Promise<void> {
    if (this.running && process.stdout.isTTY) process.stderr.write('\r\x1b[K');
    await write();
  }

  stop(): void {
    clearTimeout(this.timer);
    if (this.running) this.bar.stop();
    this.running = false;
    shown.delete(this);
  }
}

const shown = new Set<Progress>();

/**
 * Does work that Ctrl-C, or the end that other programs ask for, ends at once with exit code 130: the terminal is left as it
 * was, and no file half written.
 */
export async function interruptible<T>(work: () => Promise<T>): Promise<T> {
  const signals = ['SIGINT', 'SIGTERM'] as const;
  const end = () => {
    for (const progress of shown) progress.stop();
    removeUnfinished();
    tell('fovea: interrupted');
    process.exit(130);
  };
  for (const signal of signals) process.on(signal, end);
  try {
    return await work();
  } finally {
    for (const signal of signals) process.off(signal, end);
  }
}

/** `1:02:03`, `2:03` or `3 s`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const pad = (x: number) => String(x).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}
