// The script of the offline page: an overview of layers and heads, and one of them opened, with its words. It needs
// nothing but its own file: no network, no worker, no module.
import type { PageData, PageMap, Sheet } from './data.js';
import { Detail } from './detail.js';
import { button, element, walk } from './dom.js';
import { language, say, words } from './locale.js';
import { matrixOf, paint } from './matrices.js';

/** One kind of attention in all layers. */
interface Group {
  readonly key: string;
  readonly layers: readonly { readonly name: string; readonly map: PageMap }[];
}

const data: PageData = JSON.parse(document.getElementById('data')!.textContent!);
const state = {
  sheet: 0,
  group: '',
  layer: data.open?.layer,
  head: data.open?.head,
  subwords: false,
  log: false,
};

function groupsOf({ maps }: Sheet): Group[] {
  const groups = new Map<string, { name: string; map: PageMap }[]>();
  for (const map of maps) {
    const [, stack, layer, kind] = /^(\w+)\.(\d+)\.(\w+)$/.exec(map.name) ?? [];
    const kindOf = `${stack}.${kind}`;
    const first = groups.get(kindOf)?.[0].map;
    // Layers of other lengths or heads have no mean with these.
    const alone = stack === undefined || (first !== undefined && sizesOf(first) !== sizesOf(map));
    const key = alone ? map.name : kindOf;
    groups.set(key, [...(groups.get(key) ?? []), { name: layer ?? '', map }]);
  }
  return [...groups].map(([key, layers]) => ({ key, layers }));
}

const sizesOf = ({ rows, columns, heads }: PageMap): string =>
  [rows.tokens.length, columns.tokens.length, heads.length].join();

const detail = new Detail();
const overview = element('section', { className: 'overview' });

function show(): void {
  const groups = groupsOf(data.sheets[state.sheet]);
  const group =
    groups.find(({ key }) => key === state.group) ??
    groups.find(({ key }) => key.endsWith('crossAttention')) ??
    groups[0];
  state.group = group.key;
  if (state.layer !== undefined && state.layer >= group.layers.length) state.layer = undefined;
  if (state.head !== undefined && state.head >= group.layers[0].map.heads.length) state.head = undefined;
  showControls(groups);
  showOverview(group);
  showDetail(group);
}

function showDetail({ key, layers }: Group): void {
  const maps = (state.layer === undefined ? layers : [layers[state.layer]]).map(({ map }) => map);
  const summary =
    state.layer === undefined || state.head === undefined ? undefined : maps[0].summary?.[state.head];
  const title = `${say(key)} · ${nameOf(layers, state.layer, state.head)}`;
  detail.show(title, matrixOf(maps, state.head, state.subwords), maps[0], summary, state.log);
}

function nameOf(layers: Group['layers'], layer: number | undefined, head: number | undefined): string {
  const parts = [];
  if (layer !== undefined && layers[layer].name !== '') parts.push(`${words.layer} ${layers[layer].name}`);
  if (head !== undefined) parts.push(`${words.head} ${layers[layer ?? 0].map.heads[head]}`);
  if (head === undefined || layer === undefined)
    parts.push(parts.length === 0 ? words.meanOfAll : words.mean);
  return parts.join(', ');
}

/** A mean of all, then a line for each layer: its mean and its heads. Arrow keys walk, Enter opens. */
function showOverview(group: Group): void {
  const { layers } = group;
  const heads = layers[0].map.heads.length;
  const only = layers.length === 1 && heads === 1;
  const lines = layers.map((_, layer) =>
    [undefined, ...layers[layer].map.heads.keys()].map((head) => tile(group, layer, head)),
  );
  const all = layers.length > 1 ? [[tile(group, undefined, undefined)]] : [];
  overview.hidden = only;
  const grid = element('div', { className: 'grid' });
  grid.style.setProperty('--columns', String(heads + 1));
  for (const line of [...all, ...lines]) grid.append(element('div', { className: 'line' }, line));
  overview.replaceChildren(element('h2', { textContent: words.heads }), grid);
  walk([...all, ...lines], grid.querySelector<HTMLElement>('[aria-pressed=true]'));
}

function tile(group: Group, layer: number | undefined, head: number | undefined): HTMLButtonElement {
  const { layers } = group;
  const maps = (layer === undefined ? layers : [layers[layer]]).map(({ map }) => map);
  const canvas = element('canvas', {});
  paint(canvas, matrixOf(maps, head, true), state.log);
  const short =
    head === undefined
      ? layer === undefined
        ? words.meanOfAll
        : `${layers[layer].name} ${words.mean}`.trim()
      : [layers[layer!].name, maps[0].heads[head]].filter((part) => part !== '').join('.');
  const made = button('tile', () => {
    Object.assign(state, { layer, head });
    for (const other of overview.querySelectorAll('.tile'))
      other.setAttribute('aria-pressed', String(other === made));
    showDetail(group);
  });
  const summary = head === undefined ? undefined : maps[0].summary?.[head];
  const { entropy, distance } = summary ?? {};
  const numbers =
    entropy !== undefined &&
    distance !== undefined &&
    `${words.entropy} ${entropy.toFixed(2)}, ${words.distance} ${distance.toFixed(1)}`;
  made.title = [nameOf(layers, layer, head), numbers].filter(Boolean).join(': ');
  made.setAttribute('aria-label', made.title);
  made.setAttribute('aria-pressed', String(layer === state.layer && head === state.head));
  made.append(canvas, element('span', { textContent: short }));
  return made;
}

const controls = element('div', { className: 'controls' });

function showControls(groups: Group[]): void {
  const held = document.activeElement?.id;
  controls.replaceChildren(
    ...(data.sheets.length > 1
      ? [
          choice(
            'sheet',
            words.sentence,
            data.sheets.map(({ title }, n) => [String(n), title]),
            String(state.sheet),
          ),
        ]
      : []),
    ...(groups.length > 1
      ? [
          choice(
            'group',
            words.attention,
            groups.map(({ key }) => [key, say(key)]),
            state.group,
          ),
        ]
      : []),
    ...(data.sheets.some(({ maps }) => maps.some(({ rows, columns }) => rows.words || columns.words))
      ? [check('subwords', words.subwords)]
      : []),
    check('log', words.log),
  );
  if (held) document.getElementById(held)?.focus();
}

function choice(
  name: 'sheet' | 'group',
  label: string,
  options: [string, string][],
  chosen: string,
): HTMLElement {
  const select = element('select', { id: name });
  select.setAttribute('aria-label', label);
  for (const [value, text] of options)
    select.append(element('option', { value, textContent: text, selected: value === chosen }));
  select.onchange = () => {
    if (name === 'sheet') state.sheet = Number(select.value);
    else Object.assign(state, { group: select.value, layer: undefined, head: undefined });
    show();
  };
  return select;
}

function check(name: 'subwords' | 'log', label: string): HTMLElement {
  const input = element('input', { id: name, type: 'checkbox', checked: state[name] });
  input.onchange = () => {
    state[name] = input.checked;
    show();
  };
  return element('label', {}, [input, document.createTextNode(label)]);
}

document.documentElement.lang = language;
document.body.append(
  element('header', {}, [element('h1', { textContent: data.title }), controls]),
  element('main', {}, [overview, detail.root]),
  element('footer', { textContent: words.caution }),
);
show();
