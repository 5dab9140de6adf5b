/**
 * The net effect of a table's changes onto the wire: staged rows first, and rows that are new where they disturb nobody; then, in its turn,
 * what updates and deletes (docs/adr/0015-update-turns.md).
 */
import type { TupleRef } from '../changes/tuple.ts';
import type { Fold, NetRow } from '../fold/fold.ts';
import { KeyTable } from '../fold/key-table.ts';
import type { Flight } from '../target/flight.ts';
import type { Session } from '../target/session.ts';
import type { TablePlan } from '../target/table-plan.ts';
import { TURN_ROWS_MIN } from '../target/update-turns.ts';
import { CopyRows } from './encode.ts';
import { type RowWriter, unchangedMask } from './row-writer.ts';
import {
  copySql,
  copyStageSql,
  createStageSql,
  settable,
  stagedDeleteSql,
  stagedInsertSql,
  stagedUpdateSql,
} from './statements.ts';

/** Fewer rows than this are cheaper as statements of their own than by COPY (measured: break-even near ten). */
export const SET_ROWS_MIN = 16;

export interface Wire {
  readonly session: Session;
  readonly flight: Flight;
  readonly writer: RowWriter;
}

/** What is left to be said of a table once its rows are staged. */
export interface Staged {
  /** It is so much that it is to wait for its turn. */
  readonly large: boolean;
  readonly write: () => void;
}

interface Net {
  readonly tenant: number;
  readonly row: NetRow;
}

interface Updates {
  readonly mask: readonly boolean[];
  readonly strict: boolean;
  readonly rows: TupleRef[];
}

interface Parts {
  /** Rows that must be there. */
  readonly gone: TupleRef[];
  readonly goneIfThere: TupleRef[];
  /** By the columns that are set, and whether their rows must be there. */
  readonly updates: readonly Updates[];
  readonly updateRows: number;
  /** Whether they were met must be known row by row. */
  readonly single: readonly Net[];
  /** Their keys were nobody's before the batch. */
  readonly fresh: TupleRef[];
  /** In place of rows that go. */
  readonly inserts: TupleRef[];
}

/** Stages the table's rows. {@link Staged.write}: deletes, then updates, then inserts, so a value that one row gives up is free for the next. */
export function stageNet(wire: Wire, plan: TablePlan, fold: Fold): Staged {
  const parts = partsOf(plan, fold);
  const { gone, goneIfThere, updateRows } = parts;
  if (gone.length + goneIfThere.length + updateRows < SET_ROWS_MIN)
    return { large: false, write: () => writeFew(wire, plan, parts) };
  const large = gone.length + updateRows >= TURN_ROWS_MIN;
  const [before, after] = large ? insertsFirst(plan, parts) : [[], [...parts.fresh, ...parts.inserts]];
  if (before.length > 0) insertTuples(wire, plan, before);
  const group = stage(wire, plan, parts);
  return { large, write: () => writeStaged(wire, plan, { ...parts, inserts: after }, group) };
}

function partsOf(plan: TablePlan, fold: Fold): Parts {
  const gone: TupleRef[] = [];
  const goneIfThere: TupleRef[] = [];
  const fresh: TupleRef[] = [];
  const inserts: TupleRef[] = [];
  const updates = new Map<string, Updates>();
  const single: Net[] = [];
  let updateRows = 0;
  for (const [tenant, row] of fold.entries()) {
    if (row.after === null || row.fresh) {
      if (row.before === 'present') gone.push(row.key);
      else if (row.before === 'any') goneIfThere.push(row.key);
      if (row.after !== null) (row.before === 'absent' ? fresh : inserts).push(row.after);
    } else if (row.partial && row.before === 'any') {
      single.push({ tenant, row });
    } else {
      const mask = row.partial ? unchangedMask(plan, row.after) : [];
      const strict = row.before !== 'any';
      const name = `${strict ? 's' : 'l'}${mask.map((u) => (u ? 1 : 0)).join('')}`;
      const group = updates.get(name);
      if (group === undefined) updates.set(name, { mask, strict, rows: [row.after] });
      else group.rows.push(row.after);
      updateRows++;
    }
  }
  return { gone, goneIfThere, updates: [...updates.values()], updateRows, single, fresh, inserts };
}

/**
 * Inserts that need not wait for what goes, and those that must. Where nothing but the key is unique a new row can only be in the way of one
 * with the same key: another tenant's that goes (a row that moved), for the tenant's own would have been met by the fold.
 */
function insertsFirst(
  plan: TablePlan,
  { gone, goneIfThere, fresh, inserts }: Parts,
): [TupleRef[], TupleRef[]] {
  if (!plan.onlyKeyUnique) return [[], [...fresh, ...inserts]];
  const keys = new KeyTable(plan.keySource);
  const numberOf = ({ bytes, start, end }: TupleRef): number => keys.numberOf(0, bytes, start, end);
  for (const rows of [gone, goneIfThere]) for (const tuple of rows) numberOf(tuple);
  const going = keys.size;
  const before: TupleRef[] = [];
  const after: TupleRef[] = [];
  for (const tuple of fresh) (numberOf(tuple) >= going ? before : after).push(tuple);
  return [before, [...after, ...inserts]];
}

/** @returns the first of the groups of staged rows: those that must go, those that go if they are there, those that are updated */
function stage({ session, flight }: Wire, plan: TablePlan, { gone, goneIfThere, updates }: Parts): number {
  ensureStage(session, flight, plan);
  const g = session.stageGroups(updates.length + 2);
  const copy = new CopyRows(flight, copyStageSql(plan));
  for (const tuple of gone) copy.row(plan, tuple, g);
  for (const tuple of goneIfThere) copy.row(plan, tuple, g + 1);
  updates.forEach(({ rows }, n) => {
    for (const tuple of rows) copy.row(plan, tuple, g + 2 + n);
  });
  copy.end();
  return g;
}

function writeStaged(wire: Wire, plan: TablePlan, parts: Omit<Parts, 'fresh'>, g: number): void {
  const { flight, writer } = wire;
  const { gone, goneIfThere, updates, single, inserts } = parts;
  if (gone.length > 0) writer.strictly(stagedDeleteSql(plan, g), gone.length, plan, 'DELETE');
  if (goneIfThere.length > 0) flight.statement(stagedDeleteSql(plan, g + 1));
  updates.forEach(({ mask, strict, rows }, n) => {
    const sql = stagedUpdateSql(plan, g + 2 + n, settable(plan, mask));
    if (strict) writer.strictly(sql, rows.length, plan, 'UPDATE');
    else flight.statement(sql);
  });
  writeSingles(writer, plan, single);
  insertTuples(wire, plan, inserts);
}

function writeFew(wire: Wire, plan: TablePlan, parts: Parts): void {
  const { writer } = wire;
  for (const tuple of parts.gone) writer.deleteByKey(plan, false, tuple);
  for (const tuple of parts.goneIfThere) writer.deleteByKey(plan, true, tuple);
  for (const { strict, rows } of parts.updates) {
    for (const tuple of rows) writer.update(plan, 0, !strict, null, 0, tuple);
  }
  writeSingles(writer, plan, parts.single);
  insertTuples(wire, plan, [...parts.fresh, ...parts.inserts]);
}

function writeSingles(writer: RowWriter, plan: TablePlan, single: readonly Net[]): void {
  for (const { tenant, row } of single) {
    if (row.after !== null) writer.update(plan, tenant, true, null, 0, row.after);
  }
}

function insertTuples({ session, flight, writer }: Wire, plan: TablePlan, tuples: readonly TupleRef[]): void {
  if (tuples.length < SET_ROWS_MIN) {
    for (const tuple of tuples) writer.insert(plan, false, tuple);
    return;
  }
  const copy = copyInto({ session, flight }, plan);
  for (const tuple of tuples) copy.row(tuple);
  copy.end();
}

/** Rows that are new, many of them: straight into the table, or through a staging table where their values must be converted. */
export function copyInto(
  { session, flight }: Omit<Wire, 'writer'>,
  plan: TablePlan,
): { row: (tuple: TupleRef) => void; end: () => void } {
  const staged = plan.converts || plan.text.includes(1);
  if (staged) ensureStage(session, flight, plan);
  const group = staged ? session.stageGroups(1) : null;
  const copy = new CopyRows(flight, staged ? copyStageSql(plan) : copySql(plan));
  return {
    row: (tuple) => copy.row(plan, tuple, group),
    end() {
      copy.end();
      if (group !== null) flight.statement(stagedInsertSql(plan, group));
    },
  };
}

function ensureStage(session: Session, flight: Flight, plan: TablePlan): void {
  if (session.hasStage(plan.id)) return;
  flight.statement(createStageSql(plan));
  session.madeStage(plan.id);
}
