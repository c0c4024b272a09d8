// The app as Vite bundles it: nothing to configure.
import './app.js';
