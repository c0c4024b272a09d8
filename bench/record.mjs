// Runs the benches and records what they print, with commit and machine, in bench/results/NAME.json; then rewrites the
// tables of README.md and README.ko.md from all that is recorded. Run it on a quiet machine, under Node 24.
// Usage: node bench/record.mjs [matmul] [train] [translate] [quality] [map] [map-page] [attention] [tables]   (default: all)
// attention-GROUP records one group of bench/attention/; `tables` also draws the charts of docs/ from all that is recorded.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { charts } from './attention/charts.mjs';
import { GROUPS } from './attention/groups.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const results = join(root, 'bench/results');
const data = join(root, '../shared/data/tatoeba-en-fr');
const cli = join(root, 'dist/cli/main.js');
const evaluate = (split, beam) => [
  cli,
  'evaluate',
  'en-fr',
  '--data',
  join(data, split),
  '--beam',
  beam,
  '--json',
];

const BENCHES = {
  matmul: () => run([join(root, 'bench/matmul.mjs'), '--json']),
  train: () => run([join(root, 'bench/train.mjs'), '--json']),
  translate: () => run([join(root, 'bench/translate.mjs'), '--json']),
  map: () => ({
    ...run([join(root, 'bench/map.mjs'), '--json']),
    million: run([join(root, 'bench/map-million.mjs'), '--json']),
  }),
  'map-page': () => run([join(root, 'bench/map-page.mjs'), '--json']),
  quality: () => ({
    model: 'models/en-fr',
    validGreedy: run(evaluate('valid.tsv', '1')),
    testGreedy: run(evaluate('test.tsv', '1')),
    testBeam: run(evaluate('test.tsv', '4')),
  }),
};

const ATTENTION = Object.keys(GROUPS).map((group) => `attention-${group}`);
for (const group of Object.keys(GROUPS)) {
  BENCHES[`attention-${group}`] = () => {
    const { groups, ...rest } = run([join(root, 'bench/attention/main.mjs'), group, '--json']);
    return { ...rest, ...groups[group] };
  };
}

function run(args) {
  const text = execFileSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(text.toString().trim().split('\n').at(-1));
}

function write(path, text) {
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}

function record(name) {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root }).toString().trim();
  const machine = {
    processor: cpus()[0].model,
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 1e9),
  };
  const found = BENCHES[name]();
  mkdirSync(results, { recursive: true });
  const date = new Date().toISOString().slice(0, 10);
  write(
    join(results, `${name}.json`),
    `${JSON.stringify({ commit, date, machine, node: process.version, ...found }, null, 1)}\n`,
  );
}

const read = (name) => {
  const path = join(results, `${name}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null;
};

const WORDS = {
  'README.md': {
    head: ['measured', 'result', 'for comparison'],
    machine: (m, node) => `${m.processor}, ${m.cores} cores, Node ${node}`,
    matmul: 'matrix product 1024³, GFLOP/s on 1 and 2 threads',
    peak: 'of the register tile on first-level cache, one thread',
    train: 'training, source + target tokens/s, 2 threads',
    torch: 'PyTorch 2.13 (AVX-512), same configuration: 8,180',
    memory: 'peak memory of that training',
    translate: 'a ten-word sentence, beam 4',
    load: 'model loaded in',
    bleu: 'BLEU on test.tsv, beam 4',
    chrf: 'chrF',
    greedy: 'BLEU on test.tsv, greedy',
    yardstick: 'PyTorch, same configuration, 10 epochs: 44.7',
    attention: 'attention, N=2048, H=8, D=64: GFLOP/s on one thread',
    causal: 'causal, N=2048, counted in full',
    backward: 'forward + backward, N=1024, per thread',
    longest: 'N=65,536 (H=1): memory beyond inputs and outputs',
    matrix: 'its N×N weights alone: 17,180 MB',
    decode: 'decode, 1 query × 4,096 keys, 2 threads',
    call: 'a call at N=1 on engine tensors',
    first: 'the first call after import',
    map: 'weights of N=65,536 (H=1), 2 threads: a 256×256 tile, a row',
    picture: 'exact picture of all of them, against a forward pass',
    million: 'N=1,000,000 from a file: first picture, exact 2048×2048 tile',
    bars: 'bars of `npm run bench:attention` met',
    gain: 'the speed of not causal',
    speedChart: 'GFLOP/s against N, for Fovea and others',
    memoryChart: 'Peak memory against N, for Fovea and others',
  },
  'README.ko.md': {
    head: ['측정', '결과', '비교'],
    machine: (m, node) => `${m.processor}, 코어 ${m.cores}개, Node ${node}`,
    matmul: '행렬 곱 1024³, GFLOP/s, 스레드 1개와 2개',
    peak: '(1차 캐시 위 레지스터 타일 대비, 스레드 1개)',
    train: '학습, 원문 + 번역 토큰/초, 스레드 2개',
    torch: 'PyTorch 2.13 (AVX-512), 같은 설정: 8,180',
    memory: '그 학습의 최대 메모리',
    translate: '열 단어 문장, 빔 4',
    load: '모델 읽기',
    bleu: 'test.tsv의 BLEU, 빔 4',
    chrf: 'chrF',
    greedy: 'test.tsv의 BLEU, 탐욕 디코딩',
    yardstick: 'PyTorch, 같은 설정, 10 에폭: 44.7',
    attention: '어텐션, N=2048, H=8, D=64: 스레드 1개의 GFLOP/s',
    causal: 'causal, N=2048, 전체로 계산',
    backward: '순전파 + 역전파, N=1024, 스레드당',
    longest: 'N=65,536 (H=1): 입력과 출력을 뺀 메모리',
    matrix: 'N×N 가중치만 17,180 MB',
    decode: '디코딩, 쿼리 1개 × 키 4,096개, 스레드 2개',
    call: '엔진 텐서로 N=1 호출',
    first: 'import 뒤 첫 호출',
    map: 'N=65,536 (H=1)의 가중치, 스레드 2개: 256×256 타일, 한 행',
    picture: '전체의 정확한 그림, 순전파 대비',
    million: 'N=1,000,000, 파일에서: 첫 그림, 정확한 2048×2048 타일',
    bars: '`npm run bench:attention`의 기준 통과',
    gain: 'causal이 아닐 때의 속도 대비',
    speedChart: 'N에 따른 GFLOP/s: Fovea와 다른 시스템',
    memoryChart: 'N에 따른 최대 메모리: Fovea와 다른 시스템',
  },
};

/** Rows of the attention map. */
function mapRows(words) {
  const map = read('map');
  if (!map) return [];
  const { readings, whole, million } = map;
  const ms = ({ median }, digits = 1) => `${median.toFixed(digits)} ms`;
  const { first, tiles, memory } = million.results.withLogSumExp;
  return [
    [words.map, `${ms(readings['tile 256 × 256'], 2)}, ${ms(readings.row)}`, words.matrix],
    [words.picture, `${whole.ratio.toFixed(2)}×`, ''],
    [words.million, `${first.ms.toFixed(0)} ms, ${ms(tiles[3])}`, `${memory.peak} MB`],
  ];
}

/** Rows of attention, of the groups that are recorded. */
function attentionRows(words) {
  const [forward, causal, backward, longest, decode, calls] = [
    ...['forward', 'causal', 'backward', 'longest', 'decode', 'calls'],
  ].map((group) => read(`attention-${group}`));
  const rows = [];
  if (forward) {
    const { systems } = forward.results.at(-1);
    const peers = Object.entries(systems).filter(([name]) => name !== 'fovea');
    const rates = peers.map(([name, { median }]) => `${name} ${median.toFixed(1)}`).join(', ');
    rows.push([words.attention, systems.fovea.median.toFixed(1), rates]);
  }
  if (causal) {
    const { gflops, gain } = causal.results.find(({ N }) => N === 2048);
    rows.push([words.causal, gflops.median.toFixed(1), `${gain.toFixed(2)}× ${words.gain}`]);
  }
  if (backward) {
    const { perThread, ms } = backward.results[0];
    rows.push([words.backward, `${perThread.median.toFixed(1)} GFLOP/s`, `${ms.median.toFixed(0)} ms`]);
  }
  if (longest) {
    const { systems } = longest.results[0];
    const { error, megabytes } = systems['fovea-2'];
    rows.push([words.longest, error ?? `${megabytes.toFixed(0)} MB`, words.matrix]);
  }
  if (decode) {
    const { ms, native } = decode.results.at(-1);
    const peer = `onnxruntime-node ${native.median.toFixed(2)} ms`;
    rows.push([words.decode, `${ms.median.toFixed(2)} ms`, peer]);
  }
  if (calls) {
    const { microseconds } = calls.results.calls.at(-1);
    const first = `${words.first}: ${calls.results.first.median.toFixed(0)} ms`;
    rows.push([words.call, `${microseconds.median.toFixed(0)} µs`, first]);
  }
  const bars = ATTENTION.flatMap((name) => read(name)?.bars ?? []);
  const met = bars.filter((bar) => bar.met).length;
  if (bars.length > 0) rows.push([words.bars, `${met} / ${bars.length}`, '']);
  return rows;
}

function table(words, drawn) {
  const [matmul, train, translate, quality] = ['matmul', 'train', 'translate', 'quality'].map(read);
  const rows = [];
  if (matmul) {
    const { byThreads } = matmul.results.find(({ m, n, k }) => m === 1024 && n === 1024 && k === 1024);
    const rates = byThreads.map((t) => t.gflops.toFixed(1)).join(', ');
    const [one, two] = byThreads;
    rows.push([
      words.matmul,
      rates,
      `${Math.round(100 * one.ofPeak)}% ${words.peak}; ${two.speedup.toFixed(2)}×`,
    ]);
  }
  if (train) {
    rows.push([words.train, Math.round(train.tokensPerSecond).toLocaleString('en'), words.torch]);
    rows.push([words.memory, `${Math.round(train.peakMemoryMiB)} MiB`, '']);
  }
  if (translate) {
    rows.push([
      words.translate,
      `${translate.medianMs.toFixed(1)} ms`,
      `${words.load} ${Math.round(translate.loadMs)} ms`,
    ]);
  }
  if (quality) {
    const score = ({ bleu }) => (bleu.score ?? bleu).toFixed(1);
    const chrf = quality.testBeam.chrf.score ?? quality.testBeam.chrf;
    rows.push([words.bleu, score(quality.testBeam), `${words.chrf} ${chrf.toFixed(1)}`]);
    rows.push([words.greedy, score(quality.testGreedy), words.yardstick]);
  }
  rows.unshift(...attentionRows(words), ...mapRows(words));
  const any = read('attention-forward') ?? matmul ?? train ?? translate ?? quality;
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [
    line(words.head),
    '|---|---|---|',
    ...rows.map(line),
    '',
    words.machine(any.machine, any.node),
    ...Object.keys(drawn).flatMap((file) => [
      '',
      `![${file.includes('speed') ? words.speedChart : words.memoryChart}](docs/${file})`,
    ]),
  ].join('\n');
}

function writeTables() {
  const drawn = charts(read);
  for (const [file, svg] of Object.entries(drawn)) write(join(root, 'docs', file), svg);
  for (const [file, words] of Object.entries(WORDS)) {
    const path = join(root, file);
    const text = readFileSync(path, 'utf8');
    const next = text.replace(
      /(<!-- results -->\n)[\s\S]*?(\n<!-- \/results -->)/,
      (_, a, b) => a + table(words, drawn) + b,
    );
    write(path, next);
  }
}

const asked = process.argv.slice(2).flatMap((name) => (name === 'attention' ? ATTENTION : name));
const names = asked.length > 0 ? asked : [...Object.keys(BENCHES), 'tables'];
for (const name of names) {
  if (name === 'tables') writeTables();
  else if (Object.hasOwn(BENCHES, name)) record(name);
  else throw new Error(`unknown bench ${name}: expected ${Object.keys(BENCHES).join(', ')} or tables`);
}
