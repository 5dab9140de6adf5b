/** The command line, as an operator and as a program use it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

export const ENTRY = join(import.meta.dirname, '../../services/cli/src/main.ts');

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command as an operator does; never throws for an exit code. */
export function runDrover(...args: string[]): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(process.execPath, [ENTRY, ...args], { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}

/** What a verb said on stderr with --json: the last line that is an object with `error`. */
export function errorOf(answer: Answer): { error: string; message: string; hint?: string } {
  const lines = answer.stderr.split('\n').filter((line) => line.startsWith('{"error"'));
  return JSON.parse(lines.at(-1) ?? '{"error":"","message":""}') as ReturnType<typeof errorOf>;
}
