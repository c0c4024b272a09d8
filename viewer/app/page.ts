// <fovea-page>: the frame around the views. It alone holds the state, in the address, and the open traces.
import type { Locale } from 'fovea/elements';
import { html, LitElement, nothing } from 'lit';
import type { StateChange } from './events.js';
import { failure, failureHere, isWords, pageTells, roleOf, type Words } from './failure.js';
import { pageStyle } from './page-style.js';
import { nameOf, type PlaceOfTrace, Session } from './session.js';
import {
  FILE,
  formatState,
  LIVE,
  type PageState,
  parseState,
  sentenceOf,
  VIEWS,
  type View,
} from './state.js';
import { STRINGS, type Strings } from './strings.js';
import { ui } from './ui.js';
import './views/compare.js';
import './views/live.js';
import './views/map.js';
import './views/overview.js';
import './views/words.js';

/** Cells from which a trace is first shown as a map. */
const MANY_CELLS = 2 ** 18;

/** Changes of these open something. */
const OPENING = ['text', 'trace', 'second', 'view'] as const;

/** A map that moves changes these at every frame; browsers limit how often an address may change. Pause in ms. */
const MOVING: ReadonlySet<string> = new Set(['box', 'reduce', 'scale', 'range']);
const WRITE_PAUSE = 150;

/** What went wrong, and the words before it; words say all by themselves. */
interface Told {
  readonly error: unknown;
  readonly before?: Words;
}

const gone =
  (key: string): Words =>
  (strings) =>
    strings.gone(nameOf(key));

export class FoveaPage extends LitElement {
  static override styles = [ui, pageStyle];
  static override properties = {
    state: { state: true },
    told: { state: true },
    broken: { state: true },
    secondFailed: { state: true },
    dragging: { state: true },
  };
  declare private state: PageState;
  /** What went wrong. */
  declare private told: Told | undefined;
  /** Why nothing can be computed any more: this stays. */
  declare private broken: Error | undefined;
  /** Why the second trace that the state names is not there. */
  declare private secondFailed: unknown;
  declare private dragging: boolean;
  private readonly session = new Session(
    () => this.sessionChanged(),
    (error) => {
      pageTells(error);
      this.broken = error;
      if (this.told?.error === error) this.say(undefined);
    },
  );
  /** So that views see that the session, the same object, has changed. */
  private version = 0;
  /** The trace that is to be shown; undefined until the page knows. */
  private wanted: string | undefined;
  private writing: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.state = parseState(location.hash);
    this.dragging = false;
    this.addEventListener('page-change', (event) => this.change((event as CustomEvent<StateChange>).detail));
    this.addEventListener('page-error', (event) => this.say((event as CustomEvent).detail));
    this.addEventListener('page-open-second', () => this.choose('second'));
  }

  override connectedCallback(): void {
    super.connectedCallback();
    addEventListener('popstate', this.restored);
    addEventListener('hashchange', this.restored);
    addEventListener('dragenter', this.drag);
    addEventListener('dragover', this.drag);
    addEventListener('dragleave', this.drag);
    addEventListener('drop', this.dropped);
    void this.restore();
  }

  private get strings(): Strings {
    return STRINGS[this.locale];
  }

  private get locale(): Locale {
    return this.state.locale ?? (navigator.language.startsWith('ko') ? 'ko' : 'en');
  }

  private get view(): View {
    return this.state.view ?? 'live';
  }

  protected override render() {
    const { strings, view } = this;
    document.documentElement.lang = this.locale;
    document.documentElement.toggleAttribute('data-theme', false);
    if (this.state.theme) document.documentElement.dataset.theme = this.state.theme;
    return html`<button class="plain skip" @click=${this.skip}>${strings.skip}</button>
      <header class="top">
        <h1 class="brand" title=${strings.tagline}><img src="./icon.svg" alt="" />Fovea</h1>
        <nav aria-label=${strings.viewsLabel}>${VIEWS.map((name) => this.link(name))}</nav>
        <div class="tools">
          <button class="plain" @click=${() => this.choose('current')}>${strings.open}</button>
          <select aria-label=${strings.language} @change=${this.setLocale}>
            <option value="en" lang="en" .selected=${this.locale === 'en'}>English</option>
            <option value="ko" lang="ko" .selected=${this.locale === 'ko'}>한국어</option>
          </select>
          <select aria-label=${strings.theme} @change=${this.setTheme}>
            ${(['system', 'light', 'dark'] as const).map(
              (theme) =>
                html`<option value=${theme} .selected=${theme === (this.state.theme ?? 'system')}>
                  ${strings.themes[theme]}
                </option>`,
            )}
          </select>
          <input class="hidden" type="file" accept=".safetensors" tabindex="-1" aria-hidden="true" @change=${this.chosen} />
        </div>
      </header>
      <main tabindex="-1">
        ${this.broken ? this.notice({ error: this.broken }) : nothing}
        ${this.told ? this.notice(this.told, () => this.say(undefined)) : nothing}
        <h2 class="hidden">${strings.views[view]}</h2>
        ${this.body()}
      </main>
      ${this.dragging ? html`<div class="drop">${strings.drop}</div>` : nothing}`;
  }

  /** A view's address, which may as well be opened in another tab of the browser. */
  private link(name: View) {
    const open = (event: MouseEvent) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.change({ patch: { view: name }, push: true });
    };
    return html`<a
      href="#${formatState({ ...this.state, view: name })}"
      aria-current=${name === this.view ? 'page' : nothing}
      @click=${open}
      >${this.strings.views[name]}</a
    >`;
  }

  private notice({ error, before }: Told, dismiss?: () => void) {
    const { strings } = this;
    return html`<div class="error message" role="alert">
      ${isWords(error) ? html`<span>${error(strings)}</span>` : failure(error, strings, before?.(strings))}
      ${dismiss ? html`<button class="plain" @click=${dismiss}>${strings.dismiss}</button>` : nothing}
    </div>`;
  }

  private body() {
    const { strings, session, view } = this;
    const state = { ...this.state, locale: this.locale };
    if (view === 'live' && (state.view || state.text || (this.wanted !== undefined && !session.busy)))
      return html`<view-live
        .live=${session.live}
        .version=${this.version}
        .state=${state}
        .strings=${strings}
      ></view-live>`;
    const { current, second } = session;
    if (!current || session.busy) return this.empty();
    const { trace, name, key } = current;
    const title = html`<p class="current">
      ${key === LIVE ? strings.liveTrace : nothing}<b>${name}</b>${trace.model ?? nothing}
    </p>`;
    switch (view) {
      case 'overview':
        return html`${title}<view-overview .trace=${trace} .state=${state} .strings=${strings}></view-overview>`;
      case 'words':
        return html`${title}<view-words .trace=${trace} .state=${state} .strings=${strings}></view-words>`;
      case 'map':
        return html`${title}<view-map .trace=${trace} .state=${state} .strings=${strings}></view-map>`;
      default:
        return html`${title}<view-compare
            .trace=${trace}
            .name=${name}
            .second=${second?.trace}
            .secondName=${nameOf(this.state.second ?? '')}
            .failed=${this.secondFailed}
            .state=${state}
            .strings=${strings}
          ></view-compare>`;
    }
  }

  /** What stands where there is no trace: it is on its way, or failed, or none was asked for. */
  private empty() {
    const { strings, wanted } = this;
    const { busy, live } = this.session;
    const { error, phase } = wanted === LIVE ? live : { error: undefined, phase: 'idle' };
    if (error !== undefined && phase === 'done')
      return html`<div class="empty card" role=${roleOf(error)}>
        ${failureHere(error, strings, live.modelFailed ? strings.noModel : undefined, () => void this.open())}
      </div>`;
    if (busy || phase !== 'idle' || wanted === undefined)
      return html`<div class="empty card" role="status"><p>${strings.reading}</p></div>`;
    return html`<div class="empty card">
      <h2>${strings.noTrace}</h2>
      <p>${strings.noTraceHint}</p>
      <button class="plain main" @click=${() => this.change({ patch: { view: 'live' }, push: true })}>
        ${strings.toLive}
      </button>
    </div>`;
  }

  /** Another state: into the address, and what it names is opened. */
  private change({ patch, push }: StateChange): void {
    clearTimeout(this.writing);
    if (push) this.write(false);
    this.state = { ...this.state, ...patch };
    if (!push && Object.keys(patch).every((name) => MOVING.has(name)))
      this.writing = setTimeout(() => this.write(false), WRITE_PAUSE);
    else this.write(push);
    if (OPENING.some((name) => name in patch)) void this.open();
  }

  private write(push: boolean): void {
    const address = `#${formatState(this.state)}`;
    if (address === location.hash) return;
    if (push) history.pushState(null, '', address);
    else history.replaceState(null, '', address);
  }

  private readonly restored = (): void => {
    if (`#${formatState(this.state)}` === location.hash) return;
    void this.restore();
  };

  private async restore(): Promise<void> {
    clearTimeout(this.writing);
    this.state = parseState(location.hash);
    await this.open();
  }

  /** Opens what the state names: a trace of the host, or the translation of its sentence. */
  private async open(): Promise<void> {
    const { session } = this;
    if (this.view === 'compare') void this.openSecond();
    const first = await session.firstTrace();
    const wanted = this.state.trace ?? first;
    if (wanted !== this.wanted) this.say(undefined);
    this.wanted = wanted;
    this.requestUpdate();
    try {
      if (wanted === LIVE) session.followLive();
      else if (wanted.startsWith(FILE)) {
        if ((await session.showFile(wanted)) === undefined) this.say(gone(wanted));
      } else if ((await session.showAddress(wanted)) && this.state.view === undefined) this.firstView();
    } catch (error) {
      this.say(error, ({ badTrace }) => badTrace);
    }
    if (wanted === LIVE || this.view === 'live') void session.live.translate(sentenceOf(this.state));
  }

  private async openSecond(): Promise<void> {
    const { session } = this;
    const { second } = this.state;
    this.secondFailed = undefined;
    try {
      if (second === undefined) session.close('second');
      else if (!second.startsWith(FILE)) await session.showAddress(second, 'second');
      else if ((await session.showFile(second, 'second')) === undefined) this.secondFailed = gone(second);
    } catch (error) {
      this.secondFailed = error;
    }
  }

  private sessionChanged(): void {
    this.version++;
    this.requestUpdate();
  }

  /** Two traces are compared, a large attention is a map, several heads are an overview. */
  private firstView(): void {
    const entries = this.session.current?.trace.entries ?? [];
    const many = entries.some(({ shape: [, Lq, Lk] }) => Lq * Lk > MANY_CELLS);
    const view = this.state.second === undefined ? (many ? 'map' : 'overview') : 'compare';
    this.change({ patch: { view }, push: false });
  }

  private choose(place: PlaceOfTrace): void {
    const input = this.renderRoot.querySelector<HTMLInputElement>('input[type=file]')!;
    input.dataset.place = place;
    input.value = '';
    input.click();
  }

  private chosen(event: Event): void {
    const { files, dataset } = event.target as HTMLInputElement;
    if (files?.[0]) void this.openFile(files[0], dataset.place === 'second' ? 'second' : 'current');
  }

  private async openFile(file: File, place: PlaceOfTrace): Promise<void> {
    const missing = !this.session.current;
    try {
      const opened = await this.session.openFile(file, place);
      if (!opened) return;
      this.say(undefined);
      const { key } = opened;
      if (place === 'second') return this.change({ patch: { second: key }, push: true });
      this.wanted = key;
      // The file that was asked for again is shown as it was; Live would not show it.
      if (missing && key === this.state.trace && this.view !== 'live') return this.requestUpdate();
      this.state = { ...this.state, trace: key, place: {}, other: {}, word: undefined, box: undefined };
      this.firstView();
    } catch (error) {
      this.say(error, ({ badTrace }) => `${badTrace} ${file.name} ·`);
      // What was on its way gave place to the file.
      if (place === 'second') void this.openSecond();
    }
  }

  private readonly drag = (event: DragEvent): void => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    this.dragging = event.type !== 'dragleave' || event.relatedTarget !== null;
  };

  private readonly dropped = (event: DragEvent): void => {
    const file = event.dataTransfer?.files[0];
    this.dragging = false;
    if (!file) return;
    event.preventDefault();
    void this.openFile(file, this.view === 'compare' && this.session.current ? 'second' : 'current');
  };

  private readonly skip = (): void => {
    this.renderRoot.querySelector('main')!.focus();
  };

  private say(error: unknown, before?: Words): void {
    this.told = error === undefined || error === this.broken ? undefined : { error, before };
  }

  private setLocale(event: Event): void {
    this.change({ patch: { locale: (event.target as HTMLSelectElement).value as Locale }, push: false });
  }

  private setTheme(event: Event): void {
    const { value } = event.target as HTMLSelectElement;
    this.change({
      patch: { theme: value === 'system' ? undefined : (value as 'light' | 'dark') },
      push: false,
    });
  }
}

customElements.define('fovea-page', FoveaPage);
