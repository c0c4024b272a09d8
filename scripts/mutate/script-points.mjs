// Mutants of compiled TypeScript: rewrites a module so that each comparison, condition, number, operation and call of
// the original becomes a choice that is made while it runs: `(__mutant(17) ? a <= b : a < b)`.
import { parseAst } from 'vite';

const SWAPS = {
  '<': ['comparison', '<='],
  '<=': ['comparison', '<'],
  '>': ['comparison', '>='],
  '>=': ['comparison', '>'],
  '===': ['comparison', '!=='],
  '!==': ['comparison', '==='],
  '+': ['operation', '-'],
  '-': ['operation', '+'],
  '*': ['operation', '+'],
  '/': ['operation', '*'],
  '%': ['operation', '/'],
  '>>>': ['operation', '<<'],
  '**': ['operation', '*'],
};
const CALLS = { min: 'max', max: 'min', ceil: 'floor', floor: 'ceil', abs: '' };

/** What a module becomes, and its mutants { number, kind, what, line, column, early }; `early` ones act at import. */
export function scriptMutants(code, firstNumber) {
  const mutants = [];
  const choices = [];
  const text = (node) => code.slice(node.start, node.end);
  /** At `node`, another expression; where several are, they share one place. */
  const offer = (node, kind, what, put, depth) => {
    const number = firstNumber + mutants.length;
    const before = code.slice(0, node.start).split('\n');
    const where = { line: before.length, column: before.at(-1).length + 1 };
    mutants.push({ number, kind, what, ...where, early: depth === 0 });
    choices.push({ start: node.start, end: node.end, number, put });
  };
  const force = (test, depth) => {
    if (test === null || test === undefined) return;
    offer(test, 'branch', `${text(test)} negated`, `!(${text(test)})`, depth);
  };

  function own(node, parent, depth) {
    if (node.type === 'BinaryExpression' && SWAPS[node.operator]) {
      if (node.operator === '+' && hasText(node)) return;
      const [kind, other] = SWAPS[node.operator];
      const put = `(${text(node.left)}) ${other} (${text(node.right)})`;
      offer(node, kind, `${text(node)} → ${other}`, put, depth);
    } else if (node.type === 'LogicalExpression') {
      const other = { '&&': '||', '||': '&&', '??': '&&' }[node.operator];
      const put = `(${text(node.left)}) ${other} (${text(node.right)})`;
      offer(node, 'branch', `${text(node)} → ${other}`, put, depth);
    } else if (node.type === 'Literal' && typeof node.value === 'number') {
      const key = parent.type === 'Property' && parent.key === node && !parent.computed;
      const less = node.value === 0 ? 1 : node.value - 1;
      // Of a large number, one less is the same number.
      if (!key && less !== node.value) offer(node, 'constant', `${node.raw} → ${less}`, String(less), depth);
    } else if (node.type === 'UnaryExpression' && (node.operator === '!' || node.operator === '-')) {
      const negated = node.argument.type === 'Literal';
      if (!negated)
        offer(
          node,
          'operation',
          `${text(node)} → without ${node.operator}`,
          `(${text(node.argument)})`,
          depth,
        );
    } else if (node.type === 'CallExpression') {
      call(node, parent, depth);
    }
    if (node.type === 'IfStatement' || node.type === 'ConditionalExpression') force(node.test, depth);
    if (node.type === 'ForStatement' || node.type === 'WhileStatement') force(node.test, depth);
  }

  function call(node, parent, depth) {
    if (parent.type === 'ExpressionStatement') {
      offer(node, 'call', `${text(node)} deleted`, 'undefined', depth);
    }
    const { object, property } = node.callee;
    if (object?.name === 'Math' && property.name in CALLS) {
      const put = `${CALLS[property.name] && `Math.${CALLS[property.name]}`}(${node.arguments.map(text).join(', ')})`;
      offer(node, 'operation', `${text(node)} → ${CALLS[property.name] || 'without abs'}`, put, depth);
    }
  }

  function walk(node, parent, depth) {
    if (node === null || typeof node.type !== 'string') return;
    if (/^(Import|ThrowStatement|TemplateLiteral)/.test(node.type)) return;
    own(node, parent, depth);
    const deeper = depth + (/Function|Method/.test(node.type) ? 1 : 0);
    for (const [name, child] of Object.entries(node)) {
      if (name === 'parent' || child === null || typeof child !== 'object') continue;
      for (const one of Array.isArray(child) ? child : [child]) if (one?.type) walk(one, node, deeper);
    }
  }
  const tree = parseAst(code);
  walk(tree, tree, 0);
  return { mutants, code: rewrite(code, choices) };
}

const hasText = ({ left, right }) =>
  [left, right].some(
    (side) =>
      side.type === 'TemplateLiteral' ||
      typeof side.value === 'string' ||
      (side.operator === '+' && hasText(side)),
  );

/** Puts the choices in; a choice within another one's range stays within its unchanged side. */
function rewrite(code, choices) {
  const places = new Map();
  for (const choice of choices) {
    const key = `${choice.start}:${choice.end}`;
    if (!places.has(key)) places.set(key, { start: choice.start, end: choice.end, offers: [] });
    places.get(key).offers.push(choice);
  }
  const sorted = [...places.values()].sort((a, b) => a.start - b.start || b.end - a.end);
  let next = 0;
  const render = (start, end) => {
    let out = '';
    let at = start;
    while (next < sorted.length && sorted[next].start < end) {
      const place = sorted[next++];
      out += code.slice(at, place.start);
      const inner = render(place.start, place.end);
      const sides = place.offers.map(({ number, put }) => `globalThis.__mutant?.(${number}) ? (${put}) : `);
      out += `(${sides.join('')}${inner})`;
      at = place.end;
    }
    return out + code.slice(at, end);
  };
  return render(0, code.length);
}
