/**
 * Parses one pgoutput message (manual, 54.9, protocol versions 1 to 4 with two-phase off, streaming off or on) and hands it to a
 * visitor as offsets. Guarantees: no object per row, no read beyond `end`, and a DroverError `pg.stream` for whatever it does
 * not know. Tuples of inserts and deletes reach to the message's end and are not walked here; whoever reads a column
 * checks it (tuple.ts).
 */
import { DroverError } from '@drover/core';
import { cstringEnd, malformed, need, readI64, readLsn } from './bytes.ts';
import { tupleEnd } from './tuple.ts';
import type { OldKind, PgoutputVisitor, Relation, RelationColumn, StreamVisitor } from './types.ts';

const NEW = 0x4e; // N
const KEY = 0x4b; // K
const OLD = 0x4f; // O

/** `inStream`: between a streamStart and its streamStop, where each message carries its transaction. */
export function parsePgoutput(
  bytes: Buffer,
  start: number,
  end: number,
  visitor: PgoutputVisitor,
  inStream = false,
): void {
  need(start, 1, end);
  const kind = bytes.readUInt8(start);
  let at = start + 1;
  if (inStream && kind !== STREAM_STOP) {
    need(at, 4, end);
    visitor.streamChange?.(bytes.readUInt32BE(at));
    at += 4;
  }
  switch (kind) {
    case 0x49: // I: Int32 relation, 'N', tuple
      need(at, 5, end);
      if (bytes[at + 4] !== NEW) throw malformed('an insert without a new row');
      visitor.insert(bytes.readUInt32BE(at), at + 5, end, bytes);
      return;
    case 0x55: // U
      parseUpdate(bytes, at, end, visitor);
      return;
    case 0x44: // D: Int32 relation, 'K' or 'O', tuple
      need(at, 5, end);
      visitor.delete(bytes.readUInt32BE(at), oldKind(bytes[at + 4]), at + 5, end, bytes);
      return;
    case 0x42: // B: Int64 final LSN, Int64 commit time, Int32 xid
      need(at, 20, end);
      visitor.begin(readLsn(bytes, at), readI64(bytes, at + 8), bytes.readUInt32BE(at + 16));
      return;
    case 0x43: // C: Int8 flags, Int64 commit LSN, Int64 end LSN, Int64 commit time
      need(at, 25, end);
      visitor.commit(readLsn(bytes, at + 1), readLsn(bytes, at + 9), readI64(bytes, at + 17));
      return;
    case 0x52: // R
      parseRelation(bytes, at, end, visitor);
      return;
    case 0x4d: // M
      parseMessage(bytes, at, end, visitor);
      return;
    case 0x54: // T
      parseTruncate(bytes, at, end, visitor);
      return;
    case 0x59: // Y
      parseType(bytes, at, end, visitor);
      return;
    case 0x4f: // O: Int64 commit LSN on the origin, String name
      need(at, 8, end);
      visitor.origin(bytes.toString('utf8', at + 8, cstringEnd(bytes, at + 8, end)));
      return;
    default:
      parseStream(kind, bytes, at, end, visitor);
  }
}

/** The message says where a stretch of a transaction in progress begins or ends, or what became of it. */
export function isStreamMessage(bytes: Buffer, start: number): boolean {
  const kind = bytes[start];
  return kind === STREAM_START || kind === STREAM_STOP || kind === STREAM_COMMIT || kind === STREAM_ABORT;
}

/** One such message. @throws DroverError `pg.stream` */
export function parseStreamMessage(bytes: Buffer, start: number, end: number, visitor: StreamVisitor): void {
  need(start, 1, end);
  parseStream(bytes.readUInt8(start), bytes, start + 1, end, visitor);
}

const STREAM_START = 0x53; // S
const STREAM_STOP = 0x45; // E
const STREAM_COMMIT = 0x63; // c
const STREAM_ABORT = 0x41; // A

function parseStream(
  kind: number,
  bytes: Buffer,
  at: number,
  end: number,
  visitor: Partial<StreamVisitor>,
): void {
  switch (kind) {
    case STREAM_START: // Int32 xid, Int8 1 for the first of the transaction
      if (visitor.streamStart === undefined) break;
      need(at, 5, end);
      visitor.streamStart(bytes.readUInt32BE(at), bytes[at + 4] === 1);
      return;
    case STREAM_STOP:
      if (visitor.streamStop === undefined) break;
      visitor.streamStop();
      return;
    case STREAM_COMMIT: // Int32 xid, Int8 flags, Int64 commit LSN, Int64 end LSN, Int64 commit time
      if (visitor.streamCommit === undefined) break;
      need(at, 29, end);
      visitor.streamCommit(
        bytes.readUInt32BE(at),
        readLsn(bytes, at + 5),
        readLsn(bytes, at + 13),
        readI64(bytes, at + 21),
      );
      return;
    case STREAM_ABORT: // Int32 xid, Int32 subtransaction; with streaming 'parallel' also Int64 LSN, Int64 time
      if (visitor.streamAbort === undefined) break;
      need(at, 8, end);
      visitor.streamAbort(bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4));
      return;
  }
  throw unknownMessage(kind);
}

/** Int32 relation, then either 'N' and the new row, or 'K' / 'O', the old one, 'N' and the new one. */
function parseUpdate(bytes: Buffer, at: number, end: number, visitor: PgoutputVisitor): void {
  need(at, 5, end);
  const oid = bytes.readUInt32BE(at);
  const first = bytes[at + 4];
  if (first === NEW) {
    visitor.update(oid, null, 0, 0, at + 5, end, bytes);
    return;
  }
  const kind = oldKind(first);
  const oldEnd = tupleEnd(bytes, at + 5, end);
  need(oldEnd, 1, end);
  if (bytes[oldEnd] !== NEW) throw malformed('an update without a new row');
  visitor.update(oid, kind, at + 5, oldEnd, oldEnd + 1, end, bytes);
}

function oldKind(byte: number | undefined): OldKind {
  if (byte === KEY) return 'K';
  if (byte === OLD) return 'O';
  throw malformed(`an old row of kind ${byte}`);
}

/** Int32 OID, String schema (empty: pg_catalog), String name, Int8 identity, Int16 columns, then each column. */
function parseRelation(bytes: Buffer, start: number, end: number, visitor: PgoutputVisitor): void {
  need(start, 4, end);
  const oid = bytes.readUInt32BE(start);
  const schemaEnd = cstringEnd(bytes, start + 4, end);
  const nameEnd = cstringEnd(bytes, schemaEnd + 1, end);
  need(nameEnd + 1, 3, end);
  const identity = String.fromCharCode(bytes.readUInt8(nameEnd + 1));
  if (identity !== 'd' && identity !== 'n' && identity !== 'f' && identity !== 'i') {
    throw malformed(`replica identity ${identity}`);
  }
  const columns: RelationColumn[] = [];
  let at = nameEnd + 4;
  for (let left = bytes.readUInt16BE(nameEnd + 2); left > 0; left--) {
    need(at, 1, end);
    const columnEnd = cstringEnd(bytes, at + 1, end);
    need(columnEnd + 1, 8, end);
    columns.push({
      name: bytes.toString('utf8', at + 1, columnEnd),
      typeOid: bytes.readUInt32BE(columnEnd + 1),
      typmod: bytes.readInt32BE(columnEnd + 5),
      key: (bytes.readUInt8(at) & 1) === 1,
    });
    at = columnEnd + 9;
  }
  const relation: Relation = {
    oid,
    schema: schemaName(bytes, start + 4, schemaEnd),
    name: bytes.toString('utf8', schemaEnd + 1, nameEnd),
    identity,
    columns,
  };
  visitor.relation(oid, relation);
}

/** Int8 flags (1: transactional), Int64 LSN, String prefix, Int32 length, content. */
function parseMessage(bytes: Buffer, at: number, end: number, visitor: PgoutputVisitor): void {
  need(at, 9, end);
  const prefixEnd = cstringEnd(bytes, at + 9, end);
  need(prefixEnd + 1, 4, end);
  const content = prefixEnd + 5;
  const length = bytes.readUInt32BE(prefixEnd + 1);
  need(content, length, end);
  const prefix = bytes.toString('utf8', at + 9, prefixEnd);
  const transactional = (bytes.readUInt8(at) & 1) === 1;
  visitor.message(transactional, readLsn(bytes, at + 1), prefix, content, content + length, bytes);
}

/** Int32 count, Int8 flags, Int32 OID each. */
function parseTruncate(bytes: Buffer, at: number, end: number, visitor: PgoutputVisitor): void {
  need(at, 5, end);
  const count = bytes.readUInt32BE(at);
  need(at + 5, count * 4, end);
  const oids: number[] = [];
  for (let i = 0; i < count; i++) oids.push(bytes.readUInt32BE(at + 5 + i * 4));
  visitor.truncate(oids, bytes.readUInt8(at + 4));
}

/** Int32 OID, String schema, String name. */
function parseType(bytes: Buffer, at: number, end: number, visitor: PgoutputVisitor): void {
  need(at, 4, end);
  const schemaEnd = cstringEnd(bytes, at + 4, end);
  const nameEnd = cstringEnd(bytes, schemaEnd + 1, end);
  const name = bytes.toString('utf8', schemaEnd + 1, nameEnd);
  visitor.type(bytes.readUInt32BE(at), schemaName(bytes, at + 4, schemaEnd), name);
}

function schemaName(bytes: Buffer, start: number, end: number): string {
  return start === end ? 'pg_catalog' : bytes.toString('utf8', start, end);
}

/** Streamed and prepared transactions must have been asked for; a slot created with two_phase sends them unasked. */
function unknownMessage(byte: number): DroverError {
  const kind = String.fromCharCode(byte);
  if ('SEcA'.includes(kind)) return malformed(`"${kind}" (streamed transaction), which was not asked for`);
  if ('bPKrp'.includes(kind)) {
    return new DroverError('pg.not_set_up', `the slot sends prepared transactions (message "${kind}")`, {
      hint: 'the slot was created with two_phase; drop it and run `drover setup`',
    });
  }
  return malformed(`unknown kind ${byte}`);
}
