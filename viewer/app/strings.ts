// The page's words, in both languages. The elements keep their own.
import { EngineError, LimitError } from 'fovea';
import type { Locale } from 'fovea/elements';

const en = {
  tagline: 'Attention one can look into',
  views: { live: 'Live', overview: 'Overview', words: 'Words', map: 'Map', compare: 'Compare' },
  viewsLabel: 'Views',
  open: 'Open a trace…',
  openSecond: 'Open a second trace…',
  closeSecond: 'Close the second trace',
  drop: 'Drop a trace file to open it',
  language: 'Language',
  theme: 'Colours',
  themes: { system: 'System', light: 'Light', dark: 'Dark' },
  dismiss: 'Dismiss',
  skip: 'Skip to the view',
  reload: 'Reload the page',
  engineDied: 'What computes for this page has stopped:',
  sentence: 'Sentence',
  sentenceHint: 'Type a sentence in English',
  translation: 'Translation',
  examples: 'Examples',
  loadingModel: 'Loading the model',
  working: 'Translating…',
  startingModel: 'Preparing the model',
  blank: 'Type a sentence to see it translated.',
  probability: 'probability',
  milliseconds: 'ms, all computed in this page',
  noTrace: 'Nothing to look into yet',
  noTraceHint: 'Translate a sentence, or open a trace file: by the button, or dropped anywhere on this page.',
  toLive: 'Translate a sentence',
  reading: 'Reading…',
  timeLeft: (seconds: number) =>
    seconds < 100 ? `${seconds} s left` : `${Math.round(seconds / 60)} min left`,
  noCells: 'This attention is empty: it has no heads, no queries or no keys.',
  kind: 'Attention',
  layer: 'Layer',
  head: 'Head',
  mean: 'Mean of all',
  look: 'Drawn as',
  looks: { arcs: 'Arcs', shading: 'Shading' },
  units: 'Units',
  unit: { words: 'Words', tokens: 'Tokens' },
  measure: 'Measure',
  measures: { weights: 'Weights', norms: 'Value-weighted' },
  noValues: 'This trace holds no values: the weights are shown.',
  queriesSide: 'looks',
  keysSide: 'looked at',
  names: { source: 'Sentence', target: 'Translation', output: 'Translation' } as Record<string, string>,
  allKinds: 'All',
  sort: 'Heads by',
  sorts: {
    head: 'Number',
    entropy: 'Entropy, sharpest first',
    distance: 'Distance, nearest first',
    sinkShare: 'First token',
    previous: 'Previous token',
    same: 'Same token',
    next: 'Next token',
  },
  overviewNote: 'Each picture: queries down, keys across, brightest at its own largest weight.',
  noSummary: 'This text is too long for summary numbers; pictures are sampled.',
  tooLong: 'This attention spans thousands of tokens: it is best seen in the map.',
  toMap: 'Open the map',
  query: 'Query',
  key: 'Key',
  left: 'Left',
  right: 'Right',
  linked: 'Views move together',
  groups: {
    'encoder.*.selfAttention': 'Encoder self-attention',
    'decoder.*.selfAttention': 'Decoder self-attention',
    'decoder.*.crossAttention': 'Cross-attention',
  } as Record<string, string>,
  gone: (name: string) => `${name} was opened from disk. Open it again to go on.`,
  badTrace: 'This file cannot be shown:',
  tooLongSentence: 'This text is too long to translate at once; cut it into sentences.',
  noModel: 'The model could not be loaded:',
  failed: 'Something went wrong:',
  retry: 'Try again',
  liveTrace: 'This translation',
};

export type Strings = typeof en;

const ko: Strings = {
  tagline: '들여다볼 수 있는 어텐션',
  views: { live: '실시간', overview: '전체', words: '단어', map: '지도', compare: '비교' },
  viewsLabel: '보기',
  open: '트레이스 열기…',
  openSecond: '두 번째 트레이스 열기…',
  closeSecond: '두 번째 트레이스 닫기',
  drop: '트레이스 파일을 놓으면 열립니다',
  language: '언어',
  theme: '색',
  themes: { system: '시스템', light: '밝게', dark: '어둡게' },
  dismiss: '닫기',
  skip: '본문으로 건너뛰기',
  reload: '페이지 새로 고침',
  engineDied: '이 페이지의 계산 엔진이 멈췄습니다:',
  sentence: '문장',
  sentenceHint: '영어 문장을 입력하세요',
  translation: '번역',
  examples: '예문',
  loadingModel: '모델을 읽는 중',
  working: '번역하는 중…',
  startingModel: '모델을 준비하는 중',
  blank: '문장을 입력하면 번역이 나타납니다.',
  probability: '확률',
  milliseconds: 'ms, 모두 이 페이지 안에서 계산',
  noTrace: '아직 볼 것이 없습니다',
  noTraceHint: '문장을 번역하거나 트레이스 파일을 여세요. 버튼으로 열거나 이 페이지 어디에든 놓으면 됩니다.',
  toLive: '문장 번역하기',
  reading: '읽는 중…',
  timeLeft: (seconds: number) => (seconds < 100 ? `${seconds}초 남음` : `${Math.round(seconds / 60)}분 남음`),
  noCells: '빈 어텐션입니다. 헤드나 쿼리, 키가 하나도 없습니다.',
  kind: '어텐션',
  layer: '층',
  head: '헤드',
  mean: '전체 평균',
  look: '그리기',
  looks: { arcs: '곡선', shading: '음영' },
  units: '단위',
  unit: { words: '단어', tokens: '토큰' },
  measure: '척도',
  measures: { weights: '가중치', norms: '값 가중' },
  noValues: '이 트레이스에는 값(v)이 없어 가중치를 보여 줍니다.',
  queriesSide: '보는 쪽',
  keysSide: '보이는 쪽',
  names: { source: '문장', target: '번역', output: '번역' },
  allKinds: '모두',
  sort: '헤드 순서',
  sorts: {
    head: '번호',
    entropy: '엔트로피, 또렷한 것부터',
    distance: '거리, 가까운 것부터',
    sinkShare: '첫 토큰',
    previous: '이전 토큰',
    same: '같은 토큰',
    next: '다음 토큰',
  },
  overviewNote: '그림마다 아래로 쿼리, 옆으로 키이며, 가장 큰 가중치가 가장 밝습니다.',
  noSummary: '글이 너무 길어 요약 수치는 없으며, 그림은 표본입니다.',
  tooLong: '토큰이 너무 많은 어텐션입니다. 지도로 보는 편이 좋습니다.',
  toMap: '지도 열기',
  query: '쿼리',
  key: '키',
  left: '왼쪽',
  right: '오른쪽',
  linked: '두 화면이 함께 움직입니다',
  groups: {
    'encoder.*.selfAttention': '인코더 셀프 어텐션',
    'decoder.*.selfAttention': '디코더 셀프 어텐션',
    'decoder.*.crossAttention': '크로스 어텐션',
  },
  gone: (name: string) => `${name} 파일은 디스크에서 열었던 것입니다. 계속하려면 다시 여세요.`,
  badTrace: '이 파일은 볼 수 없습니다:',
  tooLongSentence: '한 번에 번역하기에는 너무 깁니다. 문장으로 나누세요.',
  noModel: '모델을 읽지 못했습니다:',
  failed: '문제가 생겼습니다:',
  retry: '다시 시도',
  liveTrace: '이 번역',
};

export const STRINGS: Readonly<Record<Locale, Strings>> = { en, ko };

/** An error in a line; what the library says stays in English. */
export function explain(error: unknown, strings: Strings, before = strings.failed): string {
  if (error instanceof LimitError && error.message.startsWith('translate:')) return strings.tooLongSentence;
  const what = error instanceof EngineError ? strings.engineDied : before;
  return error instanceof Error ? `${what} ${error.message}` : what;
}

/** A kind of attention in words; what has no name of ours is called by its own. */
export const groupTitle = (name: string, strings: Strings): string => ours(strings.groups, name) ?? name;

/** A trace may call its things as it likes, `constructor` too. */
const ours = (words: Readonly<Record<string, string>>, name: string): string | undefined =>
  Object.hasOwn(words, name) ? words[name] : undefined;

/** A probability in two digits; that of a long sentence is as good as none. */
export const percentText = (share: number): string =>
  share < 1e-4 ? '< 0.01 %' : `${Number((100 * share).toPrecision(2))} %`;

/** `Layer 2` of an entry's name. */
export function layerNumber(name: string): string {
  return /(?:^|[._])(\d+)(?=[._]|$)/.exec(name)?.[1] ?? '';
}

/** The title of an entry: its kind and layer. */
export function entryTitle(name: string, strings: Strings): string {
  const layer = layerNumber(name);
  const kind = name.replace(/(^|[._])\d+(?=[._]|$)/, '$1*');
  const title = ours(strings.groups, kind);
  return layer === '' || title === undefined ? name : `${title} · ${strings.layer} ${layer}`;
}

/** A side of an attention: its text's name and what it does. */
export function sideTitle(text: string | undefined, role: string, strings: Strings): string {
  const name = text === undefined ? '' : (ours(strings.names, text) ?? text);
  return name === '' ? role : `${name} · ${role}`;
}
