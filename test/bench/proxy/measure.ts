/** One measurement: a workload through one front door, a pgbench for each tenant, all at the same time. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CpuMeter, processTree } from '../lib/cpu.ts';
import { type PgbenchResult, parseLog, runPgbench } from '../lib/pgbench.ts';
import { percentile } from '../lib/stats.ts';
import { pgbenchArgs, SELECT_SCRIPT, type Workload } from './workloads.ts';
import type { Door } from './world.ts';

export interface Run {
  readonly tps: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** CPU seconds of the pooler for 100,000 transactions. */
  readonly cpuPer100k: number;
}

/** @throws when a transaction failed */
export async function measure(input: {
  readonly folder: string;
  readonly door: Door;
  readonly workload: Workload;
  readonly seconds: number;
  readonly signal: AbortSignal;
}): Promise<Run> {
  const { door, workload, seconds, signal } = input;
  const folder = mkdtempSync(join(input.folder, 'measure-'));
  const selectFile = join(folder, 'select.sql');
  writeFileSync(selectFile, SELECT_SCRIPT);
  const bench = (more: (tenant: number) => readonly string[]): Promise<PgbenchResult[]> =>
    Promise.all(
      Array.from({ length: workload.tenants }, (_, i) => {
        const args = [...pgbenchArgs(workload, i + 1, selectFile), ...more(i + 1)];
        return runPgbench({ args, connection: door.connection(i + 1, workload.tenants), signal });
      }),
    );
  try {
    // Connections of the pool and what is compiled while it runs.
    await bench(() => ['-T', '1']);
    const meter = new CpuMeter({ pooler: processTree(door.pid) });
    const results = await bench((tenant) => [
      ...['-T', String(seconds)],
      ...['-l', '--log-prefix', join(folder, `log-${tenant}`)],
    ]);
    meter.sample({ pooler: processTree(door.pid) });
    const sum = (of: (result: PgbenchResult) => number): number =>
      results.reduce((all, one) => all + of(one), 0);
    const failed = sum((one) => one.failed);
    if (failed > 0) throw new Error(`${door.name}: ${failed} transactions failed`);
    const latencies = readdirSync(folder)
      .filter((name) => name.startsWith('log-'))
      .flatMap((name) => parseLog(readFileSync(join(folder, name), 'latin1')));
    return {
      tps: sum((one) => one.tps),
      p50: percentile(latencies, 50),
      p99: percentile(latencies, 99),
      cpuPer100k: (meter.total * 100_000) / sum((one) => one.transactions),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
