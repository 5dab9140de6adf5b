/** What the tenants of the fairness benchmark write: eight of them, two to a partition, at a steady rate; and what one of them does besides. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { rowOf } from '../data/tables.ts';
import type { ReplicationWorld } from '../data/world.ts';
import { LIVE_SCHEMA } from '../latency/tables.ts';
import { runPgbench } from '../lib/pgbench.ts';
import { SUPER_PASSWORD } from '../lib/servers.ts';

/** Numbers 0 to 7 are two tenants of each of four partitions: 1 and 5, 2 and 6, 3 and 7, 0 and 4. */
export const TENANT_COUNT = 8;
export const BUSY = 1;
/** It shares the partition with the busy one. */
export const NEIGHBOUR = 5;
/** Transactions a second of each tenant: an update by key and an insert. */
export const RATE_EACH = 25;
/** What the busy tenant writes, as a multiple of what each of the others does. */
export const BUSY_TIMES = 10;
/** Rows a tenant has when the load begins. */
export const KEYS = 100;

/**
 * `busy`: one writes ten times as much. `flood`: one writes as fast as it can, 200 rows a transaction. `big`: one large transaction, as fast as it
 * can. `long`: one that writes {@link LONG_RATE} rows a second, so that nobody's time is used up. Those that begin with
 * `unseen` do the same in another database of the source, which nobody replicates: what the source's own work costs the others.
 */
export type Phase = 'alone' | 'busy' | `${'unseen-' | ''}${'flood' | 'long' | 'big'}`;

/** Is the load one transaction? */
export const isLarge = (phase: Phase): boolean => phase.endsWith('big') || phase.endsWith('long');

/** Next to the captured one. */
const UNSEEN = 'unseen';

const FLOOD_ROWS = 200;
/** Of the transaction of `long`; a tenth of the rows of `big`, and so many a second. */
const LONG_RATE = 20_000;
const LONG_TIMES_A_SECOND = 50;

export async function prepareUnseen(world: ReplicationWorld): Promise<void> {
  await world.source.query(`CREATE DATABASE ${UNSEEN}`);
  const client = await connectUnseen(world);
  await client.query(`${LIVE_SCHEMA}\n${FLOOD}`);
  await client.end();
}

/** In both databases of the source. */
export const FLOOD = `CREATE FUNCTION flood_transaction() RETURNS void LANGUAGE sql AS $$
  INSERT INTO live SELECT ${rowOf('n.i', String(BUSY))} FROM (SELECT nextval('live_id') AS i FROM generate_series(1, ${FLOOD_ROWS})) n $$;`;

/** What is written in the phase. Ends after `seconds`. */
export async function runLoad(
  world: ReplicationWorld,
  phase: Phase,
  seconds: number,
  signal: AbortSignal,
): Promise<void> {
  const all = transactions(`random(0, ${TENANT_COUNT - 1})`);
  const runs = [pgbenchOf(world, world.database, all, ['-R', String(RATE_EACH * TENANT_COUNT), '-c', '4'])];
  if (phase === 'busy') {
    const rate = ['-R', String(RATE_EACH * (BUSY_TIMES - 1)), '-c', '4'];
    runs.push(pgbenchOf(world, world.database, transactions(String(BUSY)), rate));
  } else if (phase.endsWith('flood')) {
    const database = phase === 'flood' ? world.database : UNSEEN;
    runs.push(pgbenchOf(world, database, 'SELECT flood_transaction();\n', ['-c', '1']));
  }
  await Promise.all(runs.map((run) => run(seconds, signal)));
}

const transactions = (tenant: string): string =>
  `\\set t ${tenant}\n\\set k random(0, ${KEYS - 1})\nSELECT live_transaction(:t, :k);\n`;

let scripts = 0;

function pgbenchOf(world: ReplicationWorld, database: string, text: string, load: readonly string[]) {
  const script = join(world.folder, `load-${++scripts}.sql`);
  writeFileSync(script, text);
  const connection = { port: world.sourcePort, user: 'postgres', password: SUPER_PASSWORD, database };
  return (seconds: number, signal: AbortSignal) =>
    runPgbench({
      args: ['-n', '-f', script, '-T', String(seconds), '-j', '1', '-M', 'prepared', ...load],
      connection,
      signal,
    });
}

let nextId = 1_000_000_000;

/** One transaction of `rows` rows of the busy tenant. Resolves with its seconds at the source. */
export async function largeTransaction(world: ReplicationWorld, phase: Phase, rows: number): Promise<number> {
  const first = nextId;
  nextId += rows;
  const client = await (phase.startsWith('unseen') ? connectUnseen(world) : world.connect('east'));
  const insert = (from: string, to: string): string =>
    `INSERT INTO live SELECT ${rowOf('g', String(BUSY))} FROM generate_series(${from}, ${to}) g`;
  const each = LONG_RATE / LONG_TIMES_A_SECOND;
  const text = phase.endsWith('big')
    ? insert(`${first}::bigint`, `${first + rows - 1}::bigint`)
    : `DO $$ DECLARE began timestamptz := clock_timestamp(); at bigint := ${first}; BEGIN
         FOR i IN 1..${rows / each} LOOP
           ${insert('at', `at + ${each - 1}`)};
           at := at + ${each};
           PERFORM pg_sleep(i / ${LONG_TIMES_A_SECOND}.0 - extract(epoch FROM clock_timestamp() - began));
         END LOOP; END $$`;
  try {
    const startedAt = performance.now();
    await client.query(text);
    return (performance.now() - startedAt) / 1000;
  } finally {
    await client.end();
  }
}

async function connectUnseen(world: ReplicationWorld): Promise<pg.Client> {
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port: world.sourcePort, user: 'postgres', password: SUPER_PASSWORD },
    database: UNSEEN,
  });
  client.on('error', () => undefined); // the next query tells
  await client.connect();
  return client;
}
