/** Where tenants and the stream stand, written to the target with the rows it speaks of. */
import { type ClusterId, formatLsn, must } from '@drover/core';
import type { TenantState } from '../decide/tenant-state.ts';
import { arrayLiteral } from '../target/array-literal.ts';
import type { Flight } from '../target/flight.ts';
import type { Session } from '../target/session.ts';
import { metSql } from '../write/statements.ts';
import type { Known } from './known-tenants.ts';

export interface StreamPosition {
  readonly seq: number;
  readonly created: string;
  /** When the bus stored the message at `seq`, Unix ms: it is known again by that. */
  readonly messageMs: number;
  readonly commitTimeMs: number | null;
}

/** Up to so many rows are cheaper one by one (docs/adr/0013-known-tenants.md). */
export const FEW_TENANTS = 5;

type Field = string | number | null;

/** In the order of the parameters of the statements below. */
const fieldsOf = (s: TenantState): readonly Field[] => [
  s.tenant,
  s.feed,
  s.systemId,
  s.generation,
  s.commitLsn === null ? null : formatLsn(s.commitLsn),
  s.part,
  s.stream,
  s.streamSeq,
  s.skipLsn === null ? null : formatLsn(s.skipLsn),
  s.commitTimeMs,
  s.reason,
];

const textOf = (field: Field): string | null => (field === null ? null : String(field));

const stateSql = (
  set: string,
): string => `UPDATE drover.tenant SET ${set}system_id = $3, generation = $4::int, commit_lsn = $5::pg_lsn,
  part = $6::int, stream = $7, stream_seq = $8::bigint, skip_lsn = $9::pg_lsn, commit_time = to_timestamp($10::float8 / 1000.0), reason = $11,
  updated_at = clock_timestamp() WHERE tenant = $1`;

const STATE_SQL = stateSql('feed = $2, ');

/** If it is still that version. Who sets `feed` has the row looked at (drover.tenant_form). */
const KNOWN_STATE_SQL = metSql(`${STATE_SQL} AND xmin = $12::xid`);
const KNOWN_FEED_SQL = metSql(`${stateSql('')} AND feed IS NOT DISTINCT FROM $2 AND xmin = $12::xid`);

const STATES_SQL = `UPDATE drover.tenant AS t SET feed = u.feed, system_id = u.system_id, generation = u.generation, commit_lsn = u.commit_lsn,
    part = u.part, stream = u.stream, stream_seq = u.stream_seq, skip_lsn = u.skip_lsn,
    commit_time = to_timestamp(u.commit_ms / 1000.0), reason = u.reason, updated_at = clock_timestamp()
  FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::pg_lsn[], $6::int[], $7::text[], $8::bigint[], $9::pg_lsn[],
    $10::float8[], $11::text[])
    AS u(tenant, feed, system_id, generation, commit_lsn, part, stream, stream_seq, skip_lsn, commit_ms, reason)
  WHERE t.tenant = u.tenant`;

/** If the row is still that version; if not, the flight fails with `DR006`. `before`: what is known of it. */
export function writeKnownState(
  session: Session,
  flight: Flight,
  { before, after }: { readonly before: Known; readonly after: TenantState },
): void {
  const sql = before.state.feed === after.feed ? KNOWN_FEED_SQL : KNOWN_STATE_SQL;
  session.repeated(flight, sql, [...fieldsOf(after).map(textOf), before.version]);
}

/** Their rows are locked. */
export function writeStates(session: Session, flight: Flight, states: readonly TenantState[]): void {
  if (states.length === 0) return;
  const fields = states.map(fieldsOf);
  if (states.length <= FEW_TENANTS)
    for (const one of fields) session.repeated(flight, STATE_SQL, one.map(textOf));
  else {
    const columns = fieldsOf(must(states[0], 'state')).map((_, i) => fields.map((one) => one[i] ?? null));
    session.repeated(flight, STATES_SQL, columns.map(arrayLiteral));
  }
}

interface PositionOf {
  readonly session: Session;
  readonly source: ClusterId;
  readonly partition: number;
}

/** Answers with the version that rows written in this transaction have. */
export function writePosition(flight: Flight, of: PositionOf, position: StreamPosition): void {
  of.session.repeated(
    flight,
    `INSERT INTO drover.stream_position AS p (source, partition, stream_created, stream_seq, commit_time, message_ms)
    VALUES ($1, $2::int, $3, $4::bigint, to_timestamp($5::float8 / 1000.0), $6::bigint)
    ON CONFLICT (source, partition) DO UPDATE SET stream_created = excluded.stream_created, stream_seq = excluded.stream_seq,
      message_ms = excluded.message_ms, commit_time = greatest(p.commit_time, excluded.commit_time), updated_at = clock_timestamp()
    RETURNING xmin`,
    [
      of.source,
      String(of.partition),
      position.created,
      String(position.seq),
      position.commitTimeMs === null ? null : String(position.commitTimeMs),
      String(Math.floor(position.messageMs)),
    ],
  );
}
