// The page of `fovea view`.
import { preferredLocale } from 'fovea/elements';

document.documentElement.lang = preferredLocale();
