// The room of reading attention: alignment of words, summaries of heads, figures.
export {
  type AllCrossWeights,
  alignWords,
  averageWeights,
  type CrossWeights,
  crossWeights,
  type Selection,
  type WordAlignment,
  type Words,
} from './alignment.js';
export { type Figure, MOST_CELLS, type Panel } from './figure.js';
export { drawHtml, type HtmlOptions, MOST_WEIGHTS } from './html.js';
export { type ValueWeighting, valueWeightedNorms } from './norms.js';
export { cividis, nearest256, type PaletteName, palettes, type Rgb, viridis } from './palette.js';
export { drawPng, type PngOptions } from './png.js';
export { type RolloutPlace, rollout } from './rollout.js';
export {
  firstTokenShare,
  type HeadPlace,
  type HeadSummary,
  type HeavyHitters,
  headSummary,
  heavyHitters,
  type SummaryPlace,
  traceSummary,
} from './summary.js';
export { drawSvg } from './svg.js';
export { type ColorMode, colorMode, drawHeatMap, type HeatMap, type HeatMapOptions } from './terminal.js';
export { displayWidth, fitWidth, harmless, padWidth } from './width.js';
