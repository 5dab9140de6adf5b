/**
 * Reading pgoutput TupleData in place: Int16 columns, then per column a kind byte (`n` null, `u` unchanged TOAST, `t`
 * text, `b` binary) and, for `t` and `b`, Int32 length and bytes (PostgreSQL manual, 54.9). Nothing is allocated per
 * column; a tuple that does not add up is `block.corrupt`.
 */
import { DroverError } from '@drover/core';

export const NULL = 0x6e;
export const UNCHANGED = 0x75;
export const TEXT = 0x74;
export const BINARY = 0x62;

/** One tuple inside a buffer. */
export interface TupleRef {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

export function damaged(why: string): DroverError {
  return new DroverError('block.corrupt', `a tuple is damaged: ${why}`);
}

export function int32(bytes: Buffer, at: number): number {
  // Out of range reads give undefined, which the shifts turn into 0; the callers' bounds checks catch it.
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}

/** Number of columns of the tuple at `start`. */
export function columnCount(bytes: Buffer, start: number): number {
  return ((bytes[start] as number) << 8) | (bytes[start + 1] as number);
}

/** Position after the column whose kind byte is at `at`. */
export function nextColumn(bytes: Buffer, at: number, end: number): number {
  const kind = bytes[at];
  if (kind === NULL || kind === UNCHANGED) return at + 1;
  if (kind !== BINARY && kind !== TEXT) throw damaged('unknown kind of column');
  const length = int32(bytes, at + 1);
  const next = at + 5 + length;
  if (length < 0 || next > end) throw damaged('a column is cut');
  return next;
}

/** Position of the kind byte of column `index`. */
export function columnAt(tuple: TupleRef, index: number): number {
  if (index >= columnCount(tuple.bytes, tuple.start)) throw damaged('a column is missing');
  let at = tuple.start + 2;
  for (let i = 0; i < index; i++) at = nextColumn(tuple.bytes, at, tuple.end);
  return at;
}

/** True when some column is `u`: its value must come from elsewhere. */
export function hasUnchanged(tuple: TupleRef): boolean {
  const { bytes, start, end } = tuple;
  const count = columnCount(bytes, start);
  let at = start + 2;
  for (let i = 0; i < count; i++) {
    if (bytes[at] === UNCHANGED) return true;
    at = nextColumn(bytes, at, end);
  }
  return false;
}

/** `newer` with each unchanged column taken from `base`, where it may be unchanged too. */
export function mergeTuples(newer: TupleRef, base: TupleRef): TupleRef {
  const count = columnCount(newer.bytes, newer.start);
  if (count !== columnCount(base.bytes, base.start)) throw damaged('two versions of a row differ in columns');
  const parts: Buffer[] = [newer.bytes.subarray(newer.start, newer.start + 2)];
  let a = newer.start + 2;
  let b = base.start + 2;
  for (let i = 0; i < count; i++) {
    const aNext = nextColumn(newer.bytes, a, newer.end);
    const bNext = nextColumn(base.bytes, b, base.end);
    if (newer.bytes[a] === UNCHANGED) parts.push(base.bytes.subarray(b, bNext));
    else parts.push(newer.bytes.subarray(a, aNext));
    a = aNext;
    b = bNext;
  }
  const bytes = Buffer.concat(parts);
  return { bytes, start: 0, end: bytes.length };
}

/**
 * The bytes of the given columns (ascending indexes) as one string, equal exactly when the columns are equal byte for
 * byte; undefined when one of them is unchanged, so that the tuple does not tell its key.
 */
export function keyOf(
  bytes: Buffer,
  start: number,
  end: number,
  columns: readonly number[],
): string | undefined {
  if (columns.length === 1 && columns[0] === 0) {
    const kind = bytes[start + 2];
    if (kind === UNCHANGED) return undefined;
    return bytes.toString('latin1', start + 2, nextColumn(bytes, start + 2, end));
  }
  let key = '';
  let at = start + 2;
  let index = 0;
  for (const wanted of columns) {
    for (; index < wanted; index++) at = nextColumn(bytes, at, end);
    const next = nextColumn(bytes, at, end);
    if (bytes[at] === UNCHANGED) return undefined;
    key += bytes.toString('latin1', at, next);
    at = next;
    index++;
  }
  return key;
}
