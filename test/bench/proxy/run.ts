/** Drover's proxy beside PgBouncer: pgbench through one, then through the other, to the same server with as many connections. */
import { type BenchContext, type BenchResult, onAbort } from '../data/run.ts';
import { summarize } from '../lib/report.ts';
import { measure, type Run } from './measure.ts';
import { WORKLOADS } from './workloads.ts';
import { type Door, POOL_SIZE, startProxyWorld } from './world.ts';

export async function benchProxy(context: BenchContext): Promise<BenchResult> {
  const { options, signal, say } = context;
  const world = await startProxyWorld({ profileTo: options.profileTo, signal, say });
  const stop = onAbort(signal, () => world.close());
  try {
    const peerName = `PgBouncer ${world.pgbouncerVersion}`;
    const workloads = WORKLOADS.filter(({ protocol }) => protocol !== 'prepared' || world.prepares);
    const cases: BenchResult['cases'][number][] = [];
    for (const workload of workloads) {
      const found: Record<Door['name'], Run[]> = { drover: [], pgbouncer: [] };
      for (let round = 0; round < options.rounds; round++) {
        const doors = [world.drover, world.pgbouncer];
        for (const door of round % 2 === 0 ? doors : doors.toReversed()) {
          const { folder } = world;
          const one = await measure({ folder, door, workload, seconds: options.seconds, signal });
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
    const notes = [
      `${peerName} keeps connections of its own for each tenant, because it cannot change the tenant of one; Drover shares ${POOL_SIZE} among all`,
      ...(world.prepares
        ? []
        : [`${peerName} cannot prepare in transaction mode (1.21 and newer can): no prepared cases`]),
    ];
    const { seconds, rounds } = options;
    return { cases, settings: { seconds, rounds, poolSize: POOL_SIZE }, notes };
  } finally {
    stop();
    await world.close();
  }
}
