// Small helpers of the offline page: elements, and arrow keys that walk among buttons.

export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<HTMLElementTagNameMap[K]>,
  children: readonly Node[] = [],
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function button(className: string, onclick: () => void): HTMLButtonElement {
  return element('button', { className, type: 'button', onclick });
}

/** Makes lines of buttons one stop of the Tab key: arrow keys, Home and End walk among them. */
export function walk(lines: readonly (readonly HTMLElement[])[], first?: HTMLElement | null): void {
  const all = lines.flat();
  let current = first ?? all[0];
  const go = (to: HTMLElement, focus = true) => {
    current.tabIndex = -1;
    current = to;
    current.tabIndex = 0;
    if (focus) current.focus();
  };
  for (const one of all) one.tabIndex = one === current ? 0 : -1;
  lines.forEach((line, row) => {
    line.forEach((one, column) => {
      one.addEventListener('focus', () => go(one, false));
      one.addEventListener('keydown', (event) => {
        const other = (to: number) => lines[to]?.[Math.min(column, lines[to].length - 1)];
        const target = {
          ArrowLeft: line[column - 1],
          ArrowRight: line[column + 1],
          ArrowUp: other(row - 1),
          ArrowDown: other(row + 1),
          Home: line[0],
          End: line.at(-1),
        }[event.key];
        if (target === undefined) return;
        event.preventDefault();
        go(target);
      });
    });
  });
}
