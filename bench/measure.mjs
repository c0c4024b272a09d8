// What every bench shares: seeded numbers, medians, interleaved rounds.

/** Deterministic uniform numbers in [−1, 1). */
export function seeded(seed = 20240229) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

export const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** Median, lowest and highest of a list. */
export const spread = (list) => ({
  median: median(list),
  lowest: Math.min(...list),
  highest: Math.max(...list),
});

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Milliseconds of one call of run(), repeated until at least `least` ms have gone by. */
export async function time(run, least = 25) {
  const start = performance.now();
  let calls = 0;
  let ms = 0;
  do {
    await run();
    calls++;
    ms = performance.now() - start;
  } while (ms < least);
  return ms / calls;
}

/** As time(), for a run() that computes before it returns: no turn of the event loop in between. */
export function timeSync(run, least = 25) {
  const start = performance.now();
  let calls = 0;
  let ms = 0;
  do {
    run();
    calls++;
    ms = performance.now() - start;
  } while (ms < least);
  return ms / calls;
}

const LONGEST_REST = 300;

/**
 * Waits until the threads of whoever ran before have fallen asleep: ONNX Runtime's look for work for some 35 ms after each
 * run, on the core that the next system's second thread needs. Asleep: the process uses less than a fifth of a core.
 */
async function rest() {
  const end = performance.now() + LONGEST_REST;
  let used;
  let passed;
  do {
    const [before, start] = [process.cpuUsage(), performance.now()];
    await pause(5);
    const { user, system } = process.cpuUsage(before);
    used = (user + system) / 1000;
    passed = performance.now() - start;
  } while (used > passed / 5 && performance.now() < end);
}

/**
 * Times jobs [{ run, sync? }] in turn, round after round, after a warm-up; before each the machine comes to rest. Gives, per
 * job, its milliseconds by round.
 */
export async function interleave(jobs, { rounds = 9, warmUp = 300 } = {}) {
  const one = ({ run, sync }, least) => (sync ? timeSync(run, least) : time(run, least));
  for (const job of jobs) await one(job, warmUp);
  const samples = jobs.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [n, job] of jobs.entries()) {
      await rest();
      samples[n].push(await one(job));
    }
  }
  return samples;
}

/** Median over rounds of a[round] / b[round]. */
export const ratio = (a, b) => median(a.map((x, round) => x / b[round]));
