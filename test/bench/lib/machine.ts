/** The machine a benchmark ran on: without it its figures mean nothing. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { findNatsServer, findPostgres } from '@drover/local';

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly node: string;
  readonly postgres: string;
  readonly nats: string;
  /** Load average of one minute before the benchmark began: others on the machine are noise. */
  readonly loadBefore: number;
}

export async function describeMachine(): Promise<Machine> {
  const [postgres, nats] = await Promise.all([findPostgres(18), findNatsServer()]);
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    postgres: postgres.version,
    nats: nats.version,
    loadBefore: Number(readFileSync('/proc/loadavg', 'latin1').split(' ')[0]),
  };
}
