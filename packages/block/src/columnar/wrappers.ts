/** What other columns of the row tell about a column: differences to a number, equality with the old image, an order by a key column. */
import { type Cells, encodeCells, pickCells, WRAPPER_SHIFT } from './cells.ts';
import { type GroupView, intsOf, orderOf } from './group-view.ts';
import { encodeInts } from './ints.ts';
import type { Plan } from './plan.ts';
import type { StreamSink } from './streams.ts';
import { equal } from './strings/byte-index.ts';
import { Wrapper } from './wrapper-ids.ts';

/** A wrapper and the column it refers to: 0 the commit time, 1 + c column c. */
export interface Wrapping {
  readonly wrapper: Wrapper;
  readonly reference: number;
}

export const UNWRAPPED: Wrapping = { wrapper: Wrapper.none, reference: 0 };

/** Name of the part of a column's plan that is about the values so wrapped: what suits them differs with each. */
export function partOf({ wrapper, reference }: Wrapping): string {
  return wrapper === Wrapper.none ? 'plain' : `${wrapper}.${reference}`;
}

/** False when it does not apply to these values; the sink may then hold a part of the output. */
export function writeWrapped(
  { wrapper, reference }: Wrapping,
  view: GroupView,
  column: number,
  sink: StreamSink,
  plan: Plan,
  flags: number,
): boolean {
  const cells = view.columns[column] as Cells;
  const typeOid = view.typeOids[column] as number;
  const headerAt = sink.numbers.size;
  sink.numbers.u8(flags | (wrapper << WRAPPER_SHIFT));
  const part = plan.child(partOf({ wrapper, reference }));
  if (wrapper === Wrapper.none) return encodeCells(cells, typeOid, headerAt, sink, part, null);
  if (reference > column) return false;
  sink.numbers.varint(reference);
  switch (wrapper) {
    case Wrapper.difference: {
      const values = reference === 0 ? view.times : intsOf(view, reference - 1);
      if (values === null) return false;
      return encodeCells(cells, typeOid, headerAt, sink, part, { reference: values });
    }
    case Wrapper.grouped: {
      const order = orderOf(view, reference - 1);
      if (order === null) return false;
      return encodeCells(pickCells(cells, order.rows), typeOid, headerAt, sink, part, null);
    }
    default: {
      const changed = changedRows(cells, view.columns[reference - 1] as Cells);
      if (changed.rows.length * 2 > view.rows) return false;
      encodeInts(changed.flags, sink, part.child('changed'));
      if (changed.rows.length === 0) return true;
      const rest = pickCells(cells, changed.rows);
      return encodeCells(rest, typeOid, headerAt, sink, part, null);
    }
  }
}

function changedRows(cells: Cells, reference: Cells): { flags: Float64Array; rows: Uint32Array } {
  const flags = new Float64Array(cells.count);
  const rows = new Uint32Array(cells.count);
  let found = 0;
  const { bytes, starts, ends } = cells;
  for (let i = 0; i < cells.count; i++) {
    if (
      cells.kinds[i] === reference.kinds[i] &&
      equal(
        bytes,
        starts[i] as number,
        ends[i] as number,
        reference.starts[i] as number,
        reference.ends[i] as number,
      )
    ) {
      continue;
    }
    flags[i] = 1;
    rows[found++] = i;
  }
  return { flags, rows: rows.subarray(0, found) };
}
