// Custom elements that show attention in any page.
export { type Locale, preferredLocale } from './locale.js';
