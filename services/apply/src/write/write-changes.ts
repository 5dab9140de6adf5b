/**
 * Writes slices of blocks inside the open transaction: folded and set-based where it can be, row by row where it must be.
 * What it wrote is the effect of the changes in order (I3), or it throws and the caller rolls back.
 */
import { type DecodedBlock, INSERT, UPDATE } from '../changes/decoded-block.ts';
import type { TupleRef } from '../changes/tuple.ts';
import { Fold } from '../fold/fold.ts';
import type { Session } from '../target/session.ts';
import type { TablePlan } from '../target/table-plan.ts';
import { type Checking, type Miss, RowWriter } from './row-writer.ts';
import { type Segment, type Slice, segments } from './slice.ts';
import { table } from './statements.ts';
import { copyInto, SET_ROWS_MIN, type Staged, stageNet, type Wire } from './write-net.ts';

/** Statements per flight in row order: bounds the answers held in memory. */
const FLIGHT_STATEMENTS_MAX = 4000;

export type WriteMode = 'folded' | 'rows';

export interface Writing {
  readonly mode: WriteMode;
  readonly checking: Checking;
}

/** What was written without an answer to look at is held back: it goes with the caller's next statement. */
export async function writeChanges(
  session: Session,
  slices: readonly Slice[],
  writing: Writing,
): Promise<Miss[]> {
  const misses: Miss[] = [];
  for (const segment of segments(slices)) {
    if (segment.kind === 'truncate') await truncate(session, segment);
    else await writeSegment(session, segment.slices, writing, misses);
  }
  return misses;
}

async function truncate(session: Session, segment: Extract<Segment, { kind: 'truncate' }>): Promise<void> {
  const names = segment.truncate.relations.flatMap((index) => {
    const plan = segment.plans[index];
    return plan == null ? [] : [table(plan)];
  });
  if (names.length === 0) return;
  // Never CASCADE: the source names every table that it emptied; others here are not ours to empty. Sequences are left alone, also
  // where the source restarted them: they are carried when the tenant is opened here, and only their owner may restart them.
  await session.rows(`TRUNCATE ${names.join(', ')} CONTINUE IDENTITY RESTRICT`);
}

interface TableWork {
  readonly plan: TablePlan;
  inserts: number;
  others: number;
  lenient: boolean;
}

async function writeSegment(
  session: Session,
  slices: readonly Slice[],
  { mode, checking }: Writing,
  misses: Miss[],
): Promise<void> {
  const work = countWork(slices);
  let flight = session.flight();
  let writer = new RowWriter(session, flight, checking);
  const send = async (): Promise<void> => {
    const answers = await session.send(flight);
    writer.check(answers);
    misses.push(...writer.misses);
    flight = session.flight();
    writer = new RowWriter(session, flight, checking);
  };
  const wire = { session, flight, writer };
  const inRowOrder: TableWork[] = [];
  const staged: Staged[] = [];
  for (const table of work.values()) {
    const { plan } = table;
    if (mode === 'rows' || ((plan.key === null || plan.replaces) && table.others > 0)) {
      inRowOrder.push(table);
    } else if (table.others === 0 && !table.lenient) {
      insertAll(wire, table, slices);
    } else {
      const fold = foldTable(plan, slices);
      if (fold.unfoldable !== null) inRowOrder.push(table);
      else staged.push(stageNet(wire, plan, fold));
    }
  }
  // What needs no turn is done by now.
  if (checking === 'server' && staged.some(({ large }) => large)) session.takeTurn(flight);
  for (const { write } of staged) write();
  if (writer.checks) await send();
  for (const { plan } of inRowOrder) {
    for (const slice of slices) {
      for (let i = slice.from; i < slice.to; i++) {
        if (slice.plans[slice.block.relation[i] as number] !== plan) continue;
        writeRow(writer, plan, slice, i);
        if (writer.statements >= FLIGHT_STATEMENTS_MAX) await send();
      }
    }
    if (writer.checks) await send();
  }
  session.hold(flight);
}

/** What a copy has brought of a table without a key is known exactly, see `copied.ts`. */
const isLenient = (slice: Slice, plan: TablePlan): boolean => slice.lenient && plan.key !== null;

function countWork(slices: readonly Slice[]): Map<TablePlan, TableWork> {
  const work = new Map<TablePlan, TableWork>();
  for (const slice of slices) {
    const local = slice.plans.map((plan) => (plan === null ? undefined : work.get(plan)));
    for (let i = slice.from; i < slice.to; i++) {
      const relation = slice.block.relation[i] as number;
      let table = local[relation];
      if (table === undefined) {
        const plan = slice.plans[relation];
        if (plan == null) continue;
        table = work.get(plan) ?? { plan, inserts: 0, others: 0, lenient: false };
        work.set(plan, table);
        local[relation] = table;
      }
      if (slice.block.op[i] === INSERT) table.inserts++;
      else table.others++;
      table.lenient ||= isLenient(slice, table.plan);
    }
  }
  return work;
}

const oldTuple = (block: DecodedBlock, i: number): TupleRef => ({
  bytes: block.bytes,
  start: block.at[i * 4] as number,
  end: block.at[i * 4 + 1] as number,
});

const newTuple = (block: DecodedBlock, i: number): TupleRef => ({
  bytes: block.bytes,
  start: block.at[i * 4 + 2] as number,
  end: block.at[i * 4 + 3] as number,
});

function writeRow(writer: RowWriter, plan: TablePlan, slice: Slice, i: number): void {
  const { block, tenant } = slice;
  const lenient = isLenient(slice, plan);
  const op = block.op[i];
  if (op === INSERT) writer.insert(plan, lenient, newTuple(block, i));
  else if (op === UPDATE) {
    const kind = block.oldKind[i] as number;
    writer.update(plan, tenant, lenient, kind === 0 ? null : oldTuple(block, i), kind, newTuple(block, i));
  } else writer.delete(plan, lenient, oldTuple(block, i));
}

/** Only inserts: nothing to fold, straight from the tuples into COPY. */
function insertAll(wire: Wire, { plan, inserts }: TableWork, slices: readonly Slice[]): void {
  const copy = inserts >= SET_ROWS_MIN ? copyInto(wire, plan) : null;
  for (const slice of slices) {
    const { block } = slice;
    for (let i = slice.from; i < slice.to; i++) {
      if (slice.plans[block.relation[i] as number] !== plan) continue;
      const tuple = newTuple(block, i);
      if (copy === null) wire.writer.insert(plan, false, tuple);
      else copy.row(tuple);
    }
  }
  copy?.end();
}

function foldTable(plan: TablePlan, slices: readonly Slice[]): Fold {
  const fold = new Fold(plan.keySource);
  for (const { block, plans, tenant, lenient, from, to } of slices) {
    const { at, bytes, op, oldKind, relation } = block;
    for (let i = from; i < to; i++) {
      if (plans[relation[i] as number] !== plan) continue;
      const n = i * 4;
      fold.add(
        tenant,
        lenient,
        op[i] as number,
        oldKind[i] as number,
        bytes,
        at[n] as number,
        at[n + 1] as number,
        at[n + 2] as number,
        at[n + 3] as number,
      );
      if (fold.unfoldable !== null) return fold;
    }
  }
  return fold;
}
