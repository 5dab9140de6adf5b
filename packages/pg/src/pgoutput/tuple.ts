/**
 * Walking TupleData (manual, 54.9): Int16 number of columns, then per column a kind byte (`n` null, `u` unchanged
 * TOAST value, `t` text, `b` binary) and, for `t` and `b`, Int32 length and bytes. Nothing is allocated or decoded.
 * Every length is checked against `limit`, the end of the message.
 */
import { malformed, need } from './bytes.ts';

export const COLUMN_NULL = 0x6e;
export const COLUMN_UNCHANGED = 0x75;
export const COLUMN_TEXT = 0x74;
export const COLUMN_BINARY = 0x62;

/** Filled by {@link tupleColumn}; made once and reused. */
export interface TupleField {
  kind: number;
  /** Of the value; start = end for null and unchanged. */
  start: number;
  end: number;
}

export function tupleField(): TupleField {
  return { kind: 0, start: 0, end: 0 };
}

/** Number of columns of the tuple at `start`. */
export function tupleWidth(bytes: Buffer, start: number, limit: number = bytes.length): number {
  need(start, 2, limit);
  return bytes.readUInt16BE(start);
}

/** Offset behind the tuple at `start`. */
export function tupleEnd(bytes: Buffer, start: number, limit: number = bytes.length): number {
  return skipColumns(bytes, start + 2, tupleWidth(bytes, start, limit), limit);
}

/** Finds column `columnIndex` (from 0) of the tuple at `tupleStart` and returns `out`, filled. */
export function tupleColumn(
  bytes: Buffer,
  tupleStart: number,
  columnIndex: number,
  out: TupleField,
  limit: number = bytes.length,
): TupleField {
  const width = tupleWidth(bytes, tupleStart, limit);
  if (columnIndex < 0 || columnIndex >= width) throw malformed(`no column ${columnIndex} among ${width}`);
  const at = skipColumns(bytes, tupleStart + 2, columnIndex, limit);
  need(at, 1, limit);
  const kind = bytes[at] as number; // in bounds
  out.kind = kind;
  if (kind === COLUMN_BINARY || kind === COLUMN_TEXT) {
    need(at, 5, limit);
    const length = bytes.readUInt32BE(at + 1);
    need(at + 5, length, limit);
    out.start = at + 5;
    out.end = at + 5 + length;
  } else {
    checkEmpty(kind);
    out.start = at + 1;
    out.end = at + 1;
  }
  return out;
}

function skipColumns(bytes: Buffer, from: number, count: number, limit: number): number {
  let at = from;
  for (let i = 0; i < count; i++) {
    need(at, 1, limit);
    const kind = bytes[at] as number; // in bounds
    if (kind === COLUMN_BINARY || kind === COLUMN_TEXT) {
      need(at, 5, limit);
      const length = bytes.readUInt32BE(at + 1);
      need(at + 5, length, limit);
      at += 5 + length;
    } else {
      checkEmpty(kind);
      at += 1;
    }
  }
  return at;
}

function checkEmpty(kind: number): void {
  if (kind !== COLUMN_NULL && kind !== COLUMN_UNCHANGED) throw malformed(`column of kind ${kind}`);
}
