// Typed errors of the whole library. Every message names operand, what was expected and what came.

/** Base of all errors that Fovea throws on purpose; `code` is stable across versions. */
export class FoveaError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A tensor's shape or rank is not what the operation takes. */
export class ShapeError extends FoveaError {
  constructor(message: string) {
    super('FOVEA_SHAPE', message);
  }
}

/** A tensor's element type is not what the operation takes. */
export class DTypeError extends FoveaError {
  constructor(message: string) {
    super('FOVEA_DTYPE', message);
  }
}

/** An option's value is out of range, or options contradict each other. */
export class OptionError extends FoveaError {
  constructor(message: string) {
    super('FOVEA_OPTION', message);
  }
}

/** No kernel serves this request; nothing falls back silently. */
export class UnsupportedError extends FoveaError {
  constructor(message: string) {
    super('FOVEA_UNSUPPORTED', message);
  }
}

/** The request is larger than a stated budget or than the machine's memory. */
export class LimitError extends FoveaError {
  constructor(message: string) {
    super('FOVEA_LIMIT', message);
  }
}

/** A file from outside is malformed, truncated or of another format. */
export class FileFormatError extends FoveaError {
  constructor(message: string, options?: ErrorOptions) {
    super('FOVEA_FILE_FORMAT', message, options);
  }
}

/** The engine is disposed, poisoned, or a tensor belongs to another engine. */
export class EngineError extends FoveaError {
  constructor(message: string, options?: ErrorOptions) {
    super('FOVEA_ENGINE', message, options);
  }
}
