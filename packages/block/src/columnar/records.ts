/** The records of a block's body as bytes: what `block-writer.ts` writes. */
import { Op } from '../format.ts';

export const Kind = { null: 0x6e, unchanged: 0x75, text: 0x74, binary: 0x62 } as const;

/** Kind and length in front of a value. */
export const CELL_BYTES = 5;

export function tuplesOf(op: number): 0 | 1 | 2 {
  if (op === Op.updateOldKey || op === Op.updateOldRow) return 2;
  return op === Op.insert || op === Op.updateNewOnly || op === Op.deleteOldKey || op === Op.deleteOldRow
    ? 1
    : 0;
}

/** Where the record at `at` ends, or -1 when it is cut or of an unknown kind. */
export function recordEnd(body: Buffer, op: number, at: number): number {
  const left = body.length - at;
  switch (op) {
    case Op.insert:
    case Op.updateNewOnly:
    case Op.deleteOldKey:
    case Op.deleteOldRow:
      return left < 7 ? -1 : at + 7 + u32(body, at + 3);
    case Op.updateOldKey:
    case Op.updateOldRow:
      return left < 11 ? -1 : at + 11 + u32(body, at + 3) + u32(body, at + 7);
    case Op.truncate:
      return left < 4 ? -1 : at + 4 + 2 * u16(body, at + 2);
    case Op.message: {
      if (left < 10) return -1;
      const content = at + 10 + (body[at + 9] as number);
      return content + 4 > body.length ? -1 : content + 4 + u32(body, content);
    }
    case Op.relation:
      return relationEnd(body, at + 1);
    default:
      return -1;
  }
}

/** Types of a relation record's columns, or null when it is not one that ends at `end`. */
export function relationTypes(body: Buffer, start: number, end: number): number[] | null {
  if (relationEnd(body, start) !== end) return null;
  const typeOids: number[] = [];
  let at = start + 5;
  at += 2 + u16(body, at);
  at += 2 + u16(body, at);
  const count = u16(body, at);
  at += 2;
  for (let i = 0; i < count; i++) {
    typeOids.push(u32(body, at + 1));
    at += 11 + u16(body, at + 9);
  }
  return typeOids;
}

function relationEnd(body: Buffer, start: number): number {
  let at = start + 5;
  for (let name = 0; name < 2; name++) {
    if (at + 2 > body.length) return -1;
    at += 2 + u16(body, at);
  }
  if (at + 2 > body.length) return -1;
  const count = u16(body, at);
  at += 2;
  for (let i = 0; i < count; i++) {
    if (at + 11 > body.length) return -1;
    at += 11 + u16(body, at + 9);
  }
  return at;
}

export function u16(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function u32(bytes: Buffer, at: number): number {
  return (
    (bytes[at] as number) * 16777216 +
    (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number))
  );
}
