/** The writing side of a copy: a session as `drover_apply` whose writes are not captured again and fire nothing. */
import { pipeline } from 'node:stream/promises';
import { connectPg, inTransaction, originName, type PgPool } from '@drover/pg';
import copyStreams from 'pg-copy-streams';
import type { TenantTable } from '../scope.ts';
import { type Cursor, copyIn, copyOut, deleteAll } from './chunk.ts';
import type { SnapshotClient } from './snapshot.ts';

export type TargetClient = Awaited<ReturnType<typeof connectPg>>;

/** `slot` numbers the copies that run at once: each has a replication origin of its own. */
export async function openTarget(pool: PgPool, slot: number): Promise<TargetClient> {
  const client = await connectPg({ ...pool.options, applicationName: 'drover copy' });
  try {
    await client.query(`SET session_replication_role = 'replica'`);
    await client.query('SELECT pg_catalog.pg_replication_origin_session_setup($1)', [
      originName('copy', slot),
    ]);
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

export interface CopyState {
  readonly n0: number;
  readonly epoch: number;
  /** A further pass over some rows only. */
  readonly partial: boolean;
  readonly progress: Readonly<Record<string, TableProgress>>;
}

export interface TableProgress {
  readonly rows: number;
  readonly cursor: Cursor | null;
  readonly done: boolean;
}

/** What an earlier attempt has left, if it copied from the same source under the same epoch. */
export async function readCopyState(
  client: TargetClient,
  tenant: string,
  source: string,
  epoch: number,
): Promise<CopyState | null> {
  const { rows } = await client.query<{
    snapshot: { n0?: number; epoch?: number; partial?: boolean };
    progress: Record<string, TableProgress>;
  }>(`SELECT snapshot, progress FROM drover.copy WHERE tenant = $1 AND source = $2 AND state = 'copying'`, [
    tenant,
    source,
  ]);
  const found = rows[0];
  if (found?.snapshot.n0 === undefined || found.snapshot.epoch !== epoch) return null;
  return { n0: found.snapshot.n0, epoch, partial: found.snapshot.partial === true, progress: found.progress };
}

/** Removes what the target holds of the tenant and notes where the copy begins: one transaction. */
export async function beginCopy(
  client: TargetClient,
  tenant: string,
  source: string,
  state: { n0: number; epoch: number; partial: boolean },
  tables: readonly TenantTable[],
): Promise<void> {
  await inTransaction(client, async () => {
    for (const table of tables) await client.query(deleteAll(table));
    await client.query(
      `INSERT INTO drover.copy AS c (tenant, source, state, attempt, snapshot, progress)
       VALUES ($1, $2, 'copying', 1, $3, '{}')
       ON CONFLICT (tenant) DO UPDATE SET source = excluded.source, state = 'copying', attempt = c.attempt + 1,
         snapshot = excluded.snapshot, progress = '{}', error = NULL, started_at = now(), updated_at = now()`,
      [tenant, source, JSON.stringify(state)],
    );
  });
}

/** One chunk, with its progress, in one transaction. Returns the rows copied. */
export async function copyChunk(
  reader: SnapshotClient,
  target: TargetClient,
  chunk: {
    tenant: string;
    table: TenantTable;
    after: Cursor | null;
    upTo: Cursor | null;
    before: TableProgress;
    done: boolean;
  },
): Promise<TableProgress> {
  return inTransaction(target, async () => {
    const sink = target.query(copyStreams.from(copyIn(chunk.table)));
    await pipeline(reader.query(copyStreams.to(copyOut(chunk.table, chunk.after, chunk.upTo))), sink);
    const next: TableProgress = {
      rows: chunk.before.rows + sink.rowCount,
      cursor: chunk.upTo,
      done: chunk.done,
    };
    await target.query(
      `UPDATE drover.copy SET progress = progress || pg_catalog.jsonb_build_object($2::text, $3::jsonb), updated_at = now() WHERE tenant = $1`,
      [chunk.tenant, `${chunk.table.schema}.${chunk.table.name}`, JSON.stringify(next)],
    );
    return next;
  });
}
