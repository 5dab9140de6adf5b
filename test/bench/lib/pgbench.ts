/** pgbench as a child process: the load of the latency benchmark, and the clients of the proxy's. */
import { spawn } from 'node:child_process';
import { must } from '@drover/core';
import { findTool } from '@drover/local';
import { watchProcess } from '@drover/testkit';

export interface PgbenchRun {
  readonly args: readonly string[];
  readonly connection: {
    readonly port: number;
    readonly user: string;
    readonly password: string;
    readonly database: string;
  };
  readonly signal: AbortSignal;
}

export interface PgbenchResult {
  readonly tps: number;
  readonly transactions: number;
  readonly failed: number;
}

/** What pgbench prints at its end. Pure. @throws when it is something else */
export function parsePgbench(output: string): PgbenchResult {
  const number = (pattern: RegExp): number | null => {
    const found = pattern.exec(output)?.[1];
    return found === undefined ? null : Number(found);
  };
  const tps = number(/^tps = ([\d.]+)/m);
  const transactions = number(/^number of transactions actually processed: (\d+)/m);
  if (tps === null || transactions === null) throw new Error(`pgbench said: ${output.trim().slice(-500)}`);
  return { tps, transactions, failed: number(/^number of failed transactions: (\d+)/m) ?? 0 };
}

/** Latencies in milliseconds from the files `-l` writes: the third column is microseconds (pgbench manual). Pure. */
export function parseLog(text: string): number[] {
  const latencies: number[] = [];
  for (const line of text.split('\n')) {
    const us = Number(line.split(' ')[2]);
    if (line !== '' && Number.isFinite(us)) latencies.push(us / 1000);
  }
  return latencies;
}

/** @throws with what pgbench said when it fails or a client of it was thrown out */
export async function runPgbench(run: PgbenchRun): Promise<PgbenchResult> {
  return parsePgbench(await pgbench(run));
}

/** Until it ends by itself. @returns what it said */
export async function pgbench({ args, connection, signal }: PgbenchRun): Promise<string> {
  const tool = await findTool('pgbench');
  const { port, user, password, database } = connection;
  const child = spawn(tool.path, ['-h', '127.0.0.1', '-p', String(port), '-U', user, ...args, database], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...tool.env, PGPASSWORD: password, PGSSLMODE: 'disable', PGOPTIONS: '' },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null));
    child.once('close', resolve);
  });
  watchProcess(must(child.pid, 'process of pgbench'), ended);
  const stop = (): boolean => child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  try {
    const code = await ended;
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`pgbench ended with ${code}: ${output.trim().slice(-800)}`);
    return output;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
