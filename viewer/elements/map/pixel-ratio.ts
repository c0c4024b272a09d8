// Tells when a pixel of the page becomes another number of the screen's: another screen, or the browser's zoom.

/** Returns what ends it. */
export function watchPixelRatio(changed: () => void): () => void {
  const stop = new AbortController();
  const watch = () => {
    const now = matchMedia(`(resolution: ${devicePixelRatio}dppx)`);
    const heard = () => {
      changed();
      watch();
    };
    now.addEventListener('change', heard, { once: true, signal: stop.signal });
  };
  watch();
  return () => stop.abort();
}
