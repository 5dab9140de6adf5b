/** What a person reads and what a program reads: every verb writes through one of these. */
import { DroverError, describeError } from '@drover/core';

export interface Output {
  readonly json: boolean;
  /** A line for a person; nothing with --json. */
  line(text: string): void;
  /** A result: with --json one object a line, otherwise what `text` gives. */
  result(value: unknown, text: () => string): void;
}

export function outputOf(
  json: boolean,
  write: (text: string) => void = (text) => process.stdout.write(text),
): Output {
  return {
    json,
    line: (text) => {
      if (!json) write(`${text}\n`);
    },
    result: (value, text) => write(json ? `${JSON.stringify(value, plain)}\n` : `${text()}\n`),
  };
}

export function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

/** Columns as wide as their widest cell; numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const numeric = head.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === 'number'));
  return cells
    .map((row) =>
      row
        .map((cell, i) => (numeric[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Exit codes: 1 it failed, 2 the command or its configuration is wrong, 3 the answer is "no" (not equal, obstacles found). */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof DroverError)) return 1;
  return error.code.startsWith('config.') || error.code === 'rpc.invalid' ? 2 : 1;
}

export function reportError(error: unknown, json: boolean): void {
  if (json) {
    const code = error instanceof DroverError ? error.code : 'internal.assertion';
    const hint = error instanceof DroverError && error.hint !== undefined ? { hint: error.hint } : {};
    const message = error instanceof DroverError ? error.message : describeError(error);
    // The mistakes of a configuration, for programs: `file` and `faults` (key, wrong, example).
    const facts = error instanceof DroverError && error.code === 'config.invalid' ? error.facts : {};
    process.stderr.write(`${JSON.stringify({ error: code, message, ...hint, ...facts })}\n`);
    return;
  }
  process.stderr.write(`drover: ${describeError(error)}\n`);
  if (
    !(error instanceof DroverError) &&
    error instanceof Error &&
    process.env['DROVER_DEBUG'] !== undefined
  ) {
    process.stderr.write(`${error.stack ?? ''}\n`);
  }
}
