// What a training shows while it runs: a bar on a terminal, plain lines elsewhere.
import type { WriteStream } from 'node:tty';
import { Presets, SingleBar } from 'cli-progress';
import type { TrainMessage } from '../tasks/train.js';
import type { TrainingEvent } from '../train/index.js';

export interface TrainProgress {
  show(event: TrainingEvent | TrainMessage): void;
  end(): void;
}

/** '1 h 02 min', '3 min 20 s', '12 s' */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
}

const stepLine = (e: TrainingEvent & { type: 'step' }) =>
  `epoch ${e.epoch}/${e.epochs}  step ${e.step}/${e.steps}  loss ${e.loss.toFixed(3)}  ` +
  `${Math.round(e.tokensPerSecond)} tokens/s  ${duration(e.secondsLeft)} left`;

function epochLine(e: TrainingEvent & { type: 'epoch' }): string {
  const scores = Object.entries(e.scores).filter(([name]) => name !== 'score');
  const text = scores.map(([name, value]) => `${name} ${value.toFixed(name === 'bleu' ? 1 : 3)}`).join('  ');
  return (
    `epoch ${e.epoch}/${e.epochs}  ${duration(e.seconds)}  train loss ${e.loss.toFixed(3)}` +
    `${text ? `  valid ${text}` : ''}${e.best ? '  (best)' : ''}`
  );
}

export function trainProgress(stream: NodeJS.WriteStream | WriteStream): TrainProgress {
  const terminal = stream.isTTY === true;
  let bar: SingleBar | undefined;
  const line = (text: string) => {
    bar?.stop();
    bar = undefined;
    stream.write(`${text}\n`);
  };
  const step = (e: TrainingEvent & { type: 'step' }) => {
    if (!terminal) return stream.write(`${stepLine(e)}\n`);
    const text = stepLine(e);
    if (!bar) {
      bar = new SingleBar(
        { stream, format: '{bar} {text}', barsize: 20, clearOnComplete: true },
        Presets.shades_classic,
      );
      bar.start(e.steps, e.step, { text });
    } else bar.update(e.step, { text });
  };
  return {
    show(event) {
      if (event.type === 'step') step(event);
      else if (event.type === 'epoch') line(epochLine(event));
      else if (event.type === 'message') line(event.text);
      else if (event.type === 'warning') line(`warning: ${event.text}`);
    },
    end() {
      bar?.stop();
      bar = undefined;
    },
  };
}
