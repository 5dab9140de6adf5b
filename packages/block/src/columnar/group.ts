/** One group's columns, in order, each from its own plan; and back. */
import { corrupt } from '../header.ts';
import { type ByteReader, ByteWriter } from './bytes.ts';
import { type Cells, OWN_TEXT } from './cells.ts';
import { decodeColumn, type References } from './decode-cells.ts';
import type { Flat } from './flat.ts';
import type { GroupView } from './group-view.ts';
import type { Plan } from './plan.ts';
import type { Group } from './scan.ts';
import { markOf, rewind, type StreamSink, type StreamSource, sinkSize } from './streams.ts';
import { chooseWrapper, wrappingOf } from './wrapper-choice.ts';
import { UNWRAPPED, writeWrapped } from './wrappers.ts';

/** Where a column's text ended up, for deciding whether it should have a frame of its own. */
export interface TextPart {
  readonly plan: Plan;
  readonly start: number;
  readonly end: number;
}

export interface EncodedGroup {
  /** Text streams that are frames of their own, in the order of the columns. */
  readonly own: ByteWriter[];
  readonly parts: TextPart[];
  /** Whether a column's codec was chosen anew. */
  planned: boolean;
}

const SIZES = [16, 64, 512];

/** Groups of about the same size share a plan: what suits many rows does not suit few. */
export function sizeClass(rows: number): number {
  let size = 0;
  while (size < SIZES.length && rows >= (SIZES[size] as number)) size++;
  return size;
}

export function encodeGroup(
  group: Group,
  body: Buffer,
  times: Float64Array | null,
  sink: StreamSink,
  plan: Plan,
): EncodedGroup {
  const out: EncodedGroup = { own: [], parts: [], planned: false };
  const view = viewOf(group, body, times);
  for (let column = 0; column < group.columns; column++) {
    const own = plan.child(String(column));
    if (own.due) {
      chooseWrapper(view, column, own);
      out.planned = true;
    }
    const apart = own.memory === OWN_TEXT;
    const target = apart ? { ...sink, text: new ByteWriter() } : sink;
    const start = target.text.size;
    encodeColumn(view, column, target, own, apart ? OWN_TEXT : 0);
    if (apart) out.own.push(target.text);
    out.parts.push({ plan: own, start, end: target.text.size });
  }
  return out;
}

function encodeColumn(view: GroupView, column: number, sink: StreamSink, plan: Plan, flags: number): void {
  const mark = markOf(sink);
  const before = sinkSize(sink);
  if (!writeWrapped(wrappingOf(plan.choice), view, column, sink, plan, flags)) {
    rewind(sink, mark);
    writeWrapped(UNWRAPPED, view, column, sink, plan, flags);
  }
  plan.observe(sinkSize(sink) - before, view.rows);
}

function viewOf(group: Group, body: Buffer, times: Float64Array | null): GroupView {
  const { rows, kinds, starts, ends, relation } = group;
  const columns: Cells[] = [];
  for (let column = 0; column < group.columns; column++) {
    const from = column * rows;
    columns.push({
      bytes: body,
      kinds: kinds.subarray(from, from + rows),
      starts: starts.subarray(from, from + rows),
      ends: ends.subarray(from, from + rows),
      count: rows,
    });
  }
  return {
    op: group.op,
    rows,
    typeOids: typesOf(relation.typeOids, group.columns),
    columns,
    times,
    ints: [],
    orders: [],
  };
}

/** Of old and new columns. */
export function typesOf(typeOids: readonly number[], columns: number): readonly number[] {
  return columns === typeOids.length ? typeOids : [...typeOids, ...typeOids];
}

/** @throws DroverError `block.corrupt` */
export function decodeGroup(
  rows: number,
  typeOids: readonly number[],
  times: () => Float64Array,
  source: StreamSource,
  nextOwn: () => ByteReader,
): Flat[] {
  const columns: Flat[] = [];
  const references: References = { times, columns, typeOids, orders: [] };
  for (const typeOid of typeOids) {
    const head = source.numbers.u8();
    const spend = (bytes: number): void => source.spend(bytes);
    const own = (head & OWN_TEXT) === 0 ? source : { ...source, text: nextOwn(), spend };
    columns.push(decodeColumn(head, own, typeOid, rows, references));
    if (own !== source && own.text.left !== 0) throw leftOver();
  }
  return columns;
}

function leftOver(): Error {
  return corrupt('a column has bytes to spare');
}
