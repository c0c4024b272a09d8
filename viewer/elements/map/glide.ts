// Zooming in small steps, or at once for those who want no motion.

const DURATION = 160;

/** Calls `step` with factors whose product is `factor`. */
export function glide(factor: number, step: (factor: number) => void): void {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) {
    step(factor);
    return;
  }
  const start = performance.now();
  let done = 0;
  const next = (now: number) => {
    const time = Math.min(1, Math.max(0, now - start) / DURATION);
    const eased = 1 - (1 - time) ** 3;
    step(factor ** (eased - done));
    done = eased;
    if (time < 1) requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}
