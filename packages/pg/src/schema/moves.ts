/** Calling the functions of `moves.sql.ts` and `writers.sql.ts`, with their SQLSTATEs as Drover's errors. */
import { DroverError, formatLsn, type Lsn, parseLsn } from '@drover/core';
import { inTransaction, type Queryable, queryOne, queryRows } from './queryable.ts';
import type { Feed } from './tenant.sql.ts';
import { SQLSTATE } from './writer.sql.ts';
import type { Writer } from './writers.sql.ts';

/**
 * Closes the tenant in a transaction of its own; waits at most `lockTimeoutMs` for its writers to end. `client` is a single
 * connection without an open transaction. Returns the barrier's LSN.
 * @throws DroverError failover.drain_timeout (a writer is still there), placement.stale_epoch, tenant.unknown
 */
export async function closeTenant(
  client: Queryable,
  close: { tenant: string; epoch: number; lockTimeoutMs: number },
): Promise<Lsn> {
  try {
    return await inTransaction(client, async () => {
      await client.query(`SELECT pg_catalog.set_config('lock_timeout', $1, true)`, [
        String(Math.max(1, Math.round(close.lockTimeoutMs))),
      ]);
      const row = await queryOne<{ lsn: string }>(client, 'SELECT drover.close_tenant($1, $2) AS lsn', [
        close.tenant,
        close.epoch,
      ]);
      return parseLsn(row?.lsn ?? '');
    });
  } catch (error) {
    throw moveError(error, close.tenant);
  }
}

/** Returns the LSN of the `drover.epoch` message. @throws DroverError placement.stale_epoch */
export async function openTenant(client: Queryable, open: { tenant: string; epoch: number }): Promise<Lsn> {
  try {
    const row = await queryOne<{ lsn: string }>(client, 'SELECT drover.open_tenant($1, $2) AS lsn', [
      open.tenant,
      open.epoch,
    ]);
    return parseLsn(row?.lsn ?? '');
  } catch (error) {
    throw moveError(error, open.tenant);
  }
}

export interface Follow {
  readonly tenant: string;
  readonly epoch: number;
  readonly source: string;
  readonly feed: Feed;
  readonly stream?: string | null;
  readonly streamSeq?: number | null;
  readonly lenientUntil?: Lsn | null;
}

/** False: it follows so already, and the row was left alone. @throws DroverError placement.stale_epoch, tenant.busy */
export async function followTenant(client: Queryable, follow: Follow): Promise<boolean> {
  try {
    const row = await queryOne<{ changed: boolean }>(
      client,
      'SELECT drover.follow_tenant($1, $2, $3, $4, $5, $6, $7) AS changed',
      [
        follow.tenant,
        follow.epoch,
        follow.source,
        follow.feed,
        follow.stream ?? null,
        follow.streamSeq ?? null,
        follow.lenientUntil === undefined || follow.lenientUntil === null
          ? null
          : formatLsn(follow.lenientUntil),
      ],
    );
    return row?.changed === true;
  } catch (error) {
    throw moveError(error, follow.tenant);
  }
}

/** The cluster holds the tenant no more. @throws DroverError placement.stale_epoch, tenant.busy */
export async function forgetTenant(
  client: Queryable,
  forget: { tenant: string; epoch: number },
): Promise<void> {
  try {
    await client.query('SELECT drover.forget_tenant($1, $2)', [forget.tenant, forget.epoch]);
  } catch (error) {
    throw moveError(error, forget.tenant);
  }
}

/** Transactions that a close of the tenant waits for. */
export async function listWriters(client: Queryable, tenant: string): Promise<Writer[]> {
  return queryRows<Writer & { [column: string]: unknown }>(
    client,
    `SELECT pid, prepared, state, usename AS "user", application_name AS "applicationName",
       round(extract(epoch FROM xact_age) * 1000)::float8 AS "xactAgeMs", wait_event AS "waitEvent"
     FROM drover.writers($1) ORDER BY xact_age DESC NULLS LAST`,
    [tenant],
  );
}

/** Ends their backends; returns how many were told to go. */
export async function terminateWriters(client: Queryable, tenant: string): Promise<number> {
  const row = await queryOne<{ ended: number }>(client, 'SELECT drover.terminate_writers($1) AS ended', [
    tenant,
  ]);
  return row?.ended ?? 0;
}

function moveError(error: unknown, tenant: string): unknown {
  const code = (error instanceof Error ? (error as Error & { code?: string }).code : undefined) ?? '';
  const message = error instanceof Error ? error.message : String(error);
  switch (code) {
    case SQLSTATE.staleEpoch:
      return new DroverError('placement.stale_epoch', message, { cause: error, facts: { tenant } });
    case SQLSTATE.wrongState:
      return new DroverError('tenant.busy', message, { cause: error, facts: { tenant } });
    case SQLSTATE.notHeld:
      return new DroverError('tenant.unknown', message, { cause: error, facts: { tenant } });
    case '55P03': // lock_not_available
      return new DroverError(
        'failover.drain_timeout',
        `transactions of tenant "${tenant}" did not end in time`,
        {
          cause: error,
          facts: { tenant },
        },
      );
    default:
      return error;
  }
}
