// The page of `fovea view`: starts <fovea-page>, which is all there is.
import './page.js';
