/**
 * Structured logs: one JSON object a line, a constant lower-case message, the variables in fields. Logging never throws, and
 * what it is given cannot displace `at`, `level`, `service` and `message`.
 */
import { DroverError, describeError } from '@drover/core';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type Fields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The same sink with these fields in every line. */
  child(fields: Fields): Logger;
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export interface LoggerOptions {
  readonly service: string;
  /** Lines below it are not written. */
  readonly level: LogLevel;
  /** Default: standard error. */
  readonly sink?: (line: string) => void;
}

export function createLogger(options: LoggerOptions): Logger {
  const sink = options.sink ?? ((line) => void process.stderr.write(`${line}\n`));
  return build(sink, ORDER.indexOf(options.level), options.service, {});
}

/** Says nothing; for tests and pure uses. */
export const silentLogger: Logger = build(() => undefined, ORDER.length, '', {});

function build(sink: (line: string) => void, least: number, service: string, base: Fields): Logger {
  const write =
    (level: LogLevel) =>
    (message: string, fields: Fields = {}) => {
      if (ORDER.indexOf(level) < least) return;
      const head = { at: new Date().toISOString(), level, service, message };
      sink(line({ ...head, ...base, ...fields, ...head }, head));
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => build(sink, least, service, { ...base, ...fields }),
  };
}

function line(entry: Fields, head: Fields): string {
  try {
    return JSON.stringify(entry, plain);
  } catch (error) {
    // A field that refers to itself, or whose toJSON throws.
    return JSON.stringify({ ...head, unprintable: describeError(error) });
  }
}

function plain(this: Fields, key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  const raw = this[key]; // before toJSON: that of Buffer lists every byte
  if (raw instanceof Uint8Array) return `<${raw.length} bytes>`;
  if (value instanceof DroverError) {
    return {
      code: value.code,
      message: describeError(value),
      ...(Object.keys(value.facts).length > 0 ? { facts: value.facts } : {}),
    };
  }
  if (value instanceof Error) return { name: value.name, message: describeError(value), stack: value.stack };
  return value;
}
