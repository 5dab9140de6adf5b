/**
 * The net effect of a table's changes, per row: what must go, what must change, what must come. Pure. Executed in the
 * order deletes, updates, inserts it equals applying the changes one by one (fold.prop.test.ts), or {@link Fold.unfoldable}
 * says that only the row order will tell.
 *
 * Rows are told apart by the bytes of their key and by tenant, so that a row that moves between two tenants is a delete
 * of one and an insert of the other, whichever comes first.
 *
 * Strict changes carry what they found at the source: an update or delete says that its row is there. Lenient ones (rows that
 * a copy may have brought already) replace what they meet and pass over what they miss.
 */
import { DELETE, INSERT, UPDATE } from '../changes/decoded-block.ts';
import { hasUnchanged, keyOf, mergeTuples, type TupleRef } from '../changes/tuple.ts';

export interface NetRow {
  /** Tuple that carries the key of the row as it stands on the target before the batch. */
  readonly key: TupleRef;
  /** Is there a row before the batch? `any`: a lenient change does not know. */
  readonly before: 'present' | 'absent' | 'any';
  /** The row afterwards; null: none. */
  after: TupleRef | null;
  /** `after` has unchanged columns: the target's values stay. */
  partial: boolean;
  /** The row was made anew (insert, or delete and insert): not an update of what was there. */
  fresh: boolean;
}

const OLD_ROW = 0x4f;

export class Fold {
  readonly #keySource: readonly number[];
  readonly #rows = new Map<number, Map<string, NetRow>>();
  #lastTenant = -1;
  #lastRows: Map<string, NetRow> | undefined;
  #unfoldable: string | null = null;

  /** @param keySource the key's columns as indexes in the source's tuples, ascending. */
  constructor(keySource: readonly number[]) {
    this.#keySource = keySource;
  }

  /** Why the net effect cannot be told without the target's rows, or null. */
  get unfoldable(): string | null {
    return this.#unfoldable;
  }

  /** Every row the changes touched, with the number of its tenant. */
  *entries(): Iterable<[number, NetRow]> {
    for (const [tenant, rows] of this.#rows) for (const row of rows.values()) yield [tenant, row];
  }

  add(
    tenant: number,
    lenient: boolean,
    op: number,
    oldKind: number,
    bytes: Buffer,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
  ): void {
    const rows = this.#of(tenant);
    if (op === INSERT) {
      const tuple = { bytes, start: newStart, end: newEnd };
      this.#insert(rows, lenient, this.#key(tuple), tuple);
    } else if (op === DELETE) {
      const tuple = { bytes, start: oldStart, end: oldEnd };
      this.#delete(rows, lenient, this.#key(tuple), tuple);
    } else if (op === UPDATE) {
      const old = oldKind === 0 ? null : { bytes, start: oldStart, end: oldEnd };
      let tuple: TupleRef = { bytes, start: newStart, end: newEnd };
      // Under FULL the old row holds what the new one leaves unchanged.
      if (old !== null && oldKind === OLD_ROW && hasUnchanged(tuple)) tuple = mergeTuples(tuple, old);
      this.#update(rows, lenient, old, tuple);
    }
  }

  #of(tenant: number): Map<string, NetRow> {
    if (tenant === this.#lastTenant && this.#lastRows !== undefined) return this.#lastRows;
    let rows = this.#rows.get(tenant);
    if (rows === undefined) {
      rows = new Map();
      this.#rows.set(tenant, rows);
    }
    this.#lastTenant = tenant;
    this.#lastRows = rows;
    return rows;
  }

  #key(tuple: TupleRef): string {
    const key = keyOf(tuple.bytes, tuple.start, tuple.end, this.#keySource);
    if (key === undefined) this.#unfoldable ??= 'a key column is an unchanged TOAST value';
    return key ?? '';
  }

  #insert(rows: Map<string, NetRow>, lenient: boolean, key: string, tuple: TupleRef): void {
    const row = rows.get(key);
    if (row === undefined) {
      const before = lenient ? 'any' : 'absent';
      rows.set(key, { key: tuple, before, after: tuple, partial: false, fresh: true });
      return;
    }
    if (row.after !== null && !lenient) this.#unfoldable ??= 'an insert meets a row of the same key';
    row.after = tuple;
    row.partial = false;
    row.fresh = true;
  }

  #delete(rows: Map<string, NetRow>, lenient: boolean, key: string, tuple: TupleRef): NetRow | undefined {
    const row = rows.get(key);
    if (row === undefined) {
      const before = lenient ? 'any' : 'present';
      rows.set(key, { key: tuple, before, after: null, partial: false, fresh: false });
      return undefined;
    }
    const was = { ...row };
    if (row.after === null && !lenient) this.#unfoldable ??= 'a delete meets a row that is gone';
    row.after = null;
    row.partial = false;
    return was;
  }

  #update(rows: Map<string, NetRow>, lenient: boolean, old: TupleRef | null, tuple: TupleRef): void {
    const partial = hasUnchanged(tuple);
    const newKey = keyOf(tuple.bytes, tuple.start, tuple.end, this.#keySource);
    const oldKey = old === null ? newKey : this.#key(old);
    if (oldKey === undefined) {
      this.#unfoldable ??= 'a key column is an unchanged TOAST value';
      return;
    }
    // A key column that is unchanged in the new tuple leaves the whole key to the old one: only the row order can tell.
    if (newKey === undefined) {
      this.#unfoldable ??= 'a key column is an unchanged TOAST value';
      return;
    }
    if (oldKey !== newKey) {
      this.#move(rows, lenient, oldKey, newKey, old ?? tuple, tuple, partial);
      return;
    }
    const row = rows.get(newKey);
    if (row === undefined) {
      const before = lenient ? 'any' : 'present';
      rows.set(newKey, { key: tuple, before, after: tuple, partial, fresh: false });
      return;
    }
    if (row.after === null) {
      if (!lenient) this.#unfoldable ??= 'an update meets a row that is gone';
      return;
    }
    row.after = partial ? mergeTuples(tuple, row.after) : tuple;
    row.partial = partial && row.partial;
  }

  #move(
    rows: Map<string, NetRow>,
    lenient: boolean,
    oldKey: string,
    newKey: string,
    old: TupleRef,
    tuple: TupleRef,
    partial: boolean,
  ): void {
    const was = this.#delete(rows, lenient, oldKey, old);
    let whole = tuple;
    if (partial) {
      if (was === undefined || was.after === null || was.partial) {
        this.#unfoldable ??=
          'a key changes and the row has unchanged TOAST values that only the target knows';
        return;
      }
      whole = mergeTuples(tuple, was.after);
    }
    this.#insert(rows, lenient, newKey, whole);
  }
}
