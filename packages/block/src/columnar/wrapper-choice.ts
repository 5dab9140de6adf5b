/**
 * Which wrapper suits a column. All of it is tried only while planning, and only for columns that take room; afterwards the remembered choice is
 * applied.
 */
import { Op } from '../format.ts';
import { type Cells, pickCells, subtract, uniformKind } from './cells.ts';
import { readFixed } from './fixed.ts';
import { type GroupView, intsOf, orderOf } from './group-view.ts';
import { chooseCode } from './ints/choose.ts';
import { isNear } from './ints/wide.ts';
import type { Order } from './order.ts';
import type { Plan } from './plan.ts';
import { Kind } from './records.ts';
import { markOf, newSink, weigh } from './streams.ts';
import { equal } from './strings/byte-index.ts';
import { valueType } from './types.ts';
import { Wrapper } from './wrapper-ids.ts';
import { partOf, UNWRAPPED, type Wrapping, writeWrapped } from './wrappers.ts';

/** Columns smaller than this are not worth a search. */
const SEARCH_BYTES_MIN = 48;
const GAIN_MIN = 0.95;
const GAIN_BYTES_MIN = 12;
const ROWS_MIN = 16;
const REFERENCES_MAX = 12;
const KEYS_MAX = 6;

/** Part of no format: how a plan remembers it. */
function choiceOf({ wrapper, reference }: Wrapping): number {
  return wrapper + 4 * reference;
}

export function wrappingOf(choice: number): Wrapping {
  // The cast holds for what `choiceOf` made.
  return { wrapper: (choice % 4) as Wrapper, reference: Math.floor(choice / 4) };
}

/** Tries what there is on the column's values and settles the plan. */
export function chooseWrapper(view: GroupView, column: number, plan: Plan): void {
  plan.clear();
  plan.settle(choiceOf(UNWRAPPED), 0, 0);
  const kind = uniformKind(view.columns[column] as Cells);
  if (kind === Kind.null || kind === Kind.unchanged) return;
  let best = UNWRAPPED;
  let least = weighWrapped(best, view, column, plan);
  if (view.rows < ROWS_MIN) return;
  const consider = (wrapper: Wrapper, reference: number): void => {
    if (least < SEARCH_BYTES_MIN) return;
    const tried = { wrapper, reference };
    const bytes = weighWrapped(tried, view, column, plan);
    const better = bytes <= least * GAIN_MIN && bytes <= least - GAIN_BYTES_MIN;
    const loser = better ? best : tried;
    if (loser !== UNWRAPPED) plan.drop(partOf(loser));
    if (!better) return;
    least = bytes;
    best = tried;
  };
  const half = view.columns.length / 2;
  if (hasOld(view) && column >= half) consider(Wrapper.same, column - half + 1);
  const nearest = least < SEARCH_BYTES_MIN ? null : nearestReference(view, column);
  if (nearest !== null) consider(Wrapper.difference, nearest);
  if (least >= SEARCH_BYTES_MIN) {
    for (const key of keysFor(view, column)) consider(Wrapper.grouped, key + 1);
  }
  plan.choice = choiceOf(best);
}

function hasOld(view: GroupView): boolean {
  return view.op === Op.updateOldKey || view.op === Op.updateOldRow;
}

function weighWrapped(wrapping: Wrapping, view: GroupView, column: number, plan: Plan): number {
  const sink = newSink();
  const mark = markOf(sink);
  if (!writeWrapped(wrapping, view, column, sink, plan, 0)) return Number.POSITIVE_INFINITY;
  return weigh(sink, mark);
}

/** The reference whose differences take fewest bits by an estimate, if fewer than the column itself. */
function nearestReference(view: GroupView, column: number): number | null {
  const cells = view.columns[column] as Cells;
  const type = valueType(view.typeOids[column] as number, true);
  if (type.kind !== 'ints' || type.width < 2) return null;
  const rows = presentRows(cells);
  if (rows.length < ROWS_MIN) return null;
  const present = pickCells(cells, rows);
  if (uniformKind(present) !== Kind.binary) return null;
  const ints = readFixed(present, type.width, type.signed);
  if (!(ints instanceof Float64Array) || !isNear(ints)) return null;
  let least = chooseCode(ints, null).bytesPerValue * GAIN_MIN;
  let best: number | null = null;
  for (const reference of referencesFor(view, column)) {
    const values = reference === 0 ? view.times : intsOf(view, reference - 1);
    if (values === null) continue;
    const less = subtract(
      ints,
      Float64Array.from(rows, (row) => values[row] as number),
    );
    if (less === null || !isNear(less)) continue;
    const { bytesPerValue } = chooseCode(less, null);
    if (bytesPerValue >= least) continue;
    least = bytesPerValue;
    best = reference;
  }
  return best;
}

function presentRows(cells: Cells): Uint32Array {
  const rows = new Uint32Array(cells.count);
  let found = 0;
  for (let i = 0; i < cells.count; i++) {
    if (cells.kinds[i] === Kind.binary || cells.kinds[i] === Kind.text) rows[found++] = i;
  }
  return rows.subarray(0, found);
}

/** Old image, commit time and the nearest columns of numbers before this one. */
function referencesFor(view: GroupView, column: number): number[] {
  const out = [0];
  const half = view.columns.length / 2;
  if (hasOld(view) && column >= half) out.push(column - half + 1);
  for (let c = column - 1; c >= 0 && out.length < REFERENCES_MAX; c--) {
    const type = valueType(view.typeOids[c] as number, true);
    if (type.kind === 'ints' && type.width >= 2 && !out.includes(c + 1)) out.push(c + 1);
  }
  return out;
}

/** Columns before this one with few values, under whose order neighbours of this one are more alike: fewest values first. */
function keysFor(view: GroupView, column: number): number[] {
  const keys: { key: number; distinct: number }[] = [];
  for (let key = 0; key < column; key++) {
    const order = orderOf(view, key);
    if (order === null || order.distinct < 2 || order.distinct * 2 > view.rows) continue;
    keys.push({ key, distinct: order.distinct });
  }
  // Many values tell more than few, as long as each comes more than once.
  keys.sort((a, b) => b.distinct - a.distinct || a.key - b.key);
  return keys
    .filter(({ key }) => looksBetter(view, column, orderOf(view, key) as Order))
    .slice(0, KEYS_MAX)
    .map(({ key }) => key);
}

/** Whether more neighbours are equal than in the order of the records; numbers may be closer without being equal. */
function looksBetter(view: GroupView, column: number, order: Order): boolean {
  const cells = view.columns[column] as Cells;
  const type = valueType(view.typeOids[column] as number, true);
  if (type.kind === 'float' || type.kind === 'numeric' || (type.kind === 'ints' && type.width > 1))
    return true;
  const { rows } = order;
  let equalNow = 0;
  let equalThen = 0;
  for (let i = 1; i < rows.length; i++) {
    if (sameCell(cells, i - 1, i)) equalNow++;
    if (sameCell(cells, rows[i - 1] as number, rows[i] as number)) equalThen++;
  }
  return equalThen - equalNow > rows.length / 20;
}

function sameCell(cells: Cells, a: number, b: number): boolean {
  const { bytes, starts, ends, kinds } = cells;
  if (kinds[a] !== kinds[b]) return false;
  return equal(bytes, starts[a] as number, ends[a] as number, starts[b] as number, ends[b] as number);
}
