// Custom elements that show attention in any page.
export {
  FoveaMap,
  type Labels,
  type MapView,
  type Range,
  type Reduce,
  type Scale,
} from './fovea-map.js';
export {
  FoveaHeads,
  type HeadMeasure,
  type HeadNumbers,
  type HeadView,
  type LayerView,
} from './heads.js';
export { type Locale, preferredLocale } from './locale.js';
export type { Picture } from './paint.js';
export { FoveaWords, type Side, type WordPlace } from './words.js';
