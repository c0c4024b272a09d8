#!/usr/bin/env node
// The command line: `fovea VERB`. Results on standard output, all else on standard error.
// Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { jsonOption, threadsOption } from './arguments.js';
import { evaluateCommand } from './evaluate.js';
import { reportError } from './output.js';
import { translateCommand } from './translate.js';

const EXAMPLES = `
Examples:
  $ fovea translate "Who is taking responsibility for the loss?"
  $ fovea train config.json
  $ fovea evaluate en-fr --data test.tsv

Each verb has its own --help.`;

interface TrainOptions {
  restart?: boolean;
  json?: boolean;
  threads?: number;
}

function trainVerb(): Command {
  return new Command('train')
    .description('Train a translation model, or go on where a training stopped.')
    .argument('<config.json>', 'what to train: data, model, schedule (configs/ holds examples)')
    .option('--restart', 'begin anew, whatever the output folder holds')
    .addOption(jsonOption())
    .addOption(threadsOption())
    .addHelpText('after', TRAIN_EXAMPLES)
    .action(async (config: string, options: TrainOptions) => {
      const { trainCommand } = await import('./train.js');
      process.exitCode = await trainCommand(config, options);
    });
}

const TRAIN_EXAMPLES = `
Ctrl-C saves a checkpoint first; the same command goes on from it, to the bit.

Examples:
  $ fovea train configs/yardstick.json
  $ fovea train configs/yardstick.json --restart --json > log.jsonl`;

function makeProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const program = new Command('fovea')
    .description(
      'Attention, always open to inspection: translate, train and evaluate with models that show where they look.',
    )
    .version(version, '-V, --version')
    .helpOption('-h, --help', 'show help')
    .addHelpText('after', EXAMPLES);
  for (const command of [translateCommand(), trainVerb(), evaluateCommand()]) program.addCommand(command);
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
