// The groups of the attention bench: each can be run and recorded by itself.

/** Group and the file it is in. */
export const GROUPS = {
  forward: 'forward',
  causal: 'causal',
  threads: 'threads',
  memory: 'lengths',
  long: 'lengths',
  longest: 'lengths',
  backward: 'backward',
  decode: 'decode',
  small: 'small',
  calls: 'calls',
  strict: 'strict',
};
