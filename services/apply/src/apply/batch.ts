/**
 * One target transaction: lock the tenants' rows, decide, write the rows, move the checkpoints and the stream's position,
 * commit. What is known of the rows is decided by before, and holds if they still are those versions once they are locked
 * (docs/adr/0013-known-tenants.md). All of it or nothing (I2, I3); whatever is thrown, the session has been rolled back or is lost.
 */
import { type ClusterId, DroverError } from '@drover/core';
import { classifyPgError, SQLSTATE } from '@drover/pg';
import { describeTuple } from '../changes/describe.ts';
import type { Entry } from '../changes/entry.ts';
import { textRelations } from '../changes/form.ts';
import { placeOf } from '../ddl/row-place.ts';
import type { Lane } from '../decide/decide.ts';
import { parseTenantState, TENANT_COLUMNS, type TenantState } from '../decide/tenant-state.ts';
import { arrayLiteral } from '../target/array-literal.ts';
import type { TargetCatalog } from '../target/catalog.ts';
import type { Flight } from '../target/flight.ts';
import type { Session } from '../target/session.ts';
import type { TablePlan } from '../target/table-plan.ts';
import type { Miss } from '../write/row-writer.ts';
import type { Slice } from '../write/slice.ts';
import { type WriteMode, type Writing, writeChanges } from '../write/write-changes.ts';
import {
  FEW_TENANTS,
  type StreamPosition,
  writeKnownState,
  writePosition,
  writeStates,
} from './checkpoint.ts';
import { type Copied, mayBeCopied, readCopied, withoutCopied } from './copied.ts';
import type { Known, KnownTenants } from './known-tenants.ts';
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
  /** Rows of drover.tenant as this connection has left them; undefined: they are read in each transaction. */
  readonly known?: KnownTenants;
  /** Tests stop the process here. */
  readonly failpoint: ((step: string) => Promise<void> | void) | undefined;
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

/** By what is known of its tenants, in one round trip where it can be; if that does not hold any more, by what is read of them. */
export async function applyBatch(target: Target, batch: Batch): Promise<BatchResult> {
  const { session, known, catalog } = target;
  const tenants = tenantsOf(batch.entries);
  const before = known?.of(tenants) ?? null;
  if (before !== null) {
    const states = new Map([...before].map(([tenant, { state }]) => [tenant, { ...state }]));
    try {
      return await applyTo(target, batch, { states, checking: 'server', before });
    } catch (error) {
      const { sqlstate } = classifyPgError(error);
      // A table with rules of its own cannot have its rows counted by the server.
      if (sqlstate !== SQLSTATE.rowMoved && sqlstate !== NOT_SUPPORTED) throw error;
    }
  }
  const read = await begin(session, batch.entries, { catalog, known }).catch((error: unknown) =>
    rollback(target, error),
  );
  return applyTo(target, batch, { states: read, checking: 'answers' });
}

const NOT_SUPPORTED = '0A000';

type States = Map<string, TenantState>;

type Begun =
  /** Of rows that are locked. */
  | { readonly states: States; readonly checking: 'answers' }
  /** Of rows that are known; nothing has been sent. */
  | { readonly states: States; readonly checking: 'server'; readonly before: ReadonlyMap<string, Known> };

async function applyTo(target: Target, batch: Batch, begun: Begun): Promise<BatchResult> {
  const { session, known } = target;
  const { states, checking } = begun;
  try {
    const routed = route(batch.entries, states, { ...target, lane: batch.lane });
    const dirty = checking === 'server' ? beginKnown(session, routed.dirty, begun.before) : routed.dirty;
    const misses = await writePlanned(target, routed, { mode: batch.mode, checking });
    await target.failpoint?.('written');
    const version = await finish(target, {
      routed,
      dirty,
      misses,
      position: batch.position,
      planned: routed.work.length > 0,
    });
    known?.wrote(routed.dirty, version);
    await target.failpoint?.('committed');
    return { ...routed, states, rows: routed.work.reduce((sum, { from, to }) => sum + to - from, 0) };
  } catch (error) {
    return rollback(target, error);
  }
}

async function rollback({ known, session }: Target, error: unknown): Promise<never> {
  known?.forget();
  await session.rollback().catch(() => undefined); // a lost connection is rolled back by the server
  throw error;
}

/** In the order in which everybody locks them, that of their bytes (`COLLATE "C"`). */
function tenantsOf(entries: readonly Entry[]): string[] {
  const tenants = [...new Set(entries.flatMap((e) => (e.tenant === '' ? [] : [e.tenant])))].sort();
  // UTF-16 has another order only where characters take two units.
  if (!tenants.some((tenant) => SURROGATE.test(tenant))) return tenants;
  return tenants.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

const SURROGATE = /[\ud800-\udfff]/;

function beginFlight(session: Session): Flight {
  const flight = session.flight();
  session.repeated(flight, 'BEGIN ISOLATION LEVEL READ COMMITTED', []);
  session.repeated(flight, 'SET CONSTRAINTS ALL DEFERRED', []);
  return flight;
}

/**
 * The same as {@link begin} without its answer; the transaction fails with `DR006` when a row is another version than the one `before`. Returns what
 * is to be written of `dirty` at its end: a few rows are written at once, which locks them as well.
 */
function beginKnown(
  session: Session,
  dirty: ReadonlySet<TenantState>,
  before: ReadonlyMap<string, Known>,
): ReadonlySet<TenantState> {
  const flight = beginFlight(session);
  const lock = (known: Iterable<readonly [string, Known]>): void => {
    const rows = [...known];
    session.repeated(flight, 'SELECT drover.lock_known($1::text[], $2::xid[])', [
      arrayLiteral(rows.map(([tenant]) => tenant)),
      arrayLiteral(rows.map(([, { version }]) => version)),
    ]);
  };
  const few = dirty.size > 0 && before.size <= FEW_TENANTS;
  if (few) {
    const states = new Map([...dirty].map((state) => [state.tenant, state]));
    for (const [tenant, known] of before) {
      const after = states.get(tenant);
      if (after === undefined) lock([[tenant, known]]);
      else writeKnownState(session, flight, { before: known, after });
    }
  } else if (before.size > 0) lock(before);
  session.hold(flight);
  return few ? new Set() : dirty;
}

/**
 * Opens the transaction; the tenants' rows are locked in one order everywhere, so two pipelines cannot deadlock on them. `catalog`: forgets
 * what it has read before the last schema change. `known`: learns what is read.
 */
export async function begin(
  session: Session,
  entries: readonly Entry[],
  { catalog, known }: { catalog?: TargetCatalog; known?: KnownTenants | undefined } = {},
): Promise<States> {
  const tenants = tenantsOf(entries);
  const flight = beginFlight(session);
  if (tenants.length > 0) {
    session.repeated(
      flight,
      `SELECT xmin, ${TENANT_COLUMNS} FROM drover.tenant WHERE tenant = ANY ($1::text[]) ORDER BY tenant FOR NO KEY UPDATE`,
      [arrayLiteral(tenants)],
    );
  }
  if (catalog !== undefined) session.repeated(flight, SCHEMA_EPOCH, []);
  const answers = await session.send(flight);
  catalog?.enter(answers.at(-1)?.rows[0]?.[0] ?? '');
  const states: States = new Map();
  for (const [version, ...fields] of tenants.length === 0 ? [] : (answers[2]?.rows ?? [])) {
    const state = parseTenantState(fields);
    states.set(state.tenant, state);
    known?.read(state, version ?? '');
  }
  return states;
}

const SCHEMA_EPOCH = 'SELECT n FROM drover.ddl_epoch';

/**
 * Writes what was routed. @throws whatever stops it, SQLSTATE DR005 when the schema was changed meanwhile (which of the replica's columns was
 * written is not certain then); nothing is rolled back here.
 */
export async function writeWork(target: Target, routed: Routed, mode: WriteMode): Promise<Miss[]> {
  const { session, catalog } = target;
  if (routed.work.length === 0) return [];
  catalog.enter((await session.rows(SCHEMA_EPOCH))[0]?.[0] ?? '');
  const misses = await writePlanned(target, routed, { mode, checking: 'answers' });
  await session.rows('SELECT drover.ddl_check($1::bigint)', [catalog.epoch]);
  return misses;
}

/** What the server says as well (drover.ddl_check). */
export class SchemaMoved extends Error {
  readonly code: string = SQLSTATE.schemaMoved;
}

/** It may be that of a plan from before a schema change. Pure. */
export function isSchemaError(error: unknown): boolean {
  if (error instanceof DroverError) return error.code === 'apply.schema';
  return classifyPgError(error).sqlstate?.startsWith('42') === true;
}

/** Has the schema been changed since the plans were read? */
export async function schemaMoved({ session, catalog }: Target): Promise<boolean> {
  return ((await session.rows(SCHEMA_EPOCH))[0]?.[0] ?? '') !== catalog.epoch;
}

/** The same by plans of `begin`, to be checked by `finish`. */
async function writePlanned(target: Target, routed: Routed, writing: Writing): Promise<Miss[]> {
  const slices: Slice[] = [];
  const copies = new Map<string, Copied>();
  const copiedOf = async (tenant: string): Promise<Copied> => {
    const copied = copies.get(tenant) ?? (await readCopied(target.session, tenant));
    copies.set(tenant, copied);
    return copied;
  };
  for (const { entry, tenant, lenient, from, to } of routed.work) {
    const { block } = entry;
    if (block === null) continue;
    const plans: (TablePlan | null)[] = [];
    const text = textRelations(block);
    for (const [index, relation] of block.relations.entries())
      plans.push(
        await target.catalog.plan(
          target.session,
          relation,
          () => placeOf(block, index),
          text[index] === true,
        ),
      );
    const slice = { block, plans, tenant, lenient, from, to };
    if (mayBeCopied(slice)) slices.push(...withoutCopied(slice, await copiedOf(entry.tenant)));
    else slices.push(slice);
  }
  if (slices.length === 0) return [];
  return writeChanges(target.session, slices, writing);
}

export interface Ending {
  readonly routed: Routed;
  /** Of it, what is not written yet. */
  readonly dirty: ReadonlySet<TenantState>;
  readonly misses: readonly Miss[];
  readonly position: StreamPosition | null;
  /** Rows were written by the catalog's plans, which must still hold. */
  readonly planned?: boolean;
}

/** Checkpoints, ledger, position, COMMIT. Returns the version that rows written in this transaction have, if there is a position. */
export async function finish(
  target: Target,
  { routed, dirty, misses, position, planned = false }: Ending,
): Promise<string | undefined> {
  const { session } = target;
  const flight = session.flight();
  const durable =
    routed.barriers.length + routed.notes.length + routed.parked.length + routed.held.length > 0;
  if (planned) session.repeated(flight, 'SELECT drover.ddl_check($1::bigint)', [target.catalog.epoch]);
  if (durable) flight.statement('SET LOCAL synchronous_commit = on');
  writeStates(session, flight, [...dirty]);
  for (const note of routed.notes) writeNote(flight, note);
  writeMisses(flight, routed, misses);
  const at = flight.statements;
  if (position !== null) writePosition(flight, target, position);
  session.repeated(flight, 'COMMIT', []);
  await target.failpoint?.('before-commit');
  const answers = await session.send(flight);
  session.committed();
  return position === null ? undefined : (answers[at]?.rows[0]?.[0] ?? undefined);
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
