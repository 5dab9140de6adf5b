/** Tuples for tests, as pgoutput writes them. A value: text, null, or `u` for unchanged TOAST. */
import type { TupleRef } from './tuple.ts';

export const U = Symbol('unchanged');
export type Value = string | null | typeof U;

export function tuple(...values: Value[]): TupleRef {
  const parts: Buffer[] = [Buffer.from([values.length >> 8, values.length])];
  for (const value of values) {
    if (value === null) parts.push(Buffer.from('n'));
    else if (value === U) parts.push(Buffer.from('u'));
    else {
      const bytes = Buffer.from(value);
      const head = Buffer.from('b\0\0\0\0');
      head.writeInt32BE(bytes.length, 1);
      parts.push(head, bytes);
    }
  }
  // Never at the start of its buffer, so that offsets are tested too.
  const bytes = Buffer.concat([Buffer.from('xx'), ...parts, Buffer.from('yy')]);
  return { bytes, start: 2, end: bytes.length - 2 };
}

export function values({ bytes, start }: TupleRef): Value[] {
  const out: Value[] = [];
  let at = start + 2;
  for (let i = bytes.readInt16BE(start); i > 0; i--) {
    const kind = String.fromCharCode(bytes.readUInt8(at));
    if (kind === 'b') {
      const length = bytes.readInt32BE(at + 1);
      out.push(bytes.toString('utf8', at + 5, at + 5 + length));
      at += 5 + length;
    } else {
      out.push(kind === 'u' ? U : null);
      at++;
    }
  }
  return out;
}
