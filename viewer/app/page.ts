// <fovea-page>: the frame around the views. It alone holds the state, in the address, and the open traces.
import type { Locale } from 'fovea/elements';
import { html, LitElement, nothing } from 'lit';
import type { StateChange } from './events.js';
import { pageStyle } from './page-style.js';
import { Session } from './session.js';
import { FILE, formatState, LIVE, type PageState, parseState, VIEWS, type View } from './state.js';
import { explain, STRINGS, type Strings } from './strings.js';
import { ui } from './ui.js';
import './views/compare.js';
import './views/live.js';
import './views/map.js';
import './views/overview.js';
import './views/words.js';

/** Cells from which a trace is first shown as a map. */
const MANY_CELLS = 2 ** 18;

/** A map that moves changes these at every frame; browsers limit how often an address may change. Pause in ms. */
const MOVING: ReadonlySet<string> = new Set(['box', 'reduce', 'scale', 'range']);
const WRITE_PAUSE = 150;

export class FoveaPage extends LitElement {
  static override styles = [ui, pageStyle];
  static override properties = {
    state: { state: true },
    message: { state: true },
    loading: { state: true },
    dragging: { state: true },
  };
  declare private state: PageState;
  declare private message: string;
  /** Whether a trace is being opened. */
  declare private loading: boolean;
  declare private dragging: boolean;
  private readonly session = new Session(() => this.liveChanged());
  /** So that views see that the session, the same object, has changed. */
  private version = 0;
  private writing: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.state = parseState(location.hash);
    this.message = '';
    this.loading = false;
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
    return html`<header class="top">
        <h1 class="brand" title=${strings.tagline}><img src="./icon.svg" alt="" />Fovea</h1>
        <div role="tablist" aria-label=${strings.viewsLabel} @keydown=${this.moveTab}>
          ${VIEWS.map(
            (name) => html`<button
              role="tab"
              id="tab-${name}"
              aria-selected=${name === view}
              aria-controls="panel"
              tabindex=${name === view ? 0 : -1}
              @click=${() => this.change({ patch: { view: name }, push: true })}
            >
              ${strings.views[name]}
            </button>`,
          )}
        </div>
        <div class="tools">
          <button class="plain" @click=${() => this.choose('current')}>${strings.open}</button>
          <select aria-label=${strings.language} @change=${this.setLocale}>
            <option value="en" .selected=${this.locale === 'en'}>English</option>
            <option value="ko" .selected=${this.locale === 'ko'}>한국어</option>
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
      <main id="panel" role="tabpanel" aria-labelledby="tab-${view}">
        ${
          this.message === ''
            ? nothing
            : html`<p class="error message" role="alert">
                <span>${this.message}</span>
                <button class="plain" @click=${() => this.say('')}>${strings.dismiss}</button>
              </p>`
        }
        <h2 class="hidden">${strings.views[view]}</h2>
        ${this.body()}
      </main>
      ${this.dragging ? html`<div class="drop">${strings.drop}</div>` : nothing}`;
  }

  private body() {
    const { strings, session, view } = this;
    const state = { ...this.state, locale: this.locale };
    if (view === 'live' && (state.view || !this.loading || state.text))
      return html`<view-live
        .live=${session.live}
        .version=${this.version}
        .state=${state}
        .strings=${strings}
      ></view-live>`;
    const { current, second } = session;
    if (!current) return this.empty();
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
            .second=${second?.trace}
            .secondName=${second?.name ?? ''}
            .state=${state}
            .strings=${strings}
          ></view-compare>`;
    }
  }

  private empty() {
    const { strings } = this;
    const busy =
      this.loading || this.session.live.phase === 'loading' || this.session.live.phase === 'working';
    if (busy) return html`<div class="empty card" role="status"><p>${strings.reading}</p></div>`;
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
    if ('text' in patch || 'trace' in patch || 'view' in patch) void this.open();
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
    const { session, state } = this;
    this.loading = true;
    try {
      const wanted = state.trace ?? (await session.firstTrace());
      if (wanted !== LIVE && this.view === 'live') void session.live.translate(state.text ?? '');
      if (wanted === LIVE) {
        await session.live.translate(state.text ?? '');
        if (session.live.error !== undefined && this.view !== 'live') this.say(session.live.error);
      } else if (wanted.startsWith(FILE)) {
        if (!(await session.showFile(wanted))) this.say(this.strings.gone(wanted.slice(FILE.length)));
      } else {
        await session.showAddress(wanted);
        if (this.state.view === undefined) this.firstView();
      }
    } catch (error) {
      this.say(error, this.strings.badTrace);
    } finally {
      this.loading = false;
    }
  }

  private liveChanged(): void {
    this.version++;
    const { result, phase } = this.session.live;
    const live = this.state.trace === LIVE || this.state.trace === undefined;
    if (phase === 'done' && result && live) this.session.showLive(result);
    this.requestUpdate();
  }

  /** A large attention is a map, several heads are an overview. */
  private firstView(): void {
    const entries = this.session.current?.trace.entries ?? [];
    const many = entries.some(({ shape: [, Lq, Lk] }) => Lq * Lk > MANY_CELLS);
    this.change({ patch: { view: many ? 'map' : 'overview' }, push: false });
  }

  private choose(place: 'current' | 'second'): void {
    const input = this.renderRoot.querySelector<HTMLInputElement>('input[type=file]')!;
    input.dataset.place = place;
    input.value = '';
    input.click();
  }

  private chosen(event: Event): void {
    const { files, dataset } = event.target as HTMLInputElement;
    if (files?.[0]) void this.openFile(files[0], dataset.place === 'second' ? 'second' : 'current');
  }

  private async openFile(file: File, place: 'current' | 'second'): Promise<void> {
    this.loading = true;
    try {
      const { key } = await this.session.openFile(file, place);
      this.message = '';
      if (place === 'second') return;
      this.state = { ...this.state, trace: key, place: {}, other: {}, word: undefined, box: undefined };
      this.firstView();
    } catch (error) {
      this.say(error, `${this.strings.badTrace} ${file.name} ·`);
    } finally {
      this.loading = false;
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

  private say(error: unknown, before?: string): void {
    this.message = typeof error === 'string' ? error : explain(error, this.strings, before);
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

  /** Arrows go from tab to tab, as in every tab list. */
  private moveTab(event: KeyboardEvent): void {
    const now = VIEWS.indexOf(this.view);
    const goals: Record<string, number> = {
      ArrowLeft: (now + VIEWS.length - 1) % VIEWS.length,
      ArrowRight: (now + 1) % VIEWS.length,
      Home: 0,
      End: VIEWS.length - 1,
    };
    const goal = goals[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    this.change({ patch: { view: VIEWS[goal] }, push: true });
    void this.updateComplete.then(() =>
      this.renderRoot.querySelector<HTMLElement>(`#tab-${VIEWS[goal]}`)?.focus(),
    );
  }
}

customElements.define('fovea-page', FoveaPage);
