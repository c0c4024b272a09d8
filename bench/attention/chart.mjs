// Line charts as SVG text, both axes logarithmic to base 2. Knows nothing of what is drawn. The picture has a ground of its
// own, light or dark as the reader's system prefers, so that it reads the same on any page.

const WIDTH = 780;
const HEIGHT = 474;
const PLOT = { left: 62, right: 590, top: 62, bottom: 370 };
const LINE_HEIGHT = 14;

const LIGHT = ['#0b5cad', '#b4451f', '#5b5b5b', '#7a3e9d', '#2e7d32', '#8a6d00'];
const DARK = ['#6cb6ff', '#ff9d76', '#b5b5b5', '#d2a8ff', '#7ee787', '#e3c04b'];

const colours = (ground, ink, faint, lines) =>
  `svg{background:${ground}}.ground{fill:${ground}}text{fill:${ink}}.faint{stroke:${faint}}` +
  lines.map((c, n) => `.line${n}{stroke:${c}}.mark${n},text.label${n}{fill:${c}}`).join('');

const STYLE =
  'text{font:12px system-ui,sans-serif}.title{font-size:15px;font-weight:600}.small{font-size:11px}' +
  'path{fill:none;stroke-width:2}.own{stroke-width:3.5}.dashed{stroke-dasharray:5 4}.faint{stroke-width:1}' +
  `${colours('#ffffff', '#1f2328', '#d8dee4', LIGHT)}` +
  `@media(prefers-color-scheme:dark){${colours('#0d1117', '#e6edf3', '#30363d', DARK)}}`;

const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const text = (x, y, words, attributes = '') =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped(words)}</text>`;

/** A value's place between the ends of an axis; values below the first tick lie on it. */
function scale(ticks, from, to) {
  const [low, high] = [Math.log2(ticks[0]), Math.log2(ticks.at(-1))];
  return (value) => from + ((Math.max(Math.log2(value), low) - low) / (high - low)) * (to - from);
}

function axes({ x, y }, placeX, placeY) {
  const { left, right, top, bottom } = PLOT;
  const line = (x1, y1, x2, y2) => `<path class="faint" d="M${x1} ${y1}L${x2} ${y2}"/>`;
  return [
    ...y.ticks.map((tick) => line(left, placeY(tick).toFixed(1), right, placeY(tick).toFixed(1))),
    ...y.ticks.map((tick) =>
      text(left - 8, placeY(tick) + 4, tick.toLocaleString('en'), 'text-anchor="end"'),
    ),
    ...x.ticks.map((tick) =>
      text(placeX(tick), bottom + 18, tick.toLocaleString('en'), 'text-anchor="middle"'),
    ),
    text((left + right) / 2, bottom + 38, x.label, 'text-anchor="middle"'),
    text(left - 50, top - 12, y.label),
  ];
}

/** Labels right of each line's end, pushed apart where two ends are at one place. */
function labels(ends) {
  const placed = [];
  for (const end of [...ends].sort((a, b) => a.y - b.y)) {
    const above = placed.filter(({ x }) => Math.abs(x - end.x) < 60).map(({ y }) => y + LINE_HEIGHT);
    placed.push({ ...end, y: Math.max(end.y, ...above) });
  }
  return placed.map(({ x, y, label, colour }) => text(x + 9, y + 4, label, `class="label${colour}"`));
}

/**
 * title; caption: lines beneath; x and y: { label, ticks }; series: [{ label, points: [[x, y], …], own?, dashed? }]. A
 * colour belongs to a place in `series`, so that a system keeps its own in every chart.
 */
export function lineChart({ title, caption, x, y, series }) {
  const placeX = scale(x.ticks, PLOT.left, PLOT.right);
  const placeY = scale(y.ticks, PLOT.bottom, PLOT.top);
  const drawn = series.map(({ points, label, own, dashed }, n) => {
    const colour = n % LIGHT.length;
    const spots = points.map(([a, b]) => [placeX(a), placeY(b)]);
    const at = spots.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`);
    const kind = `line${colour}${own ? ' own' : ''}${dashed ? ' dashed' : ''}`;
    const marks = spots.map(
      ([a, b]) => `<circle class="mark${colour}" cx="${a.toFixed(1)}" cy="${b.toFixed(1)}" r="3.5"/>`,
    );
    const [endX, endY] = spots.at(-1) ?? [0, 0];
    const end = { x: endX, y: endY, label, colour };
    return {
      svg: `<path class="${kind}" d="M${at.join('L')}"/>${marks.join('')}`,
      end,
      empty: spots.length === 0,
    };
  });
  const shown = drawn.filter(({ empty }) => !empty);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img">`,
    `<title>${escaped(title)}</title><style>${STYLE}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${HEIGHT}"/>`,
    text(12, 24, title, 'class="title"'),
    ...axes({ x, y }, placeX, placeY),
    ...shown.map(({ svg }) => svg),
    ...labels(shown.map(({ end }) => end)),
    ...caption.map((words, n) => text(12, PLOT.bottom + 60 + 15 * n, words, 'class="small"')),
    '</svg>\n',
  ].join('\n');
}
