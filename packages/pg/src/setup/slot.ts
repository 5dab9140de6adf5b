/**
 * The capture slot of a database. Creating it raises the generation in drover.node first: positions of two slots are never
 * comparable, and a crash in between only wastes a number. Slots of others are never dropped, and a lost slot
 * is never replaced silently: what was written in between would be missing (I1).
 */
import { DroverError } from '@drover/core';
import { type Queryable, queryOne, queryRows } from '../schema/queryable.ts';
import { ROLES } from '../schema/roles.ts';
import { sqlState } from './actions.ts';

export interface SlotState {
  readonly plugin: string | null;
  readonly database: string | null;
  readonly active: boolean;
  readonly walStatus: string | null;
  readonly invalidationReason: string | null;
  readonly failover: boolean;
}

export interface SlotResult {
  readonly created: boolean;
  readonly generation: number;
  readonly failover: boolean;
}

export interface SlotOptions {
  /** Survive the promotion of a physical standby (PostgreSQL 17+, ignored before). Applies to a new slot only. */
  readonly failover: boolean;
  /** Called when creation must wait for transactions that are older than the slot, with their number. */
  readonly onWait?: (olderTransactions: number) => void;
}

/**
 * `client`: connected to the captured database, outside a transaction, as a superuser or with REPLICATION and membership in
 * drover_admin. The schema is installed.
 * @throws DroverError pg.slot_foreign, pg.slot_lost, pg.slots_exhausted, pg.not_set_up, pg.privilege
 */
export async function ensureSlot(client: Queryable, name: string, options: SlotOptions): Promise<SlotResult> {
  const state = await readSlotState(client, name);
  if (state === null) return createSlot(client, name, options);
  const here = await queryOne<{ database: string }>(client, 'SELECT current_database()::text AS database');
  if (state.plugin !== 'pgoutput' || state.database !== here?.database) {
    throw new DroverError(
      'pg.slot_foreign',
      `slot "${name}" belongs to ${state.plugin ?? 'a physical standby'} in database ${state.database ?? '(none)'}`,
      { facts: { slot: name, ...state } },
    );
  }
  if (state.walStatus === 'lost') {
    throw new DroverError(
      'pg.slot_lost',
      `slot "${name}" was invalidated (${state.invalidationReason ?? 'wal_removed'})`,
      {
        hint: 'run drover setup --resync',
        facts: { slot: name, ...state },
      },
    );
  }
  return { created: false, generation: await readGeneration(client), failover: state.failover };
}

/** Drops Drover's own slot, for a resync: only when it is a pgoutput slot of this database and nobody reads it. */
export async function dropSlot(client: Queryable, name: string): Promise<boolean> {
  const rows = await queryRows(
    client,
    `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots
     WHERE slot_name = $1 AND plugin = 'pgoutput' AND database = current_database() AND NOT active`,
    [name],
  );
  return rows.length > 0;
}

/** Null: there is no slot of that name. */
export async function readSlotState(client: Queryable, name: string): Promise<SlotState | null> {
  return queryOne<SlotState & { [column: string]: unknown }>(
    client,
    // Columns that came with 16 and 17 are read through json, which knows no missing columns.
    `SELECT s.plugin::text AS plugin, s.database::text AS database, s.active, s.wal_status AS "walStatus",
       coalesce(pg_catalog.to_jsonb(s) ->> 'invalidation_reason',
                CASE WHEN (pg_catalog.to_jsonb(s) ->> 'conflicting')::boolean THEN 'conflict' END) AS "invalidationReason",
       coalesce((pg_catalog.to_jsonb(s) ->> 'failover')::boolean, false) AS failover
     FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1`,
    [name],
  );
}

async function createSlot(client: Queryable, name: string, options: SlotOptions): Promise<SlotResult> {
  const version = await queryOne<{ num: number }>(
    client,
    `SELECT pg_catalog.current_setting('server_version_num')::int AS num`,
  );
  const failover = options.failover && (version?.num ?? 0) >= 170000;
  const generation = await raiseGeneration(client);
  if (options.onWait !== undefined) {
    const older = await countTransactions(client);
    if (older > 0) options.onWait(older);
  }
  try {
    const created = await queryOne<{ lsn: string }>(
      client,
      failover
        ? `SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput', false, false, true)`
        : `SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')`,
      [name],
    );
    await asAdmin(client, () => client.query('UPDATE drover.node SET slot_lsn = $1', [created?.lsn]));
  } catch (error) {
    throw await slotError(client, name, error);
  }
  return { created: true, generation, failover };
}

/** Slot creation waits for every transaction that writes now (snapbuild.c: until a consistent point). */
async function countTransactions(client: Queryable): Promise<number> {
  const row = await queryOne<{ n: number }>(
    client,
    `SELECT count(*)::int AS n FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()`,
  );
  return row?.n ?? 0;
}

async function raiseGeneration(client: Queryable): Promise<number> {
  const row = await asAdmin(client, () =>
    queryOne<{ generation: number }>(
      client,
      'UPDATE drover.node SET generation = generation + 1, slot_lsn = NULL, updated_at = pg_catalog.now() RETURNING generation',
    ),
  );
  if (row === null) throw new DroverError('pg.not_set_up', 'drover.node is empty');
  return row.generation;
}

async function readGeneration(client: Queryable): Promise<number> {
  const row = await asAdmin(client, () =>
    queryOne<{ generation: number }>(client, 'SELECT generation FROM drover.node'),
  );
  return row?.generation ?? 0;
}

async function asAdmin<T>(client: Queryable, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    await client.query(`SET LOCAL ROLE ${ROLES.admin}`);
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}

async function slotError(client: Queryable, name: string, error: unknown): Promise<unknown> {
  switch (sqlState(error) ?? '') {
    case '53400': {
      // configuration_limit_exceeded
      const slots = await queryRows<{ slot: string; active: boolean }>(
        client,
        'SELECT slot_name::text AS slot, active FROM pg_catalog.pg_replication_slots ORDER BY active, slot_name',
      );
      const idle = slots.filter((s) => !s.active).map((s) => s.slot);
      return new DroverError('pg.slots_exhausted', `no replication slot is left for "${name}"`, {
        cause: error,
        hint: `raise max_replication_slots (needs a restart)${idle.length === 0 ? '' : `, or drop a slot nobody needs; idle: ${idle.join(', ')}`}`,
        facts: { slots: slots.length, idle },
      });
    }
    case '42501':
      return new DroverError('pg.privilege', 'the setup user may not create replication slots', {
        cause: error,
        hint: 'give it REPLICATION, or run drover setup with a superuser',
      });
    default:
      return error;
  }
}
