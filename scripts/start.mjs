// `npm start`: three sentences through the shipped model, each with its map of attention.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const sentences = [
  'Who is taking responsibility for the loss?',
  'I have never seen such a beautiful sunset.',
  'We were all present at the meeting yesterday.',
];
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const { status, error } = spawnSync(process.execPath, [main, 'translate', ...sentences], {
  stdio: 'inherit',
  // The picture is the point: full colour wherever this runs, unless it is refused.
  env: 'NO_COLOR' in process.env ? process.env : { ...process.env, FORCE_COLOR: '3' },
});
if (error) throw error;
process.exitCode = status ?? 1;
