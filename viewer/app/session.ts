// The traces the page has open, and where they come from. Old ones are disposed once nothing shows them.
import { type ByteSource, defaultEngine, FileFormatError, openTrace, type Trace } from 'fovea';
import { Latest } from './events.js';
import { GRACE, Live } from './live.js';
import { openAddress } from './remote-file.js';
import { FILE, LIVE } from './state.js';

/** page.json beside the page: where the model is, and which trace is shown first. */
interface Config {
  readonly model: string;
  readonly trace?: string;
}

export interface OpenedTrace {
  readonly trace: Trace;
  /** Its `trace` or `second` in the state. */
  readonly key: string;
  /** For people. */
  readonly name: string;
}

export type PlaceOfTrace = 'current' | 'second';

interface Opening {
  readonly key: string;
  readonly done: Promise<boolean>;
}

export class Session {
  current: OpenedTrace | undefined;
  second: OpenedTrace | undefined;
  readonly live: Live;
  private readonly config: Promise<Config>;
  /** Opened from disk before, by key: Back opens them again. Two files may have one name. */
  private readonly files = { current: new Map<string, File>(), second: new Map<string, File>() };
  private readonly newest = { current: new Latest(), second: new Latest() };
  /** Whether the current trace is that of each translation. */
  private follows = false;
  /** What is being opened. */
  private readonly opening: Partial<Record<PlaceOfTrace, Opening>> = {};

  /** `changed` is called whenever what it holds is another, `broken` when nothing can be computed any more. */
  constructor(
    private readonly changed: () => void,
    broken: (error: Error) => void,
  ) {
    this.config = readConfig();
    // It starts while the page does; whoever needs it meets the error of its start.
    defaultEngine().then(
      (engine) => engine.broken.then(broken),
      () => {},
    );
    this.live = new Live(
      async () => (await this.config).model,
      () => this.liveChanged(),
    );
  }

  /** Whether another trace is about to be the current one. */
  get busy(): boolean {
    return this.opening.current !== undefined;
  }

  /** The trace that is shown where the address names none. */
  async firstTrace(): Promise<string> {
    return (await this.config).trace ?? LIVE;
  }

  /** Shows the newest translation, and each that follows; until there is one, nothing. */
  followLive(): void {
    this.stopOpening('current');
    this.follows = true;
    if (this.current?.key !== LIVE) this.replace('current', undefined);
    this.liveChanged();
  }

  /** Shows the trace at an address of the page's host. False where something else was asked for meanwhile. */
  showAddress(address: string, place: PlaceOfTrace = 'current'): Promise<boolean> {
    return this.show(place, address, (signal) => openAddress(address, signal));
  }

  /** Shows a file opened before; without it, nothing, and `undefined` is returned. */
  async showFile(key: string, place: PlaceOfTrace = 'current'): Promise<boolean | undefined> {
    const file = this.files[place].get(key);
    if (file) return this.show(place, key, () => file);
    this.close(place);
    return undefined;
  }

  /** Shows nothing there. */
  close(place: PlaceOfTrace): void {
    this.stopOpening(place);
    if (this[place]) this.replace(place, undefined);
  }

  /** Opens a file of the reader's, as the current trace or the second; undefined where another was chosen meanwhile. */
  async openFile(file: File, place: PlaceOfTrace): Promise<OpenedTrace | undefined> {
    const key = FILE + file.name;
    this.opening[place] = undefined;
    const opened = await this.open(place, key, () => file);
    if (!opened) return undefined;
    if (place === 'current') this.follows = false;
    this.files[place].set(key, file);
    return opened;
  }

  /** Shows what is named by a key: what is there stays, what is on its way is not asked for again. */
  private async show(
    place: PlaceOfTrace,
    key: string,
    source: (signal: AbortSignal) => ByteSource | Promise<ByteSource>,
  ): Promise<boolean> {
    const { opening } = this;
    if (opening[place]?.key === key) return opening[place].done;
    this.stopOpening(place);
    if (this[place]?.key === key) return true;
    // What was shown before is not what the address says now, also where this fails.
    this.replace(place, undefined);
    const done = this.open(place, key, source).then((opened) => opened !== undefined);
    const own = { key, done };
    opening[place] = own;
    this.changed();
    try {
      return await done;
    } finally {
      if (opening[place] === own) opening[place] = undefined;
      this.changed();
    }
  }

  private open(
    place: PlaceOfTrace,
    key: string,
    source: (signal: AbortSignal) => ByteSource | Promise<ByteSource>,
  ): Promise<OpenedTrace | undefined> {
    const name = nameOf(key);
    return this.newest[place].run(async (signal) => {
      const trace = await openFilled(await source(signal), name);
      if (signal.aborted) trace.dispose();
      signal.throwIfAborted();
      const opened = { trace, key, name };
      this.replace(place, opened);
      return opened;
    });
  }

  private liveChanged(): void {
    const { phase, result, error } = this.live;
    const made = this.follows && phase === 'done' && error === undefined ? result : undefined;
    if (made && this.current?.trace !== made.trace)
      this.replace('current', { trace: made.trace, key: LIVE, name: made.source });
    this.changed();
  }

  private stopOpening(place: PlaceOfTrace): void {
    this.newest[place].stop();
    this.opening[place] = undefined;
    if (place === 'current') this.follows = false;
  }

  private replace(place: PlaceOfTrace, opened: OpenedTrace | undefined): void {
    const old = this[place];
    // Live disposes its own.
    if (old && old.key !== LIVE) setTimeout(() => old.trace.dispose(), GRACE);
    this[place] = opened;
    this.changed();
  }
}

/** A file's name, or the last part of an address, as people write it. */
export function nameOf(key: string): string {
  if (key.startsWith(FILE)) return key.slice(FILE.length);
  const name = key.split('/').at(-1) || key;
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

async function openFilled(source: ByteSource, name: string): Promise<Trace> {
  const trace = await openTrace(source);
  if (trace.entries.length > 0) return trace;
  trace.dispose();
  throw new FileFormatError(`${name}: the trace holds no attention`);
}

/** `?model=` and `?trace=` of the page's address come before page.json. */
async function readConfig(): Promise<Config> {
  const asked = new URLSearchParams(location.search);
  let config: Config = { model: './models/en-fr/' };
  try {
    const response = await fetch(new URL('./page.json', document.baseURI));
    if (response.ok) config = { ...config, ...(await response.json()) };
  } catch {
    // A host without it, or with a broken one: what is usual holds.
  }
  return { model: asked.get('model') || config.model, trace: asked.get('trace') || config.trace };
}
