// The translator in the page: its model is fetched once, when first needed; of sentences that come faster than they
// are translated only the newest is.
import type { Trace } from 'fovea';
import type { FileReader, Translation, Translator } from 'fovea/tasks';

export type LivePhase = 'idle' | 'loading' | 'working' | 'done';

/** How long a replaced trace stays for readings under way, in ms. */
export const GRACE = 2000;

/** A translation and its attention. */
export interface LiveResult {
  readonly source: string;
  readonly translation: Translation;
  readonly trace: Trace;
  /** Both together. */
  readonly milliseconds: number;
}

export class Live {
  phase: LivePhase = 'idle';
  /** Of the model's bytes, while it loads. */
  fraction = 0;
  error: unknown;
  /** Whether `error` is the model's, and not the sentence's. */
  modelFailed = false;
  result: LiveResult | undefined;
  private wanted: string | undefined;
  private running = false;
  private translator: Promise<Translator> | undefined;

  /** `changed` is called whenever a field is another. */
  constructor(
    private readonly model: () => Promise<string>,
    private readonly changed: () => void,
  ) {}

  /** Translates a sentence, after the one under way; a blank one clears the result's place. */
  async translate(text: string): Promise<void> {
    this.wanted = text.trim();
    if (this.running) return;
    this.running = true;
    try {
      while (this.wanted !== undefined) {
        const next: string = this.wanted;
        this.wanted = undefined;
        if (next === this.result?.source && this.error === undefined) this.enter('done');
        else await this.once(next);
      }
    } finally {
      this.running = false;
    }
  }

  private async once(text: string): Promise<void> {
    this.error = undefined;
    if (text === '') return this.enter('idle');
    try {
      const translator = await this.load();
      this.enter('working');
      const started = performance.now();
      const translation = await translator.translate(text);
      const trace = await translation.trace();
      const milliseconds = performance.now() - started;
      const old = this.result?.trace;
      this.result = { source: text, translation, trace, milliseconds };
      if (old) setTimeout(() => old.dispose(), GRACE);
    } catch (error) {
      this.error = error;
    }
    this.enter('done');
  }

  private async load(): Promise<Translator> {
    this.modelFailed = true;
    this.translator ??= this.fetchModel();
    try {
      const translator = await this.translator;
      this.modelFailed = false;
      return translator;
    } catch (error) {
      this.translator = undefined;
      throw error;
    }
  }

  private async fetchModel(): Promise<Translator> {
    this.fraction = 0;
    this.enter('loading');
    const [{ loadTranslator }, address] = await Promise.all([import('fovea/tasks'), this.model()]);
    return loadTranslator(
      reader(new URL(address, document.baseURI), (fraction) => {
        this.fraction = fraction;
        this.enter('loading');
      }),
    );
  }

  private enter(phase: LivePhase): void {
    this.phase = phase;
    this.changed();
  }
}

/** Fetches a folder's files; tells how much of all of them is there. */
function reader(folder: URL, onProgress: (fraction: number) => void): FileReader {
  if (!folder.pathname.endsWith('/')) folder.pathname += '/';
  let [done, total] = [0, 0];
  return async (name) => {
    const response = await fetch(new URL(name, folder)).catch((cause) => {
      throw new Error(`${name} cannot be fetched`, { cause });
    });
    if (!response.ok || !response.body) throw new Error(`${name}: HTTP status ${response.status}`);
    total += Number(response.headers.get('Content-Length') ?? 0);
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    const stream = response.body.getReader();
    for (;;) {
      const { value, done: ended } = await stream.read();
      if (ended) break;
      pieces.push(value);
      done += value.length;
      onProgress(total > 0 ? Math.min(1, done / total) : 0);
    }
    return new Uint8Array(await new Blob(pieces).arrayBuffer());
  };
}
