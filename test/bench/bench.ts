/** Runs the benchmarks one after the other, prints their tables and writes their files. */
import { join } from 'node:path';
import { describeError } from '@drover/core';
import { benchCodecs } from './codecs/run.ts';
import { benchCompression } from './compression/run.ts';
import { type BenchContext, type BenchResult, benchData } from './data/run.ts';
import { benchFairness } from './fairness/run.ts';
import { benchHuge } from './huge/run.ts';
import { benchLatency } from './latency/run.ts';
import { type BenchName, HELP, parseFlags } from './lib/args.ts';
import { describeMachine } from './lib/machine.ts';
import { renderTable, writeReport } from './lib/report.ts';
import { benchProxy } from './proxy/run.ts';
import { benchConnections } from './scale/connections.ts';
import { benchTenants } from './scale/tenants.ts';
import { benchSealing } from './sealing/run.ts';
import { benchSmall } from './small/run.ts';

const BENCH: Readonly<Record<BenchName, (context: BenchContext) => Promise<BenchResult>>> = {
  data: benchData,
  latency: benchLatency,
  huge: benchHuge,
  tenants: benchTenants,
  connections: benchConnections,
  proxy: benchProxy,
  compression: benchCompression,
  codecs: benchCodecs,
  sealing: benchSealing,
  fairness: benchFairness,
  small: benchSmall,
};

/** @returns the exit code: 0; 1 when something failed or a replica was not equal; 130 after Ctrl-C. */
export async function bench(args: readonly string[]): Promise<number> {
  const stop = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(130); // the watchdog ends what is left
    process.stderr.write('stopping; once more to stop at once\n');
    stop.abort(new Error('stopped'));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    const options = parseFlags(args);
    if (options.help) {
      process.stdout.write(HELP);
      return 0;
    }
    const began = performance.now();
    const say = (line: string): void => {
      const seconds = Math.round((performance.now() - began) / 1000);
      process.stdout.write(`[${String(seconds).padStart(4)} s] ${line}\n`);
    };
    const machine = await describeMachine();
    say(
      `${machine.cores} × ${machine.cpu}, ${machine.memoryGb} GB, Linux ${machine.kernel}, node ${machine.node}, PostgreSQL ${machine.postgres}, nats-server ${machine.nats}`,
    );
    const folder = options.out ?? join(import.meta.dirname, 'out');
    for (const name of options.benches) {
      const { cases, settings, notes, table } = await BENCH[name]({ options, signal: stop.signal, say });
      const file = { name, machine, at: new Date().toISOString(), settings, notes, cases };
      const path = writeReport(folder, file);
      const comments = notes.map((note) => `note: ${note}\n`).join('');
      process.stdout.write(`\n${name}\n\n${table ?? renderTable(cases)}\n${comments}\n${path}\n\n`);
    }
    return 0;
  } catch (error) {
    if (stop.signal.aborted) return 130;
    process.stderr.write(`${describeError(error)}\n${factsOf(error)}`);
    return 1;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

function factsOf(error: unknown): string {
  const facts = (error as { facts?: unknown }).facts;
  const stack = process.env['DROVER_DEBUG'] === undefined ? '' : `${(error as Error).stack}\n`;
  return `${facts === undefined ? '' : `${JSON.stringify(facts)}\n`}${stack}`;
}
