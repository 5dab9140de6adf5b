/** Catch-up of Drover and of PostgreSQL's own logical replication on the same WAL, in turns. */
import type pg from 'pg';
import { type CaseName, type Options, readerSections } from '../lib/args.ts';
import { type BenchCase, summarize } from '../lib/report.ts';
import { mustBeEqual } from './equality.ts';
import { type CatchUp, catchUp } from './measure.ts';
import type { Peer } from './peer.ts';
import { CASE_SQL, type CaseSql, createTable, fill, loadProcedure, MARK, MARKER } from './tables.ts';
import { type ReplicationWorld, startReplicationWorld } from './world.ts';

export interface BenchContext {
  readonly options: Options;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface BenchResult {
  readonly cases: readonly BenchCase[];
  readonly settings: Readonly<Record<string, unknown>>;
  readonly notes: readonly string[];
  /** Printed instead of the cases. */
  readonly table?: string;
}

export const PEER_NAME = 'PostgreSQL logical replication';

/** CPU by process of each round, for whoever wants to know where it goes. */
type Breakdown = Record<string, { drover: CatchUp['cpuBy'][]; native: CatchUp['cpuBy'][] }>;

export async function benchData(context: BenchContext): Promise<BenchResult> {
  const { options, signal, say } = context;
  const wanted = CASE_SQL.filter(({ name }) => options.cases.includes(name));
  const schema = wanted.map((it) => {
    const count = it.preload(options.rows, options.rounds);
    return `${createTable(it.name)}\n${count === 0 ? '' : fill(it.name, count)}\n${loadProcedure(it)}`;
  });
  const world = await startReplicationWorld({
    schema: `${MARKER}\n${schema.join('\n')}`,
    tables: ['marker', ...wanted.map(({ name }) => name)],
    profileTo: options.profileTo,
    sections: readerSections(options),
    say,
  });
  const stop = onAbort(signal, () => world.close());
  try {
    await oneRound(world, null, { round: -1, order: [world.drover, world.native], context });
    const cases: BenchCase[] = [];
    const breakdown: Breakdown = {};
    for (const it of wanted) {
      cases.push(...(await benchCase(world, it, context, breakdown)));
    }
    return {
      cases,
      settings: { rows: options.rows, rounds: options.rounds, cpuSecondsByProcess: breakdown },
      notes: [],
    };
  } finally {
    stop();
    await world.close();
  }
}

async function benchCase(
  world: ReplicationWorld,
  it: CaseSql,
  context: BenchContext,
  breakdown: Breakdown,
): Promise<BenchCase[]> {
  const { drover, native } = world;
  const { rounds, rows } = context.options;
  const found: { drover: CatchUp[]; native: CatchUp[] } = { drover: [], native: [] };
  for (let round = 0; round < rounds; round++) {
    // Each is the first as often as the second: the first finds the load's WAL fresher in the page cache.
    const order = round % 2 === 0 ? [drover, native] : [native, drover];
    const both = await oneRound(world, it, { round, order, context });
    for (const name of ['drover', 'native'] as const) {
      const one = both[name];
      if (one !== undefined) found[name].push(one);
    }
  }
  await mustBeEqual(world.source, [drover, native], [it.name]);
  breakdown[it.name] = {
    drover: found.drover.map(({ cpuBy }) => cpuBy),
    native: found.native.map(({ cpuBy }) => cpuBy),
  };
  const of = (metric: string, unit: string, value: (one: CatchUp) => number): BenchCase =>
    summarize({
      case: it.name,
      metric,
      unit,
      peerName: PEER_NAME,
      drover: found.drover.map(value),
      peer: found.native.map(value),
    });
  return [
    of('rows_per_s', 'rows/s', (one) => rows / one.seconds),
    of('cpu_s_per_m_rows', 's', (one) => (one.cpuSeconds * 1e6) / rows),
  ];
}

interface Round {
  readonly round: number;
  readonly order: readonly Peer[];
  readonly context: BenchContext;
}

/** Writes the load while both are stopped, then lets one after the other catch up. Without a case: the markers alone. */
export async function oneRound(
  world: ReplicationWorld,
  it: CaseSql | null,
  { round, order, context }: Round,
): Promise<Partial<Record<Peer['name'], CatchUp>>> {
  const { source } = world;
  const { options, signal, say } = context;
  const name = it?.name ?? 'warm-up';
  const mark = ++marks;
  await source.query('SET synchronous_commit = off');
  if (it !== null) {
    const preload = it.preload(options.rows, options.rounds);
    await source.query(`CALL load_${it.name}(${round}, ${options.rows}, ${preload})`);
  }
  await source.query(MARK, [mark]);
  await tidy([source, ...order.map((peer) => peer.replica)], it?.name);
  // A checkpoint notes which transactions run: slots that are here begin there when they are read again, not at this round's beginning.
  const { rows: ends } = await source.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn() AS lsn');
  const end = ends[0]?.lsn ?? '';
  const found: Partial<Record<Peer['name'], CatchUp>> = {};
  for (const peer of order) {
    const one = await catchUp(peer, { mark, end }, signal);
    found[peer.name] = one;
    if (it === null) continue;
    const rate = Math.round(options.rows / one.seconds).toLocaleString('en');
    const cpu = ((one.cpuSeconds * 1e6) / options.rows).toFixed(1);
    const parts = Object.entries(one.cpuBy).map(
      ([part, s]) => `${part} ${((s * 1e6) / options.rows).toFixed(1)}`,
    );
    const table = await tableAt(peer.replica, it.name);
    say(
      `${name} ${round + 1}/${options.rounds} ${peer.name.padEnd(6)} ${rate} rows/s, ${cpu} CPU s/M rows (${parts.join(', ')})${table}`,
    );
  }
  return found;
}

/** How large the table has become, and how many of its updates found room on their page, over all rounds. */
async function tableAt(replica: pg.Client, table: CaseName): Promise<string> {
  const { rows } = await replica.query<{ mb: number; updates: number; hot: number }>(
    `SELECT (pg_relation_size(relid) / 1e6)::int AS mb, n_tup_upd::int AS updates, n_tup_hot_upd::int AS hot
     FROM pg_stat_user_tables WHERE relname = $1`,
    [table],
  );
  const [found] = rows;
  if (found === undefined || found.updates === 0) return '';
  return `; table ${found.mb} MB, ${Math.round((100 * found.hot) / found.updates)} % of updates HOT`;
}

/** Each round has a mark of its own. */
let marks = 0;

/** What autovacuum and the checkpointer would do at a time of their own. */
async function tidy(clients: readonly pg.Client[], table: CaseName | undefined): Promise<void> {
  await Promise.all(
    clients.map(async (client) => {
      await client.query(`VACUUM (ANALYZE) ${table === undefined ? 'marker' : `marker, "${table}"`}`);
      await client.query('CHECKPOINT');
    }),
  );
}

/** Ending the servers ends statements that would not look at a signal. @returns what forgets about it */
export function onAbort(signal: AbortSignal, act: () => Promise<void>): () => void {
  const listener = (): void => {
    act().catch(() => undefined); // the caller closes again and hears of it
  };
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}
