// Custom elements that show attention in any page.
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
