// The traces the page has open, and where they come from. Old ones are disposed once nothing shows them.
import { type ByteSource, defaultEngine, FileFormatError, openTrace, type Trace } from 'fovea';
import { GRACE, Live, type LiveResult } from './live.js';
import { openAddress } from './remote-file.js';
import { FILE, LIVE } from './state.js';

/** page.json beside the page: where the model is, and which trace is shown first. */
interface Config {
  readonly model: string;
  readonly trace?: string;
}

export interface OpenedTrace {
  readonly trace: Trace;
  /** Its `trace` in the state. */
  readonly key: string;
  /** For people. */
  readonly name: string;
}

export class Session {
  current: OpenedTrace | undefined;
  second: OpenedTrace | undefined;
  readonly live: Live;
  private readonly config: Promise<Config>;
  /** Opened from disk before, by key: Back opens them again. */
  private readonly files = new Map<string, File>();

  constructor(changed: () => void) {
    this.config = readConfig();
    // It starts while the page does; whoever needs it meets its error.
    defaultEngine().catch(() => {});
    this.live = new Live(async () => (await this.config).model, changed);
  }

  /** The trace that is shown where the address names none. */
  async firstTrace(): Promise<string> {
    return (await this.config).trace ?? LIVE;
  }

  /** Shows the translation just made. */
  showLive({ trace, source }: LiveResult): void {
    if (this.current?.trace !== trace) this.replace({ trace, key: LIVE, name: source });
  }

  /** Shows the trace at an address of the page's host. */
  async showAddress(address: string): Promise<void> {
    if (this.current?.key === address) return;
    const name = decodeURIComponent(address.split('/').at(-1) ?? address);
    this.replace({ trace: await openFilled(await openAddress(address), name), key: address, name });
  }

  /** Shows a file opened before; without it, nothing, and false is returned. */
  async showFile(key: string): Promise<boolean> {
    if (this.current?.key === key) return true;
    const file = this.files.get(key);
    if (file) await this.openFile(file, 'current');
    else this.replace(undefined);
    return file !== undefined;
  }

  /** Opens a file of the reader's, as the current trace or the second. */
  async openFile(file: File, place: 'current' | 'second'): Promise<OpenedTrace> {
    const opened = { trace: await openFilled(file, file.name), key: FILE + file.name, name: file.name };
    if (place === 'current') {
      this.replace(opened);
      this.files.set(opened.key, file);
    } else {
      discard(this.second);
      this.second = opened;
    }
    return opened;
  }

  private replace(opened: OpenedTrace | undefined): void {
    discard(this.current);
    this.current = opened;
  }
}

async function openFilled(source: ByteSource, name: string): Promise<Trace> {
  const trace = await openTrace(source);
  if (trace.entries.length > 0) return trace;
  trace.dispose();
  throw new FileFormatError(`${name}: the trace holds no attention`);
}

/** Live disposes its own. */
function discard(opened: OpenedTrace | undefined): void {
  if (opened && opened.key !== LIVE) setTimeout(() => opened.trace.dispose(), GRACE);
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
  return { model: asked.get('model') ?? config.model, trace: asked.get('trace') ?? config.trace };
}
