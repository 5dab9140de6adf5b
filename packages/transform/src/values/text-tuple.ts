/** Tuples of pgoutput whose cells are all texts or NULL. */
import { COLUMN_NULL, COLUMN_TEXT } from '@drover/pg';

export function textTuple(cells: readonly (string | null)[]): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(cells.length);
  const parts = [head];
  for (const cell of cells) {
    if (cell === null) {
      parts.push(Buffer.from([COLUMN_NULL]));
      continue;
    }
    const value = Buffer.from(cell);
    const cellHead = Buffer.alloc(5);
    cellHead[0] = COLUMN_TEXT;
    cellHead.writeUInt32BE(value.length, 1);
    parts.push(cellHead, value);
  }
  return Buffer.concat(parts);
}

/** Of a tuple whose cells are all text or NULL. */
export function tupleTexts(tuple: Buffer): (string | null)[] {
  const out: (string | null)[] = [];
  let at = 2;
  for (let i = tuple.readUInt16BE(0); i > 0; i--) {
    if (tuple[at] === COLUMN_NULL) {
      out.push(null);
      at++;
      continue;
    }
    const length = tuple.readUInt32BE(at + 1);
    out.push(tuple.toString('utf8', at + 5, at + 5 + length));
    at += 5 + length;
  }
  return out;
}
