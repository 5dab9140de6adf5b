/** The records of a block's body, one by one: what a message is made of. The layout is told in `block-writer.ts`. */
import { Op } from '../../format.ts';
import { Kind, recordEnd, relationTypes, tuplesOf } from '../records.ts';

export interface RelationDefinition {
  /** Everything after the op byte. */
  readonly bytes: Buffer;
  readonly typeOids: readonly number[];
}

/** A row record: its cells, old tuple first, by column. */
export interface Row {
  readonly op: number;
  /** Index in the body. */
  readonly relation: number;
  readonly columns: number;
  readonly kinds: Uint8Array;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
}

export interface RecordVisitor {
  relation(definition: RelationDefinition, start: number, end: number): void;
  /** `at`: where the 20 bytes start. */
  begin(body: Buffer, at: number): void;
  /** `start` and `end`: the record with its op byte. The row is only valid during the call. */
  row(body: Buffer, row: Row, start: number, end: number): void;
  other(body: Buffer, start: number, end: number): void;
}

export const BEGIN_BYTES = 20;
const ROW_HEAD = 7;

class MutableRow {
  op = 0;
  relation = 0;
  columns = 0;
  kinds = new Uint8Array(64);
  starts = new Uint32Array(64);
  ends = new Uint32Array(64);

  reserve(columns: number): void {
    this.columns = columns;
    if (columns <= this.kinds.length) return;
    this.kinds = new Uint8Array(columns);
    this.starts = new Uint32Array(columns);
    this.ends = new Uint32Array(columns);
  }
}

/** False when the bytes are not the records of a writer. */
export function walkRecords(body: Buffer, visitor: RecordVisitor): boolean {
  const relations: RelationDefinition[] = [];
  const row = new MutableRow();
  let at = 0;
  while (at < body.length) {
    const op = body[at] as number;
    if (op === Op.begin) {
      if (body.length - at <= BEGIN_BYTES) return false;
      visitor.begin(body, at + 1);
      at += 1 + BEGIN_BYTES;
    } else if (tuplesOf(op) > 0) {
      const end = readRow(body, at, op, relations, row);
      if (end < 0) return false;
      visitor.row(body, row, at, end);
      at = end;
    } else {
      const end = recordEnd(body, op, at);
      if (end < 0 || end > body.length) return false;
      if (op === Op.relation) {
        const typeOids = relationTypes(body, at + 1, end);
        if (typeOids === null) return false;
        const definition = { bytes: Buffer.from(body.subarray(at + 1, end)), typeOids };
        relations.push(definition);
        visitor.relation(definition, at, end);
      } else visitor.other(body, at, end);
      at = end;
    }
  }
  return true;
}

function readRow(
  body: Buffer,
  at: number,
  op: number,
  relations: readonly RelationDefinition[],
  row: MutableRow,
): number {
  const tuples = tuplesOf(op);
  const head = at + ROW_HEAD + (tuples - 1) * 4;
  if (head > body.length) return -1;
  const relation = relations[body.readUInt16BE(at + 1)];
  if (relation === undefined) return -1;
  const columns = relation.typeOids.length;
  row.op = op;
  row.relation = body.readUInt16BE(at + 1);
  row.reserve(columns * tuples);
  let start = head;
  for (let tuple = 0; tuple < tuples; tuple++) {
    const end = start + body.readUInt32BE(at + 3 + 4 * tuple);
    if (end > body.length || !readTuple(body, start, end, row, tuple * columns, columns)) return -1;
    start = end;
  }
  return start;
}

function readTuple(
  body: Buffer,
  start: number,
  end: number,
  row: MutableRow,
  from: number,
  columns: number,
): boolean {
  if (end - start < 2 || body.readUInt16BE(start) !== columns) return false;
  let at = start + 2;
  for (let column = from; column < from + columns; column++) {
    if (at >= end) return false;
    const kind = body[at] as number;
    row.kinds[column] = kind;
    if (kind === Kind.binary || kind === Kind.text) {
      if (at + 5 > end) return false;
      row.starts[column] = at + 5;
      at += 5 + body.readUInt32BE(at + 1);
      row.ends[column] = at;
    } else if (kind === Kind.null || kind === Kind.unchanged) {
      row.starts[column] = at;
      row.ends[column] = at;
      at++;
    } else return false;
  }
  return at === end;
}
