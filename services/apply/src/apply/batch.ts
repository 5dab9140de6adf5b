/**
 * One target transaction: lock the tenants' rows, decide, write the rows, move the checkpoints and the stream's position,
 * commit. All of it or nothing (I2, I3); whatever is thrown, the session has been rolled back or is lost.
 */
import { type ClusterId, formatLsn } from '@drover/core';
import { describeTuple } from '../changes/describe.ts';
import type { Entry } from '../changes/entry.ts';
import type { Lane } from '../decide/decide.ts';
import { parseTenantState, TENANT_COLUMNS, type TenantState } from '../decide/tenant-state.ts';
import type { TargetCatalog } from '../target/catalog.ts';
import type { Flight } from '../target/flight.ts';
import type { Session } from '../target/session.ts';
import type { Miss } from '../write/row-writer.ts';
import type { Slice } from '../write/slice.ts';
import { type WriteMode, writeChanges } from '../write/write-changes.ts';
import { writeNote } from './ledger.ts';
import { type Routed, route } from './route.ts';

/** Where a pipeline writes to, and for which stream. */
export interface Target {
  readonly cluster: ClusterId;
  readonly source: ClusterId;
  readonly partition: number;
  readonly stream: string;
  readonly session: Session;
  readonly catalog: TargetCatalog;
  /** Tests stop the process here. */
  readonly failpoint: ((step: string) => Promise<void> | void) | undefined;
}

export interface StreamPosition {
  readonly seq: number;
  readonly created: string;
  readonly commitTimeMs: number | null;
}

export interface Batch {
  readonly entries: readonly Entry[];
  readonly lane: Lane;
  readonly mode: WriteMode;
  /** Written with the batch; null when the batch is only a share of what was read. */
  readonly position: StreamPosition | null;
}

export interface BatchResult extends Routed {
  readonly states: ReadonlyMap<string, TenantState>;
  /** Row changes written. */
  readonly rows: number;
}

export async function applyBatch(target: Target, batch: Batch): Promise<BatchResult> {
  const { session } = target;
  try {
    const states = await begin(session, batch.entries);
    const routed = route(batch.entries, states, { ...target, lane: batch.lane });
    const misses = await writeWork(target, routed, batch.mode);
    await target.failpoint?.('written');
    await finish(target, { routed, misses, position: batch.position });
    await target.failpoint?.('committed');
    return { ...routed, states, rows: routed.work.reduce((sum, { from, to }) => sum + to - from, 0) };
  } catch (error) {
    await session.rollback().catch(() => undefined); // a lost connection is rolled back by the server
    throw error;
  }
}

/** Opens the transaction; the tenants' rows are locked in one order everywhere, so two pipelines cannot deadlock on them. */
export async function begin(session: Session, entries: readonly Entry[]): Promise<Map<string, TenantState>> {
  const tenants = [...new Set(entries.flatMap((e) => (e.tenant === '' ? [] : [e.tenant])))].sort();
  const flight = session.flight();
  flight.statement('BEGIN ISOLATION LEVEL READ COMMITTED');
  flight.statement('SET CONSTRAINTS ALL DEFERRED');
  if (tenants.length > 0) {
    session.repeated(
      flight,
      `SELECT ${TENANT_COLUMNS} FROM drover.tenant WHERE tenant = ANY ($1::text[]) ORDER BY tenant FOR NO KEY UPDATE`,
      [arrayLiteral(tenants)],
    );
  }
  const answers = await session.send(flight);
  return new Map(
    (answers[2]?.rows ?? []).map((fields) => {
      const state = parseTenantState(fields);
      return [state.tenant, state];
    }),
  );
}

/** Writes what was routed. @throws whatever stops it; nothing is rolled back here. */
export async function writeWork(target: Target, routed: Routed, mode: WriteMode): Promise<Miss[]> {
  const slices: Slice[] = [];
  for (const { entry, tenant, lenient, from, to } of routed.work) {
    const { block } = entry;
    if (block === null) continue;
    const plans = [];
    for (const relation of block.relations) plans.push(await target.catalog.plan(target.session, relation));
    slices.push({ block, plans, tenant, lenient, from, to });
  }
  if (slices.length === 0) return [];
  const misses = await writeChanges(target.session, slices, mode);
  return misses;
}

export interface Ending {
  readonly routed: Routed;
  readonly misses: readonly Miss[];
  readonly position: StreamPosition | null;
}

/** Checkpoints, ledger, position, COMMIT. */
export async function finish(target: Target, { routed, misses, position }: Ending): Promise<void> {
  const { session } = target;
  const flight = session.flight();
  const durable =
    routed.barriers.length + routed.notes.length + routed.parked.length + routed.held.length > 0;
  if (durable) flight.statement('SET LOCAL synchronous_commit = on');
  writeStates(session, flight, [...routed.dirty]);
  for (const note of routed.notes) writeNote(flight, note);
  writeMisses(flight, routed, misses);
  if (position !== null) writePosition(flight, target, position);
  flight.statement('COMMIT');
  await target.failpoint?.('before-commit');
  await session.send(flight);
  session.committed();
}

export function writeStates(session: Session, flight: Flight, states: readonly TenantState[]): void {
  if (states.length === 0) return;
  const column = (get: (state: TenantState) => string | number | null): string =>
    arrayLiteral(states.map(get));
  session.repeated(
    flight,
    `UPDATE drover.tenant AS t SET feed = u.feed, system_id = u.system_id, generation = u.generation, commit_lsn = u.commit_lsn,
      part = u.part, stream = u.stream, stream_seq = u.stream_seq, skip_lsn = u.skip_lsn,
      commit_time = to_timestamp(u.commit_ms / 1000.0), reason = u.reason, updated_at = clock_timestamp()
    FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::pg_lsn[], $6::int[], $7::text[], $8::bigint[], $9::pg_lsn[],
      $10::float8[], $11::text[])
      AS u(tenant, feed, system_id, generation, commit_lsn, part, stream, stream_seq, skip_lsn, commit_ms, reason)
    WHERE t.tenant = u.tenant`,
    [
      column((s) => s.tenant),
      column((s) => s.feed),
      column((s) => s.systemId),
      column((s) => s.generation),
      column((s) => (s.commitLsn === null ? null : formatLsn(s.commitLsn))),
      column((s) => s.part),
      column((s) => s.stream),
      column((s) => s.streamSeq),
      column((s) => (s.skipLsn === null ? null : formatLsn(s.skipLsn))),
      column((s) => s.commitTimeMs),
      column((s) => s.reason),
    ],
  );
}

export function writePosition(flight: Flight, target: Target, position: StreamPosition): void {
  target.session.repeated(
    flight,
    `INSERT INTO drover.stream_position AS p (source, partition, stream_created, stream_seq, commit_time)
    VALUES ($1, $2::int, $3, $4::bigint, to_timestamp($5::float8 / 1000.0))
    ON CONFLICT (source, partition) DO UPDATE SET stream_created = excluded.stream_created, stream_seq = excluded.stream_seq,
      commit_time = greatest(p.commit_time, excluded.commit_time), updated_at = clock_timestamp()`,
    [
      target.source,
      String(target.partition),
      position.created,
      String(position.seq),
      position.commitTimeMs === null ? null : String(position.commitTimeMs),
    ],
  );
}

/**
 * Rows whose unchanged values nobody has sent: noted for migration in drover.copy.progress under "missed", which copies them anew
 * before the tenant counts as copied.
 */
function writeMisses(flight: Flight, routed: Routed, misses: readonly Miss[]): void {
  for (const { tenant, plan, key } of misses) {
    const row = describeTuple(key.bytes, key.start, key.end, plan.relation);
    const keyRow = Object.fromEntries(
      plan.keySource.map((index) => {
        const name = plan.relation.columns[index]?.name ?? '';
        return [name, row[name] ?? null];
      }),
    );
    const missed = JSON.stringify([{ schema: plan.relation.schema, table: plan.relation.name, key: keyRow }]);
    flight.statement(
      `UPDATE drover.copy SET progress = jsonb_set(progress, '{missed}', coalesce(progress -> 'missed', '[]') || $2::jsonb),
        updated_at = now() WHERE tenant = $1`,
      [routed.tenants[tenant] ?? '', missed],
    );
  }
}

/** Array in its text form (manual, 8.15.6), every element quoted. */
export function arrayLiteral(items: readonly (string | number | null)[]): string {
  const quoted = items.map((item) =>
    item === null ? 'NULL' : `"${String(item).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`,
  );
  return `{${quoted.join(',')}}`;
}
