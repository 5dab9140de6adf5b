/** Fills the unchanged-TOAST columns of a new row from the old one, for rows that move between tenants. */
import { COLUMN_UNCHANGED, type TupleField, tupleColumn, tupleField, tupleWidth } from '@drover/pg';

const field: TupleField = tupleField();

/** Whether any column of the tuple was left out by the source because it is stored out of line and did not change. */
export function hasUnchanged(bytes: Buffer, start: number, end: number): boolean {
  const width = tupleWidth(bytes, start, end);
  for (let i = 0; i < width; i++) {
    if (tupleColumn(bytes, start, i, field, end).kind === COLUMN_UNCHANGED) return true;
  }
  return false;
}

/** The new tuple with each unchanged column taken from the whole old row. Both have the same columns. */
export function mergeUnchanged(
  bytes: Buffer,
  oldStart: number,
  oldEnd: number,
  newStart: number,
  newEnd: number,
): Buffer {
  const width = tupleWidth(bytes, newStart, newEnd);
  const pieces: Buffer[] = [bytes.subarray(newStart, newStart + 2)];
  for (let i = 0; i < width; i++) {
    const isNew = tupleColumn(bytes, newStart, i, field, newEnd).kind !== COLUMN_UNCHANGED;
    if (!isNew) tupleColumn(bytes, oldStart, i, field, oldEnd);
    const empty = field.start === field.end && field.kind !== 0x62 && field.kind !== 0x74;
    pieces.push(bytes.subarray(field.start - (empty ? 1 : 5), field.end));
  }
  return Buffer.concat(pieces);
}
