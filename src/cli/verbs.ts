// The verbs: their arguments, options and help. What a verb does is loaded when it runs, so that help comes at once.
import { Command, Option } from 'commander';
import { beamOption, jsonOption, penaltyOption, threadsOption, whole } from './arguments.js';
import type { EvaluateVerbOptions } from './evaluate.js';
import { interruptible } from './output.js';
import type { TrainCommandOptions } from './train.js';
import type { TranslateVerbOptions } from './translate.js';
import type { ViewVerbOptions } from './view.js';

export function translateVerb(): Command {
  return new Command('translate')
    .description('Translate sentences, and show where the model looked.')
    .argument('[sentences...]', 'sentences; without any, one a line from --file or standard input')
    .option('-f, --file <path>', 'read sentences from a file, one a line')
    .option('-m, --model <name>', "a shipped model's name, or a model's folder", 'en-fr')
    .addOption(beamOption())
    .addOption(penaltyOption())
    .addOption(jsonOption())
    .addOption(
      new Option('--layer <n>', 'decoder layer to show, from 0 (default: mean of all)').argParser(
        whole(0, 127),
      ),
    )
    .addOption(
      new Option('--head <n>', 'attention head to show, from 0 (default: mean of all)').argParser(
        whole(0, 511),
      ),
    )
    .option('--attention', 'draw attention also for sentences from a file or standard input')
    .option('--no-attention', 'translations alone')
    .option('--trace <path>', "write all attention of one sentence's translation to a trace file")
    .option(
      '--svg <path>',
      'draw the map of attention as SVG; for several sentences path-1.svg, path-2.svg, …',
    )
    .option('--png <path>', 'the same as PNG')
    .option('--html <path>', 'all layers and heads, for all sentences, as one HTML file that opens offline')
    .addOption(threadsOption())
    .addHelpText('after', TRANSLATE_EXAMPLES)
    .action(async (sentences: string[], options: TranslateVerbOptions) => {
      const { runTranslate } = await import('./translate.js');
      await interruptible(() => runTranslate(sentences, options));
    });
}

const TRANSLATE_EXAMPLES = `
Sentences given here are followed by a map of attention: words of the translation down, of the sentence across.
From --file or standard input come translations alone, line for line; a blank line stays blank.

Examples:
  $ fovea translate "Who is taking responsibility for the loss?"
  $ fovea translate "Good morning." "How are you?" --layer 3 --head 0
  $ fovea translate "It is raining." --trace rain.safetensors
  $ fovea translate "It is raining." --svg rain.svg --png rain.png --html rain.html
  $ fovea translate --file english.txt > french.txt
  $ echo "It is raining." | fovea translate --json`;

export function trainVerb(): Command {
  return new Command('train')
    .description('Train a translation model, or go on where a training stopped.')
    .argument('<config.json>', 'what to train: data, model, schedule (configs/ holds examples)')
    .option('--restart', 'begin anew, whatever the output folder holds')
    .addOption(jsonOption())
    .addOption(threadsOption())
    .addHelpText('after', TRAIN_EXAMPLES)
    .action(async (config: string, options: TrainCommandOptions) => {
      const { trainCommand } = await import('./train.js');
      process.exitCode = await trainCommand(config, options);
    });
}

const TRAIN_EXAMPLES = `
Ctrl-C saves a checkpoint first; the same command goes on from it, to the bit.

Examples:
  $ fovea train configs/yardstick.json
  $ fovea train configs/yardstick.json --restart --json > log.jsonl`;

export function evaluateVerb(): Command {
  return new Command('evaluate')
    .description('Score a model on parallel text: BLEU and chrF as sacreBLEU computes them, loss per token.')
    .argument('<model>', "a shipped model's name, or a model's folder")
    .requiredOption(
      '-d, --data <file.tsv>',
      'a sentence, then one or more references, tab-separated, one example a line',
    )
    .addOption(beamOption())
    .addOption(penaltyOption())
    .addOption(jsonOption())
    .addOption(threadsOption())
    .addHelpText('after', EVALUATE_EXAMPLES)
    .action(async (model: string, options: EvaluateVerbOptions) => {
      const { runEvaluate } = await import('./evaluate.js');
      await interruptible(() => runEvaluate(model, options));
    });
}

const EVALUATE_EXAMPLES = `
Examples:
  $ fovea evaluate en-fr --data test.tsv
  $ fovea evaluate runs/small/best --data valid.tsv --beam 1 --json`;

export function viewVerb(): Command {
  return new Command('view')
    .description('Look into attention in the browser: a trace, or sentences translated as you type.')
    .argument('[trace.safetensors]', 'what to look into; without it, sentences typed into the page')
    .argument('[second.safetensors]', 'what to compare it with')
    .option(
      '-m, --model <name>',
      "a shipped model's name, or a model's folder, for the page to translate with",
      'en-fr',
    )
    .option('-t, --text <path>', 'a text of up to a million words, to look into how it attends to itself')
    .option('-p, --port <n>', 'port of 127.0.0.1 to listen on (default: any that is free)', whole(1, 65535))
    .option('-o, --open', 'open the page in the default browser')
    .addOption(jsonOption())
    .addHelpText('after', VIEW_EXAMPLES)
    .action(async (trace: string | undefined, second: string | undefined, options: ViewVerbOptions) => {
      const { runView } = await import('./view.js');
      await runView(
        [trace, second].filter((path) => path !== undefined),
        options,
      );
    });
}

const VIEW_EXAMPLES = `
The address is printed; the page answers to this machine alone, and everything is computed in it. Ctrl-C ends it.

Examples:
  $ fovea view --open
  $ fovea translate "It is raining." --trace rain.safetensors && fovea view rain.safetensors --open
  $ fovea view trace.safetensors --port 8080
  $ fovea view one.safetensors other.safetensors --open
  $ fovea view --text book.txt --open`;
