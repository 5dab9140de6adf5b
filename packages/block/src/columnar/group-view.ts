/** A group while it is encoded, with what its columns are to others: numbers to subtract, orders to bring rows into. */
import { type Cells, uniformKind } from './cells.ts';
import { readFixed } from './fixed.ts';
import { isNear } from './ints/wide.ts';
import type { Ints } from './ints.ts';
import { type Order, orderByBytes, orderByInts } from './order.ts';
import { Kind } from './records.ts';
import { valueType } from './types.ts';

/** Reference 0 is the commit time, 1 + c column c. */
export interface GroupView {
  readonly op: number;
  readonly rows: number;
  readonly typeOids: readonly number[];
  readonly columns: readonly Cells[];
  /** Commit time of each row's transaction; null when a row has none. */
  readonly times: Float64Array | null;
  /** What was computed of columns before: filled as needed. */
  readonly ints: (Float64Array | null | undefined)[];
  readonly orders: (Order | null | undefined)[];
}

/** The column as near numbers, if it is that in every row. */
export function intsOf(view: GroupView, column: number): Float64Array | null {
  const known = view.ints[column];
  if (known !== undefined) return known;
  const cells = view.columns[column] as Cells;
  const type = valueType(view.typeOids[column] as number, true);
  let ints: Ints | null = null;
  if (type.kind === 'ints' && uniformKind(cells) === Kind.binary) {
    ints = readFixed(cells, type.width, type.signed);
  }
  const found = ints instanceof Float64Array && isNear(ints) ? ints : null;
  view.ints[column] = found;
  return found;
}

export function orderOf(view: GroupView, column: number): Order | null {
  const known = view.orders[column];
  if (known !== undefined) return known;
  const cells = view.columns[column] as Cells;
  const kind = uniformKind(cells);
  let order: Order | null = null;
  if (kind === Kind.binary || kind === Kind.text) {
    const ints = intsOf(view, column);
    order = ints === null ? orderByBytes(cells) : orderByInts(ints);
  }
  view.orders[column] = order;
  return order;
}
