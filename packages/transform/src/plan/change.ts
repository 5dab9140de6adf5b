/**
 * One change through a plan: what is left of it, and its new tuples. Row filters as PostgreSQL has them (manual, 29.4.2): an update whose row
 * enters the filter is an insert, one whose row leaves it a delete, one that stays outside is nothing.
 */
import type { Cells } from './cells.ts';
import { TupleOut } from './tuple-out.ts';
import type { TuplePlan } from './tuple-plan.ts';

/**
 * Filled by each call of a {@link Changer}; made once and reused. Old and new stand in the same bytes, the changer's own, valid until its next call.
 */
export interface Change {
  kind: 'insert' | 'update' | 'delete' | 'none';
  oldKind: 'K' | 'O' | null;
  bytes: Buffer;
  oldStart: number;
  oldEnd: number;
  newStart: number;
  newEnd: number;
}

const EMPTY = Buffer.alloc(0);
const KEPT_BYTES_MAX = 1024 * 1024;

export class Changer {
  readonly #out: TupleOut;
  readonly #keeps: boolean;
  readonly #change: Change = {
    kind: 'none',
    oldKind: null,
    bytes: EMPTY,
    oldStart: 0,
    oldEnd: 0,
    newStart: 0,
    newEnd: 0,
  };

  /** `out`: tuples are added to it and stay, those that pass untouched, too; absent: room of its own, used again for each change. */
  constructor(out?: TupleOut) {
    this.#out = out ?? new TupleOut();
    this.#keeps = out !== undefined;
  }

  insert(plan: TuplePlan, bytes: Buffer, start: number, end: number): Change {
    const cells = plan.cells.locate(bytes, start, end);
    this.#begin();
    if (plan.passes(bytes, cells)) this.#new(plan, 'insert', bytes, cells, start, end);
    return this.#end();
  }

  delete(plan: TuplePlan, oldKind: 'K' | 'O', bytes: Buffer, start: number, end: number): Change {
    const cells = plan.oldCells.locate(bytes, start, end);
    this.#begin();
    if (plan.passes(bytes, cells)) {
      this.#change.kind = 'delete';
      this.#old(plan, oldKind, bytes, cells, start, end);
    }
    return this.#end();
  }

  update(
    plan: TuplePlan,
    oldKind: 'K' | 'O' | null,
    bytes: Buffer,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
  ): Change {
    const cells = plan.cells.locate(bytes, newStart, newEnd);
    this.#begin();
    if (oldKind === null) {
      // What the filter reads is in the identity, which did not change: both rows pass, or neither.
      if (plan.passes(bytes, cells)) this.#new(plan, 'update', bytes, cells, newStart, newEnd);
      return this.#end();
    }
    const old = plan.oldCells.locate(bytes, oldStart, oldEnd);
    const whole = cells.unchanged === 0 ? cells : this.#whole(plan, oldKind, bytes, cells, old);
    const before = plan.passes(bytes, old);
    const after = plan.passes(bytes, whole);
    if (before) this.#old(plan, oldKind, bytes, old, oldStart, oldEnd);
    if (before && !after) this.#change.kind = 'delete';
    else if (before) this.#new(plan, 'update', bytes, cells, newStart, newEnd);
    else if (after) this.#new(plan, 'insert', bytes, whole, newStart, newEnd);
    return this.#end();
  }

  /** Cells that the source left out, from the old row: all of them under FULL, otherwise those of the key. */
  #whole(plan: TuplePlan, oldKind: 'K' | 'O', bytes: Buffer, cells: Cells, old: Cells): Cells {
    const { columns } = plan.source;
    const has = (column: number) => oldKind === 'O' || columns[column]?.key === true;
    return plan.wholeCells.filled(cells, old, bytes, has);
  }

  #begin(): void {
    if (!this.#keeps) this.#out.reset(KEPT_BYTES_MAX);
    const change = this.#change;
    change.kind = 'none';
    change.oldKind = null;
    change.oldStart = change.oldEnd = change.newStart = change.newEnd = 0;
  }

  #old(plan: TuplePlan, kind: 'K' | 'O', bytes: Buffer, cells: Cells, start: number, end: number): void {
    const change = this.#change;
    change.oldKind = kind;
    change.oldStart = this.#out.at;
    this.#write(plan, bytes, cells, kind === 'K', start, end);
    change.oldEnd = this.#out.at;
  }

  #new(
    plan: TuplePlan,
    kind: 'insert' | 'update',
    bytes: Buffer,
    cells: Cells,
    start: number,
    end: number,
  ): void {
    const change = this.#change;
    change.kind = kind;
    change.newStart = this.#out.at;
    if (cells === plan.wholeCells) plan.write(bytes, cells, false, this.#out);
    else this.#write(plan, bytes, cells, false, start, end);
    change.newEnd = this.#out.at;
  }

  #write(plan: TuplePlan, bytes: Buffer, cells: Cells, keyOnly: boolean, start: number, end: number): void {
    if (plan.touched) plan.write(bytes, cells, keyOnly, this.#out);
    else this.#out.copy(bytes, start, end);
  }

  #end(): Change {
    this.#change.bytes = this.#out.bytes;
    return this.#change;
  }
}

/** The new tuple of a row, on its own. Filters are not asked. */
export function apply(plan: TuplePlan, bytes: Buffer, start: number, end: number, keyOnly = false): Buffer {
  const out = new TupleOut(end - start + 64);
  plan.write(bytes, plan.cells.locate(bytes, start, end), keyOnly, out);
  return out.bytes.subarray(0, out.at);
}
