/** Commit-to-visible latency under a steady load, Drover and PostgreSQL's own logical replication in turns. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '@drover/core';
import type pg from 'pg';
import { mustBeEqual } from '../data/equality.ts';
import { untilMarked } from '../data/measure.ts';
import type { Peer } from '../data/peer.ts';
import { type BenchContext, type BenchResult, onAbort, PEER_NAME } from '../data/run.ts';
import { MARK, MARKER, TENANTS } from '../data/tables.ts';
import { type ReplicationWorld, startReplicationWorld } from '../data/world.ts';
import { CpuMeter } from '../lib/cpu.ts';
import { runPgbench } from '../lib/pgbench.ts';
import { summarize } from '../lib/report.ts';
import { SUPER_PASSWORD } from '../lib/servers.ts';
import { percentile } from '../lib/stats.ts';
import { probe } from './probe.ts';
import { LIVE_SCHEMA, LIVE_TABLES, liveScript, REPLICA_SCHEMA, ROWS_EACH } from './tables.ts';

/** The load runs alone for this long before probes count: a reader in JavaScript is compiled while it runs. */
const WARM_UP_S = 3;
const CLIENTS = 8;

interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly cpuSeconds: number;
  readonly cpuBy: Readonly<Record<string, number>>;
  readonly rows: number;
  readonly tps: number;
}

interface Replica {
  readonly peer: Peer;
  readonly listener: pg.Client;
}

export async function benchLatency(context: BenchContext): Promise<BenchResult> {
  const { options, signal, say } = context;
  const world = await startReplicationWorld({
    schema: `${MARKER}\n${LIVE_SCHEMA}`,
    replicaSchema: REPLICA_SCHEMA,
    tables: ['marker', ...LIVE_TABLES],
    profileTo: options.profileTo,
    say,
  });
  const stop = onAbort(signal, () => world.close());
  try {
    const replicas: Replica[] = [
      { peer: world.drover, listener: await world.connect('west') },
      { peer: world.native, listener: await world.connect('north') },
    ];
    const script = join(world.folder, 'live.sql');
    writeFileSync(script, liveScript(TENANTS));
    const cases: BenchResult['cases'][number][] = [];
    const achieved: Record<string, number[]> = {};
    for (const rate of options.rates) {
      const found: Record<Peer['name'], Latency[]> = { drover: [], native: [] };
      for (let round = 0; round < options.rounds; round++) {
        for (const replica of round % 2 === 0 ? replicas : replicas.toReversed()) {
          const one = await measure(world, replica, { rate, script, context });
          found[replica.peer.name].push(one);
          say(
            `${rate}/s ${round + 1}/${options.rounds} ${replica.peer.name.padEnd(6)} p50 ${one.p50.toFixed(1)} ms, p99 ${one.p99.toFixed(1)} ms, ` +
              `${((one.cpuSeconds * 1e6) / one.rows).toFixed(0)} CPU s/M rows (${partsOf(one)}) at ${one.tps.toFixed(0)} transactions/s`,
          );
        }
      }
      const of = (metric: string, unit: string, value: (one: Latency) => number) =>
        summarize({
          case: `${rate}_tps`,
          metric,
          unit,
          peerName: PEER_NAME,
          drover: found.drover.map(value),
          peer: found.native.map(value),
        });
      cases.push(
        of('latency_p50', 'ms', (one) => one.p50),
        of('latency_p99', 'ms', (one) => one.p99),
        of('cpu_s_per_m_rows', 's', (one) => (one.cpuSeconds * 1e6) / one.rows),
      );
      achieved[`${rate}_tps`] = [...found.drover, ...found.native].map(({ tps }) => Math.round(tps));
    }
    await settle(world, replicas, signal);
    const { seconds, rounds } = options;
    return {
      cases,
      settings: { seconds, rounds, rowsPerTransaction: ROWS_EACH, achievedTps: achieved },
      notes: [],
    };
  } finally {
    stop();
    await world.close();
  }
}

interface Measurement {
  readonly rate: number;
  readonly script: string;
  readonly context: BenchContext;
}

async function measure(
  world: ReplicationWorld,
  replica: Replica,
  { rate, script, context }: Measurement,
): Promise<Latency> {
  const { peer, listener } = replica;
  const { signal, options } = context;
  const { seconds } = options;
  await peer.start(signal);
  try {
    await caughtUp(world, peer, signal); // what was written while the other one worked
    const load = runPgbench({
      args: [
        '-n',
        '-f',
        script,
        '-R',
        String(rate),
        '-T',
        String(WARM_UP_S + seconds),
        '-c',
        String(CLIENTS),
        '-j',
        '1',
        '-M',
        'prepared',
      ],
      connection: {
        port: world.sourcePort,
        user: 'postgres',
        password: SUPER_PASSWORD,
        database: world.database,
      },
      signal,
    });
    load.catch(() => undefined); // awaited below
    if (!(await sleep(WARM_UP_S * 1000, signal))) throw signal.reason;
    const meter = new CpuMeter(await peer.processes());
    const from = await rowsWritten(world.source);
    const probes = await probe({
      source: world.source,
      replica: listener,
      tenantOf: (id) => (id * 37) % TENANTS, // a stride that visits every partition
      enough: (since) => since >= seconds - 0.5,
      signal,
    });
    const latencies = probes.map(({ ms }) => ms);
    meter.sample(await peer.processes());
    const rows = (await rowsWritten(world.source)) - from;
    const { tps } = await load;
    return {
      p50: percentile(latencies, 50),
      p99: percentile(latencies, 99),
      cpuSeconds: meter.total,
      cpuBy: meter.seconds,
      rows,
      tps,
    };
  } finally {
    await peer.stop();
  }
}

async function rowsWritten(source: pg.Client): Promise<number> {
  const { rows } = await source.query<{ value: string }>('SELECT last_value AS value FROM live_id');
  return Number(rows[0]?.value) * ROWS_EACH;
}

let marks = 0;

async function caughtUp(world: ReplicationWorld, peer: Peer, signal: AbortSignal): Promise<void> {
  await world.source.query(MARK, [++marks]);
  await untilMarked(peer, marks, signal);
}

async function settle(
  world: ReplicationWorld,
  replicas: readonly Replica[],
  signal: AbortSignal,
): Promise<void> {
  for (const { peer } of replicas) {
    await peer.start(signal);
    await caughtUp(world, peer, signal);
    await peer.stop();
  }
  await mustBeEqual(world.source, [world.drover, world.native], LIVE_TABLES);
}

/** Percent of one core, by process. */
function partsOf({ cpuBy, rows, tps }: Latency): string {
  const seconds = rows / ROWS_EACH / tps;
  return Object.entries(cpuBy)
    .map(([part, cpu]) => `${part} ${((cpu * 100) / seconds).toFixed(0)} %`)
    .join(', ');
}
