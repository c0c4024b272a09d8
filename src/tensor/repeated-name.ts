// What JSON.parse does not tell: of a name given twice in one object it keeps the last value.

const [QUOTE, COLON, BACKSLASH, OPEN, CLOSE] = Array.from('":\\{}', (character) => character.charCodeAt(0));

/** The first name that an object of a valid JSON text gives twice, however it is spelled. */
export function repeatedName(json: string): string | undefined {
  const open: Set<string>[] = [];
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === OPEN) open.push(new Set());
    else if (code === CLOSE) open.pop();
    else if (code === QUOTE) {
      const end = endOfString(json, at);
      if (isName(json, end)) {
        const name: string = JSON.parse(json.slice(at, end));
        const names = open[open.length - 1];
        if (names.has(name)) return name;
        names.add(name);
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** Behind the closing quote. */
function endOfString(json: string, start: number): number {
  let at = start + 1;
  for (let code = json.charCodeAt(at); code !== QUOTE; code = json.charCodeAt(at))
    at += code === BACKSLASH ? 2 : 1;
  return at + 1;
}

function isName(json: string, end: number): boolean {
  let at = end;
  while (' \t\n\r'.includes(json[at])) at++;
  return json.charCodeAt(at) === COLON;
}
