/**
 * Logical messages that Drover writes into a source's WAL (docs/architecture.md, "Logical messages"). All are
 * transactional: they come out at their transaction's place in commit order, and not at all when it rolls back.
 */
import { type Lsn, must, parseLsn } from '@drover/core';
import type { Queryable } from './connect.ts';

export const BARRIER_PREFIX = 'drover.barrier';
export const EPOCH_PREFIX = 'drover.epoch';
export const HEARTBEAT_PREFIX = 'drover.heartbeat';
/** A schema change; written by the event triggers (schema/ddl-capture.sql.ts). The other two are the reader's own, in blocks only. */
export const DDL_PREFIX = 'drover.ddl';
export const DDL_END_PREFIX = 'drover.ddl.end';
export const DDL_MARK_PREFIX = 'drover.ddl.mark';
/** In a tenant's block: rows of this transaction were not published, because a rule of [[transform]] could not be carried out. */
export const WITHHELD_PREFIX = 'drover.withheld';

export interface Barrier {
  /** A tenant, or `*` for all tenants of the database. */
  readonly tenant: string;
  readonly id: string;
  /** The apply worker of cluster `target` stops behind the barrier for at most `ms`. */
  readonly pauseFor?: { readonly target: string; readonly ms: number };
}

/**
 * Returns the message's LSN, as the message itself carries it in the stream. Its transaction commits later: compare
 * commit LSNs with `>`, and find the barrier by its id.
 */
export function emitBarrier(client: Queryable, barrier: Barrier): Promise<Lsn> {
  return emit(client, BARRIER_PREFIX, {
    tenant: barrier.tenant,
    id: barrier.id,
    ...(barrier.pauseFor === undefined ? {} : { pauseFor: barrier.pauseFor }),
  });
}

/** `at`: wall clock in Unix ms, for display; lag is taken from commit times. */
export function emitHeartbeat(client: Queryable, at: number = Date.now()): Promise<Lsn> {
  return emit(client, HEARTBEAT_PREFIX, { at });
}

async function emit(client: Queryable, prefix: string, content: object): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: string }>(
    'SELECT pg_catalog.pg_logical_emit_message(true, $1::text, $2::text)::text AS lsn',
    [prefix, JSON.stringify(content)],
  );
  return parseLsn(must(rows[0], 'result of pg_logical_emit_message').lsn);
}
