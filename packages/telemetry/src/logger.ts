/** Structured logs: one JSON object a line, a constant lower-case message, the variables in fields. */
import { DroverError } from '@drover/core';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** The same sink with these fields in every line. */
  child(fields: Readonly<Record<string, unknown>>): Logger;
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export function createLogger(options: { service: string; level: LogLevel; sink?: (line: string) => void }): Logger {
  const sink = options.sink ?? ((line) => process.stderr.write(`${line}\n`));
  return build(sink, ORDER.indexOf(options.level), { service: options.service });
}

/** Says nothing; for tests and pure uses. */
export const silentLogger: Logger = build(() => undefined, ORDER.length, {});

function build(sink: (line: string) => void, least: number, base: Readonly<Record<string, unknown>>): Logger {
  const write = (level: LogLevel) => (message: string, fields: Readonly<Record<string, unknown>> = {}) => {
    if (ORDER.indexOf(level) < least) return;
    sink(JSON.stringify({ at: new Date().toISOString(), level, message, ...base, ...fields }, plain));
  };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => build(sink, least, { ...base, ...fields }),
  };
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof DroverError) return { code: value.code, message: value.message, ...value.facts };
  if (value instanceof Error) return { name: value.name, message: value.message };
  return value;
}
