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
import { hasUnchanged, mergeTuples, type TupleRef } from '../changes/tuple.ts';
import { KeyTable, NO_KEY } from './key-table.ts';

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
  readonly #keys: KeyTable;
  /** By number of {@link KeyTable}. */
  readonly #rows: NetRow[] = [];
  readonly #byTenant = new Map<number, NetRow[]>();
  #lastTenant = -1;
  #lastRows: NetRow[] = [];
  #unfoldable: string | null = null;

  /** @param keySource the key's columns as indexes in the source's tuples, ascending. */
  constructor(keySource: readonly number[]) {
    this.#keys = new KeyTable(keySource);
  }

  /** Why the net effect cannot be told without the target's rows, or null. */
  get unfoldable(): string | null {
    return this.#unfoldable;
  }

  /** Every row the changes touched, with the number of its tenant, tenant by tenant: its rows lie together in the key's index. */
  *entries(): Iterable<[number, NetRow]> {
    for (const [tenant, rows] of this.#byTenant) for (const row of rows) yield [tenant, row];
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
    if (op === INSERT) {
      const tuple = { bytes, start: newStart, end: newEnd };
      this.#insert(tenant, lenient, this.#number(tenant, tuple), tuple);
    } else if (op === DELETE) {
      const tuple = { bytes, start: oldStart, end: oldEnd };
      this.#delete(tenant, lenient, this.#number(tenant, tuple), tuple);
    } else if (op === UPDATE) {
      const old = oldKind === 0 ? null : { bytes, start: oldStart, end: oldEnd };
      let tuple: TupleRef = { bytes, start: newStart, end: newEnd };
      // Under FULL the old row holds what the new one leaves unchanged.
      if (old !== null && oldKind === OLD_ROW && hasUnchanged(tuple)) tuple = mergeTuples(tuple, old);
      this.#update(tenant, lenient, old, tuple);
    }
  }

  /** A number without a row is that of the next one: whoever asks makes it, or nothing is folded. */
  #number(tenant: number, tuple: TupleRef): number {
    const number = this.#keys.numberOf(tenant, tuple.bytes, tuple.start, tuple.end);
    // A key column that is unchanged in a new tuple leaves the whole key to the old one: only the row order can tell.
    if (number === NO_KEY) this.#unfoldable ??= 'a key column is an unchanged TOAST value';
    return number;
  }

  #meet(tenant: number, number: number, row: NetRow): void {
    if (number === NO_KEY) return;
    this.#rows[number] = row;
    if (tenant !== this.#lastTenant) {
      const known = this.#byTenant.get(tenant);
      this.#lastRows = known ?? [];
      if (known === undefined) this.#byTenant.set(tenant, this.#lastRows);
      this.#lastTenant = tenant;
    }
    this.#lastRows.push(row);
  }

  #insert(tenant: number, lenient: boolean, number: number, tuple: TupleRef): void {
    const row = this.#rows[number];
    if (row === undefined) {
      const before = lenient ? 'any' : 'absent';
      this.#meet(tenant, number, { key: tuple, before, after: tuple, partial: false, fresh: true });
      return;
    }
    if (row.after !== null && !lenient) this.#unfoldable ??= 'an insert meets a row of the same key';
    row.after = tuple;
    row.partial = false;
    row.fresh = true;
  }

  #delete(tenant: number, lenient: boolean, number: number, tuple: TupleRef): NetRow | undefined {
    const row = this.#rows[number];
    if (row === undefined) {
      const before = lenient ? 'any' : 'present';
      this.#meet(tenant, number, { key: tuple, before, after: null, partial: false, fresh: false });
      return undefined;
    }
    const was = { ...row };
    if (row.after === null && !lenient) this.#unfoldable ??= 'a delete meets a row that is gone';
    row.after = null;
    row.partial = false;
    return was;
  }

  #update(tenant: number, lenient: boolean, old: TupleRef | null, tuple: TupleRef): void {
    const partial = hasUnchanged(tuple);
    const from = old === null ? null : this.#number(tenant, old);
    const number = this.#number(tenant, tuple);
    if (from === NO_KEY || number === NO_KEY) return;
    if (old !== null && from !== null && from !== number) {
      this.#move(tenant, lenient, { number: from, tuple: old }, { number, tuple, partial });
      return;
    }
    const row = this.#rows[number];
    if (row === undefined) {
      const before = lenient ? 'any' : 'present';
      this.#meet(tenant, number, { key: tuple, before, after: tuple, partial, fresh: false });
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
    tenant: number,
    lenient: boolean,
    from: { readonly number: number; readonly tuple: TupleRef },
    to: { readonly number: number; readonly tuple: TupleRef; readonly partial: boolean },
  ): void {
    const was = this.#delete(tenant, lenient, from.number, from.tuple);
    let whole = to.tuple;
    if (to.partial) {
      if (was === undefined || was.after === null || was.partial) {
        this.#unfoldable ??=
          'a key changes and the row has unchanged TOAST values that only the target knows';
        return;
      }
      whole = mergeTuples(to.tuple, was.after);
    }
    this.#insert(tenant, lenient, to.number, whole);
  }
}
