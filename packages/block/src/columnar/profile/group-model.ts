/** Rows of one table and operation, cell by cell: what kind each is, whether it is as in the old image, and its value. */
import { corrupt } from '../../header.ts';
import type { ByteWriter } from '../bytes.ts';
import { Kind } from '../records.ts';
import { valueType } from '../types.ts';
import type { Row } from './body.ts';
import type { CodeSink, CodeSource, ValueModel } from './context.ts';
import { readFixedAt } from './fixed-at.ts';
import type { Table } from './table.ts';

/** By symbol, which is part of the format. */
export const KINDS = [Kind.binary, Kind.text, Kind.null, Kind.unchanged] as const;

export interface CellModel {
  /** Of columns with an old image: 0 as there, 1 otherwise. */
  readonly same: Table | null;
  readonly kinds: Table;
  /** Of values of the commoner kind. */
  readonly kind: number;
  readonly value: ValueModel;
  /** Of values of the other kind. */
  readonly rest: ValueModel;
}

export interface GroupModel {
  readonly op: number;
  /** Index in the profile. */
  readonly relation: number;
  /** Of old and new columns. */
  readonly widths: readonly number[];
  readonly cells: readonly CellModel[];
}

/** Bytes of whole numbers in their binary form, 0 for other types. */
export function widthsOf(typeOids: readonly number[], columns: number): number[] {
  return Array.from({ length: columns }, (_, column) => {
    const type = valueType(typeOids[column % typeOids.length] as number, true);
    return type.kind === 'ints' ? type.width : 0;
  });
}

/** The cell as a number other columns may refer to; NaN when it is none. */
export function intAt(width: number, kind: number, bytes: Buffer, start: number, end: number): number {
  return width === 0 || kind !== Kind.binary ? Number.NaN : readFixedAt(bytes, start, end, width);
}

export function encodeRow(group: GroupModel, row: Row, body: Buffer, to: CodeSink): void {
  const { cells, widths } = group;
  const half = cells.length / 2;
  for (let column = 0; column < cells.length; column++) {
    const kind = row.kinds[column] as number;
    const start = row.starts[column] as number;
    const end = row.ends[column] as number;
    encodeCell(
      cells[column] as CellModel,
      sameCell(row, body, column, column - half),
      kind,
      to,
      body,
      start,
      end,
    );
    to.context.ints[column] = intAt(widths[column] as number, kind, body, start, end);
  }
}

function encodeCell(
  cell: CellModel,
  same: boolean,
  kind: number,
  to: CodeSink,
  body: Buffer,
  start: number,
  end: number,
): void {
  if (cell.same !== null) {
    cell.same.put(to.range, same ? 0 : 1);
    if (same) return;
  }
  cell.kinds.put(to.range, KINDS.indexOf(kind as (typeof KINDS)[number]));
  if (kind === Kind.null || kind === Kind.unchanged) return;
  (kind === cell.kind ? cell.value : cell.rest).encode(to, body, start, end);
}

/** Of columns without an old image `old` is no column. */
export function sameCell(row: Row, body: Buffer, column: number, old: number): boolean {
  if (!(old >= 0) || row.kinds[column] !== row.kinds[old]) return false;
  const start = row.starts[column] as number;
  const end = row.ends[column] as number;
  return body.compare(body, row.starts[old], row.ends[old], start, end) === 0;
}

const ROW_HEAD = 7;

/** Appends the record. @throws DroverError `block.corrupt` */
export function decodeRow(group: GroupModel, relation: number, tuples: number, from: CodeSource): void {
  const { out } = from;
  const { cells, widths, op } = group;
  const head = out.take(ROW_HEAD + 4 * (tuples - 1));
  out.bytes[head] = op;
  out.bytes.writeUInt16BE(relation, head + 1);
  const columns = cells.length / tuples;
  /** Where each cell's kind byte stands, to copy from. */
  const places: number[] = [];
  for (let tuple = 0; tuple < tuples; tuple++) {
    const start = out.take(2);
    out.bytes.writeUInt16BE(columns, start);
    for (let column = tuple * columns; column < (tuple + 1) * columns; column++) {
      places.push(out.at);
      const cell = cells[column] as CellModel;
      const same = cell.same !== null && cell.same.get(from.range) === 0;
      if (same) copyCell(from, places[column - columns] as number);
      else decodeCell(cell, from);
      noteInt(from, column, widths[column] as number, places[column] as number);
    }
    out.bytes.writeUInt32BE(out.at - start, head + 3 + 4 * tuple);
  }
}

function copyCell({ out }: CodeSource, place: number): void {
  const kind = out.bytes[place] as number;
  const length = kind === Kind.binary || kind === Kind.text ? 5 + out.bytes.readUInt32BE(place + 1) : 1;
  out.copy(out.bytes, place, place + length);
}

function decodeCell(cell: CellModel, from: CodeSource): void {
  const { out } = from;
  const kind = KINDS[cell.kinds.get(from.range)];
  if (kind === undefined) throw corrupt('a value has an unknown kind');
  out.bytes[out.take(1)] = kind;
  if (kind === Kind.null || kind === Kind.unchanged) return;
  const length = out.take(4);
  (kind === cell.kind ? cell.value : cell.rest).decode(from);
  out.bytes.writeUInt32BE(out.at - length - 4, length);
}

function noteInt({ out, context }: CodeSource, column: number, width: number, place: number): void {
  const kind = out.bytes[place] as number;
  context.ints[column] = intAt(width, kind, out.bytes, place + 5, out.at);
}

export function writeGroup(group: GroupModel, out: ByteWriter): void {
  out.u8(group.op);
  out.varint(group.relation);
  for (const { same, kinds, kind, value, rest } of group.cells) {
    out.u8(same === null ? 0 : 1);
    same?.write(out);
    kinds.write(out);
    out.u8(kind);
    value.write(out);
    rest.write(out);
  }
}
