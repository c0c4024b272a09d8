// Options that several verbs share, checked as they are read.
import { InvalidArgumentError, Option } from 'commander';

/** A parser of whole numbers within bounds. */
export function whole(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high)
      throw new InvalidArgumentError(`Expected a whole number from ${low} to ${high}.`);
    return value;
  };
}

function decimal(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= low && value <= high))
      throw new InvalidArgumentError(`Expected a number from ${low} to ${high}.`);
    return value;
  };
}

export const beamOption = () =>
  new Option('-b, --beam <n>', 'hypotheses kept; 1 is greedy').argParser(whole(1, 64)).default(4);
export const penaltyOption = () =>
  new Option('--length-penalty <x>', 'score is log-probability / length^x')
    .argParser(decimal(0, 10))
    .default(1);
export const threadsOption = () =>
  new Option('--threads <n>', 'threads that compute (default: all cores, at most 16)').argParser(
    whole(1, 256),
  );
export const jsonOption = () => new Option('--json', 'results as JSON, one object a line');
