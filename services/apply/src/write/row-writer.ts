/**
 * Writes by single prepared statements, bytes as parameters, many in one flight. The order of the calls is the order of the
 * writes; every strict statement's count is checked when the flight is back, or by the server on its way.
 */
import { DroverError } from '@drover/core';
import { quoteIdent } from '@drover/pg';
import { hasUnchanged, keyOf, mergeTuples, type TupleRef, UNCHANGED } from '../changes/tuple.ts';
import type { Answer, Flight } from '../target/flight.ts';
import type { Session } from '../target/session.ts';
import type { TablePlan } from '../target/table-plan.ts';
import { bindParams, columnOffsets, type Param } from './encode.ts';
import {
  compared,
  deleteOneSql,
  deleteSql,
  insertSql,
  MET_BY_SQL,
  metSql,
  replaceSql,
  settable,
  table,
  updateOneSql,
  updateSql,
} from './statements.ts';

/** A row whose unchanged values nobody has: it was copied neither before nor after. Migration copies it anew. */
export interface Miss {
  readonly tenant: number;
  readonly plan: TablePlan;
  readonly key: TupleRef;
}

type Check = (answers: readonly Answer[]) => void;

/** `answers`: by what came back. `server`: by the server, without a word of which row it was (SQLSTATE DR006). */
export type Checking = 'answers' | 'server';

const OLD_ROW = 0x4f;

export class RowWriter {
  readonly #session: Session;
  readonly #flight: Flight;
  readonly checking: Checking;
  readonly #checks: Check[] = [];
  readonly misses: Miss[] = [];

  constructor(session: Session, flight: Flight, checking: Checking) {
    this.#session = session;
    this.#flight = flight;
    this.checking = checking;
  }

  get statements(): number {
    return this.#flight.statements;
  }

  /** An answer says whether what was written is what was meant. */
  get checks(): boolean {
    return this.#checks.length > 0;
  }

  /** @throws DroverError `apply.missing_row` when a strict statement met no row. */
  check(answers: readonly Answer[]): void {
    for (const check of this.#checks) check(answers);
  }

  /** A set of rows is written, and has to meet so many. */
  strictly(sql: string, count: number, plan: TablePlan, what: string): void {
    if (this.checking === 'server') {
      this.#flight.statement(MET_BY_SQL, [sql, String(count)]);
      return;
    }
    this.#flight.statement(sql);
    this.expect(count, plan, what);
  }

  /** Adds a check of the statement that was added last. */
  expect(count: number, plan: TablePlan, what: string): void {
    const index = this.#flight.statements - 1;
    this.#checks.push((answers) => {
      const got = answers[index]?.count ?? 0;
      if (got !== count) throw missing(plan, what, count - got);
    });
  }

  insert(plan: TablePlan, lenient: boolean, tuple: TupleRef): void {
    const at = offsets(plan, tuple);
    if (lenient && plan.key !== null) this.deleteByKey(plan, true, tuple);
    this.#run(plan, insertSql(plan), all(plan), tuple, at);
  }

  deleteByKey(plan: TablePlan, lenient: boolean, tuple: TupleRef): void {
    const key = plan.key ?? [];
    this.#delete(plan, deleteSql(plan, key), key, tuple, lenient);
  }

  /** One of the rows equal to `tuple`. */
  deleteOne(plan: TablePlan, lenient: boolean, tuple: TupleRef): void {
    this.#delete(plan, deleteOneSql(plan), all(plan), tuple, lenient);
  }

  delete(plan: TablePlan, lenient: boolean, tuple: TupleRef): void {
    if (plan.key === null) this.deleteOne(plan, lenient, tuple);
    else this.deleteByKey(plan, lenient, tuple);
  }

  /** `old` is the old key or row as sent, null when the key did not change. */
  update(
    plan: TablePlan,
    tenant: number,
    lenient: boolean,
    old: TupleRef | null,
    oldKind: number,
    given: TupleRef,
  ): void {
    const tuple =
      old !== null && oldKind === OLD_ROW && hasUnchanged(given) ? mergeTuples(given, old) : given;
    if (plan.key === null) {
      if (old === null) throw missing(plan, 'UPDATE without an old row', 1);
      if (plan.replaces) {
        this.deleteOne(plan, lenient, old);
        this.insert(plan, false, tuple);
        return;
      }
      const set = settable(plan, unchangedMask(plan, tuple));
      this.#update(plan, updateOneSql(plan, set), { set, tuple, where: all(plan), keyed: old }, lenient);
      return;
    }
    if (old === null || !keyChanged(plan, old, tuple)) {
      this.#updateInPlace(plan, tenant, lenient, old ?? tuple, tuple);
      return;
    }
    if (lenient) this.#moveLenient(plan, tenant, old, tuple);
    else this.#move(plan, old, tuple, 'strict');
  }

  #updateInPlace(plan: TablePlan, tenant: number, lenient: boolean, keyed: TupleRef, tuple: TupleRef): void {
    const mask = unchangedMask(plan, tuple);
    const set = settable(plan, mask);
    const key = plan.key ?? [];
    if (plan.replaces) this.#move(plan, keyed, tuple, lenient ? 'lenient' : 'strict');
    else this.#update(plan, updateSql(plan, key, set), { set, tuple, where: key, keyed }, lenient);
    if (lenient && mask.includes(true)) this.#noteMiss(tenant, plan, tuple, [this.#flight.statements - 1]);
  }

  /** The row under the old key gets the new one. Strict: exactly one. */
  #move(plan: TablePlan, old: TupleRef, tuple: TupleRef, counting: 'strict' | 'lenient'): void {
    const mask = unchangedMask(plan, tuple);
    const key = plan.key ?? [];
    const always = plan.replaces || key.some((index) => plan.columns[index]?.identityAlways === true);
    const set = plan.columns.flatMap((c, index) =>
      !mask[index] && (always || !c.identityAlways) ? [index] : [],
    );
    const lenient = counting === 'lenient';
    const values = { set, tuple, where: key, keyed: old };
    if (!always) this.#update(plan, updateSql(plan, key, set), values, lenient);
    else {
      this.#bind(plan, replaceSql(plan, key, set), values);
      if (!lenient) this.expect(1, plan, 'UPDATE');
    }
  }

  /**
   * A key change among rows that a copy may have brought: a row under the new key came with its later state, so it takes what
   * the change says and keeps what the change leaves; otherwise the row under the old key moves, or is made.
   */
  #moveLenient(plan: TablePlan, tenant: number, old: TupleRef, tuple: TupleRef): void {
    if (!hasUnchanged(tuple)) {
      this.deleteByKey(plan, true, old);
      this.insert(plan, true, tuple);
      return;
    }
    const key = plan.key ?? [];
    if (plan.replaces) this.#move(plan, tuple, tuple, 'lenient');
    else {
      const set = settable(plan, unchangedMask(plan, tuple));
      this.#bind(plan, updateSql(plan, key, set), { set, tuple, where: key, keyed: tuple });
    }
    const inPlace = this.#flight.statements - 1;
    const condition = deleteSql(plan, key);
    const newKey = key.map((index, i) => {
      const c = plan.columns[index];
      const value = `$${key.length + i + 1}`;
      const given = c === undefined ? value : compared(c, value);
      return `n.${quoteIdent(c?.name ?? '')} OPERATOR(${c?.equals ?? 'pg_catalog.='}) ${given}`;
    });
    const sql = `${condition} AND EXISTS (SELECT FROM ${table(plan)} AS n WHERE ${newKey.join(' AND ')})`;
    this.#bind(plan, sql, { set: key, tuple: old, where: key, keyed: tuple });
    this.#move(plan, old, tuple, 'lenient');
    this.#noteMiss(tenant, plan, tuple, [inPlace, this.#flight.statements - 1]);
  }

  #noteMiss(tenant: number, plan: TablePlan, key: TupleRef, statements: readonly number[]): void {
    this.#checks.push((answers) => {
      if (statements.every((index) => (answers[index]?.count ?? 0) === 0))
        this.misses.push({ tenant, plan, key });
    });
  }

  #run(plan: TablePlan, sql: string, columns: readonly number[], tuple: TupleRef, at: Int32Array): void {
    const name = this.#session.prepared(this.#flight, sql, types(plan, columns));
    bindParams(this.#flight, name, params(columns, tuple, at));
  }

  #delete(plan: TablePlan, sql: string, columns: readonly number[], tuple: TupleRef, lenient: boolean): void {
    const byServer = !lenient && this.checking === 'server';
    this.#run(plan, byServer ? metSql(sql) : sql, columns, tuple, offsets(plan, tuple));
    if (!lenient && !byServer) this.expect(1, plan, 'DELETE');
  }

  #update(plan: TablePlan, sql: string, values: Values, lenient: boolean): void {
    const byServer = !lenient && this.checking === 'server';
    this.#bind(plan, byServer ? metSql(sql) : sql, values);
    if (!lenient && !byServer) this.expect(1, plan, 'UPDATE');
  }

  #bind(plan: TablePlan, sql: string, { set, tuple, where, keyed }: Values): void {
    const name = this.#session.prepared(this.#flight, sql, [...types(plan, set), ...types(plan, where)]);
    bindParams(this.#flight, name, [
      ...params(set, tuple, offsets(plan, tuple)),
      ...params(where, keyed, offsets(plan, keyed)),
    ]);
  }
}

/** Parameters: the `set` columns of `tuple`, then the `where` columns of `keyed`. */
interface Values {
  readonly set: readonly number[];
  readonly tuple: TupleRef;
  readonly where: readonly number[];
  readonly keyed: TupleRef;
}

export function missing(plan: TablePlan, what: string, rows: number): DroverError {
  const name = `${plan.relation.schema}.${plan.relation.name}`;
  return new DroverError('apply.missing_row', `${what} on ${name} met ${rows} row(s) too few`, {
    hint: 'the replica was changed by other hands; `drover verify` names the keys',
    facts: { table: name, rows },
  });
}

/** By index in `plan.columns`: is the column unchanged TOAST? */
export function unchangedMask(plan: TablePlan, tuple: TupleRef): boolean[] {
  const at = offsets(plan, tuple);
  return plan.columns.map((_, index) => tuple.bytes[at[index] as number] === UNCHANGED);
}

function keyChanged(plan: TablePlan, old: TupleRef, tuple: TupleRef): boolean {
  const key = keyOf(tuple.bytes, tuple.start, tuple.end, plan.keySource);
  // A key that is unchanged TOAST in the new tuple did not change.
  return key !== undefined && key !== keyOf(old.bytes, old.start, old.end, plan.keySource);
}

const all = (plan: TablePlan): number[] => plan.columns.map((_, index) => index);

const types = (plan: TablePlan, columns: readonly number[]): number[] =>
  // A converted value has its own type, which the statement names.
  columns.map((index) => (plan.columns[index]?.from === null ? plan.columns[index].typeOid : 0));

function offsets(plan: TablePlan, tuple: TupleRef): Int32Array {
  const at = new Int32Array(plan.columns.length);
  columnOffsets(plan, tuple, at);
  return at;
}

const params = (columns: readonly number[], tuple: TupleRef, at: Int32Array): Param[] =>
  columns.map((index) => ({ bytes: tuple.bytes, at: at[index] as number }));
