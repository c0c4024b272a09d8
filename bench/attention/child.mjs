// Runs job() of one bench file with options given as JSON, and prints the result as JSON. Usage: child.mjs FILE OPTIONS
const [file, options] = process.argv.slice(2);
try {
  const { job } = await import(`./${file}.mjs`);
  const result = await job(JSON.parse(options));
  // Written out before the process ends, whatever threads a system has left behind.
  process.stdout.write(`\n${JSON.stringify(result)}\n`, () => process.exit(0));
} catch (error) {
  process.stderr.write(`${error?.message ?? error}\n`, () => process.exit(1));
}
