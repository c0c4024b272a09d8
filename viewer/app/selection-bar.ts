// <selection-bar>: which kind of attention, which layer, which head, as fields of the bar around it. Tells by
// `selection-change` with a Place.
import type { Trace } from 'fovea';
import { css, html, LitElement, nothing } from 'lit';
import { groupsOf, type Selection, select } from './groups.js';
import type { Place } from './state.js';
import { groupTitle, layerNumber, type Strings } from './strings.js';
import { ui } from './ui.js';

export class SelectionBar extends LitElement {
  static override styles = [
    ui,
    css`
      :host {
        display: contents;
      }
    `,
  ];
  static override properties = {
    trace: { attribute: false },
    place: { attribute: false },
    strings: { attribute: false },
    single: { type: Boolean },
  };
  declare trace: Trace;
  declare place: Place;
  declare strings: Strings;
  /** One layer and one head only: no means. */
  declare single: boolean;

  protected override render() {
    const { strings, trace } = this;
    const groups = groupsOf(trace);
    const { group, entries, heads } = this.chosen;
    const count = group.entries[0].shape[0];
    return html`${
      groups.length < 2
        ? nothing
        : this.field(
            strings.kind,
            groups.map(({ name }) => [name, groupTitle(name, strings)]),
            group.name,
            (name) => ({ at: name, head: this.place.head }),
          )
    }
      ${
        group.entries.length < 2
          ? nothing
          : this.field(
              strings.layer,
              [
                ...(this.single ? [] : [[group.name, strings.mean] as const]),
                ...group.entries.map(({ name }) => [name, layerNumber(name)] as const),
              ],
              entries.length > 1 ? group.name : entries[0].name,
              (name) => ({ at: name, head: this.place.head }),
            )
      }
      ${
        count < 2
          ? nothing
          : this.field(
              strings.head,
              [
                ...(this.single ? [] : [['', strings.mean] as const]),
                ...Array.from({ length: count }, (_, h) => [String(h), String(h)] as const),
              ],
              heads.length > 1 ? '' : String(heads[0]),
              (head) => ({ at: this.place.at ?? group.name, head: head === '' ? undefined : Number(head) }),
            )
      }
`;
  }

  private get chosen(): Selection {
    return this.single ? selectOne(this.trace, this.place) : select(this.trace, this.place);
  }

  private field(
    label: string,
    options: readonly (readonly [value: string, text: string])[],
    chosen: string,
    place: (value: string) => Place,
  ) {
    const changed = (event: Event) => {
      const detail = place((event.target as HTMLSelectElement).value);
      this.dispatchEvent(new CustomEvent('selection-change', { detail }));
    };
    return html`<label class="field"
      >${label}
      <select @change=${changed}>
        ${options.map(
          ([value, text]) =>
            html`<option value=${value} ?selected=${value === chosen} .selected=${value === chosen}>${text}</option>`,
        )}
      </select>
    </label>`;
  }
}

/** A place as one layer and one head: the first of what it leaves open. */
export function selectOne(trace: Trace, place: Place): Selection {
  const { group, entries, heads } = select(trace, place);
  return { group, entries: entries.slice(0, 1), heads: heads.slice(0, 1) };
}

customElements.define('selection-bar', SelectionBar);
