#!/usr/bin/env node
// The command line: `fovea VERB`. Results on standard output, all else on standard error.
// Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { reportError } from './output.js';
import { evaluateVerb, trainVerb, translateVerb, viewVerb } from './verbs.js';

const EXAMPLES = `
Examples:
  $ fovea translate "Who is taking responsibility for the loss?"
  $ fovea view --open
  $ fovea train config.json
  $ fovea evaluate en-fr --data test.tsv

Each verb has its own --help.`;

function makeProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const program = new Command('fovea')
    .description(
      'Attention, always open to inspection: translate, train and evaluate with models that show where they look.',
    )
    .version(version, '-V, --version')
    .helpOption('-h, --help', 'show help')
    .addHelpText('after', EXAMPLES);
  for (const command of [translateVerb(), trainVerb(), evaluateVerb(), viewVerb()])
    program.addCommand(command);
  // Commander's own exits become errors, so that wrong usage gives 2; a verb added to a program inherits nothing.
  for (const command of [program, ...program.commands])
    command
      .exitOverride()
      .helpOption('-h, --help', 'show help')
      .configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, 'fovea:')) });
  return program;
}

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.exit(reportError(error));
});

try {
  await makeProgram().parseAsync();
} catch (error) {
  process.exitCode = reportError(error);
}
