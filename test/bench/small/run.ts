/**
 * What small transactions take on the bus, and cost: the same steady load of busy tenants with `[cdc] compression = "auto"`, which stores small blocks by profiles
 * of their tenants, and with "zstd". Drover against Drover. Bytes are those of the streams, with subjects, headers and JetStream's own.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bus, connectBus, PROFILE_TOKEN, streamName, streamState, subjectOf } from '@drover/bus';
import { clusterId, sleep, until } from '@drover/core';
import { mustBeEqual } from '../data/equality.ts';
import { untilMarked } from '../data/measure.ts';
import { type BenchContext, type BenchResult, onAbort } from '../data/run.ts';
import { MARK, MARKER } from '../data/tables.ts';
import { type ReplicationWorld, startReplicationWorld } from '../data/world.ts';
import { LIVE_SCHEMA, LIVE_TABLES, liveScript, ROWS_EACH } from '../latency/tables.ts';
import { CpuMeter } from '../lib/cpu.ts';
import { runPgbench } from '../lib/pgbench.ts';
import { summarize } from '../lib/report.ts';
import { SUPER_PASSWORD } from '../lib/servers.ts';

const EAST = clusterId('east');
/** The default of `[nats] partitions`. */
const PARTITIONS = 4;
const BUSY = 8;
const RATE = 400;
/** To learn of all of them: one after the other, with rests between. */
const LEARN_S = 120;
const WARM_UP_S = 5;
const PEER_NAME = 'zstd';

interface Measured {
  readonly bytesPerRow: number;
  readonly cpuPerRow: number;
  readonly profileBytes: number;
}

export async function benchSmall(context: BenchContext): Promise<BenchResult> {
  const { rounds, seconds } = context.options;
  const found: Record<'auto' | 'zstd', Measured[]> = { auto: [], zstd: [] };
  for (let round = 0; round < rounds; round++)
    for (const compression of ['auto', 'zstd'] as const)
      found[compression].push(await measure(compression, context));
  const of = (metric: string, unit: string, value: (one: Measured) => number) =>
    summarize({
      case: 'small_transactions',
      metric,
      unit,
      peerName: PEER_NAME,
      drover: found.auto.map(value),
      peer: found.zstd.map(value),
    });
  return {
    cases: [
      of('bus_bytes_per_row', 'B', ({ bytesPerRow }) => bytesPerRow),
      of('cpu_s_per_m_rows', 's', ({ cpuPerRow }) => cpuPerRow * 1e6),
    ],
    settings: { rounds, seconds, tenants: BUSY, transactionsPerSecond: RATE, rowsPerTransaction: ROWS_EACH },
    notes: [
      `profiles took ${found.auto.map(({ profileBytes }) => profileBytes).join(', ')} bytes of the streams`,
    ],
  };
}

async function measure(compression: 'auto' | 'zstd', context: BenchContext): Promise<Measured> {
  const { options, signal, say } = context;
  const world = await startReplicationWorld({
    schema: `${MARKER}\n${LIVE_SCHEMA}`,
    tables: ['marker', ...LIVE_TABLES],
    profileTo: options.profileTo,
    sections: { cdc: { compression } },
    say,
  });
  const stop = onAbort(signal, () => world.close());
  const bus = await connectBus({ url: world.natsUrl, name: 'bench' });
  try {
    await world.drover.start(signal);
    const script = join(world.folder, 'small.sql');
    writeFileSync(script, liveScript(BUSY));
    const ending = new AbortController();
    const load = runPgbench({
      args: `-n -f ${script} -R ${RATE} -T 3600 -c 4 -j 1 -M prepared`.split(' '),
      connection: {
        port: world.sourcePort,
        user: 'postgres',
        password: SUPER_PASSWORD,
        database: world.database,
      },
      signal: AbortSignal.any([signal, ending.signal]),
    }).catch(() => undefined); // it is ended by us
    if (compression === 'auto') await untilLearnt(bus, signal);
    else await elapse(WARM_UP_S, signal);
    const meter = new CpuMeter(await world.drover.processes());
    const before = { ...(await held(bus)), rows: await rowsWritten(world) };
    const seconds = await elapse(options.seconds, signal);
    meter.sample(await world.drover.processes());
    const after = { ...(await held(bus)), rows: await rowsWritten(world) };
    ending.abort();
    await load;
    await world.source.query(MARK, [1]);
    await untilMarked(world.drover, 1, signal);
    await mustBeEqual(world.source, [world.drover], LIVE_TABLES);
    const rows = after.rows - before.rows;
    const bytesPerRow = (after.bytes - before.bytes) / rows;
    say(
      `${compression}: ${bytesPerRow.toFixed(0)} B a row in ${((after.messages - before.messages) / rows).toFixed(2)} messages, ` +
        `${((meter.total * 1e6) / rows).toFixed(0)} CPU s/M rows at ${(rows / seconds).toFixed(0)} rows/s`,
    );
    return { bytesPerRow, cpuPerRow: meter.total / rows, profileBytes: await profileBytes(bus) };
  } finally {
    stop();
    await bus.close();
    await world.close();
  }
}

async function elapse(seconds: number, signal: AbortSignal): Promise<number> {
  const began = performance.now();
  if (!(await sleep(seconds * 1000, signal))) throw signal.reason;
  return (performance.now() - began) / 1000;
}

async function held(bus: Bus): Promise<{ bytes: number; messages: number }> {
  let bytes = 0;
  let messages = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const state = await streamState(bus, EAST, partition);
    bytes += state?.bytes ?? 0;
    messages += state?.messages ?? 0;
  }
  return { bytes, messages };
}

/** By subject. */
async function profiles(bus: Bus): Promise<number> {
  let count = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const subjects_filter = subjectOf(EAST, partition, PROFILE_TOKEN);
    const { state } = await bus.jsm.streams.info(streamName(EAST, partition), { subjects_filter });
    count += Object.values(state.subjects ?? {}).reduce((sum, n) => sum + n, 0);
  }
  return count;
}

async function profileBytes(bus: Bus): Promise<number> {
  let bytes = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const last = await bus.jsm.streams
      .getMessage(streamName(EAST, partition), { last_by_subj: subjectOf(EAST, partition, PROFILE_TOKEN) })
      .catch(() => null);
    bytes += last?.data.length ?? 0;
  }
  return bytes;
}

async function untilLearnt(bus: Bus, signal: AbortSignal): Promise<void> {
  await until(async () => ((await profiles(bus)) >= BUSY ? true : undefined), {
    everyMs: 200,
    timeoutMs: LEARN_S * 1000,
    signal,
    onTimeout: () => new Error(`not all tenants had a profile within ${LEARN_S} s`),
  });
}

async function rowsWritten(world: ReplicationWorld): Promise<number> {
  const { rows } = await world.source.query<{ value: string }>('SELECT last_value AS value FROM live_id');
  return Number(rows[0]?.value) * ROWS_EACH;
}
