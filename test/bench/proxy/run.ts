/** Drover's proxy beside PgBouncer: pgbench through one, then through the other, to the same backend with pools of the same size. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type BenchContext, type BenchResult, onAbort } from '../data/run.ts';
import { CpuMeter, processTree } from '../lib/cpu.ts';
import { parseLog, runPgbench } from '../lib/pgbench.ts';
import { summarize } from '../lib/report.ts';
import { percentile } from '../lib/stats.ts';
import { type Door, POOL_SIZE, type ProxyWorld, startProxyWorld } from './world.ts';

/** Many more clients than backends, and one alone for the time a pooler adds. */
const CLIENTS = [32, 1] as const;
const SCRIPTS = { select: '-S', update: '-N' } as const;
const PROTOCOLS = ['simple', 'extended', 'prepared'] as const;

interface Workload {
  readonly name: string;
  readonly args: readonly string[];
  readonly protocol: (typeof PROTOCOLS)[number];
}

/** pgbench prepares with a blocking call: with a thread for each client none of them can wait for another's backend. */
const WORKLOADS: readonly Workload[] = CLIENTS.flatMap((clients) =>
  Object.entries(SCRIPTS).flatMap(([script, flag]) =>
    PROTOCOLS.map((protocol) => ({
      name: `${script}_${protocol}_${clients}`,
      args: [flag, '-M', protocol, '-c', String(clients), '-j', String(clients)],
      protocol,
    })),
  ),
).filter(({ name }) => !/^update_.*_1$/.test(name));

interface Run {
  readonly tps: number;
  readonly p50: number;
  readonly p99: number;
  readonly cpuPer100k: number;
}

export async function benchProxy(context: BenchContext): Promise<BenchResult> {
  const { options, signal, say } = context;
  const world = await startProxyWorld({ profileTo: options.profileTo, signal, say });
  const stop = onAbort(signal, () => world.close());
  try {
    const peerName = `PgBouncer ${world.pgbouncerVersion}`;
    const skipped = WORKLOADS.filter(({ protocol }) => protocol === 'prepared' && !world.prepares);
    const workloads = WORKLOADS.filter((it) => !skipped.includes(it));
    const cases: BenchResult['cases'][number][] = [];
    for (const workload of workloads) {
      const found: Record<Door['name'], Run[]> = { drover: [], pgbouncer: [] };
      for (let round = 0; round < options.rounds; round++) {
        const doors = [world.drover, world.pgbouncer];
        for (const door of round % 2 === 0 ? doors : doors.toReversed()) {
          const one = await measure(world, door, workload, context);
          found[door.name].push(one);
          say(
            `${workload.name} ${round + 1}/${options.rounds} ${door.name.padEnd(9)} ${one.tps.toFixed(0)} tps, p50 ${one.p50.toFixed(2)} ms, ` +
              `p99 ${one.p99.toFixed(2)} ms, ${one.cpuPer100k.toFixed(2)} CPU s/100k`,
          );
        }
      }
      const of = (metric: string, unit: string, value: (run: Run) => number) =>
        summarize({
          case: workload.name,
          metric,
          unit,
          peerName,
          drover: found.drover.map(value),
          peer: found.pgbouncer.map(value),
        });
      cases.push(
        of('tps', 'tx/s', (run) => run.tps),
        of('latency_p50', 'ms', (run) => run.p50),
        of('latency_p99', 'ms', (run) => run.p99),
        of('cpu_s_per_100k_tx', 's', (run) => run.cpuPer100k),
      );
    }
    const notes =
      skipped.length === 0
        ? []
        : [`${peerName} cannot prepare in transaction mode (1.21 and newer can): no prepared cases`];
    const { seconds, rounds } = options;
    return { cases, settings: { seconds, rounds, poolSize: POOL_SIZE, scale: 1 }, notes };
  } finally {
    stop();
    await world.close();
  }
}

async function measure(
  world: ProxyWorld,
  door: Door,
  workload: Workload,
  context: BenchContext,
): Promise<Run> {
  const { signal, options } = context;
  const { connection } = door;
  // Connections of the pool and what is compiled while it runs.
  await runPgbench({ args: [...workload.args, '-n', '-T', '1'], connection, signal });
  const logs = mkdtempSync(join(world.folder, 'latency-'));
  try {
    const meter = new CpuMeter({ pooler: processTree(door.pid) });
    const args = [
      ...workload.args,
      '-n',
      '-T',
      String(options.seconds),
      '-l',
      '--log-prefix',
      join(logs, 'log'),
    ];
    const { tps, transactions, failed } = await runPgbench({ args, connection, signal });
    meter.sample({ pooler: processTree(door.pid) });
    if (failed > 0) throw new Error(`${door.name}: ${failed} transactions failed`);
    const latencies = readdirSync(logs).flatMap((name) => parseLog(readFileSync(join(logs, name), 'latin1')));
    return {
      tps,
      p50: percentile(latencies, 50),
      p99: percentile(latencies, 99),
      cpuPer100k: (meter.total * 100_000) / transactions,
    };
  } finally {
    rmSync(logs, { recursive: true, force: true });
  }
}
