/** For tests: messages of the WAL as PostgreSQL sends them with `streaming` on (manual, 54.9). `xid` null: of a transaction that comes whole. */
import type { Relation } from '@drover/block';
import type { Lsn } from '@drover/core';
import type { WaitingTransactions } from './waiting.ts';

export const bytes = (kind: string, ...parts: readonly (Buffer | string)[]): Buffer =>
  Buffer.concat([kind, ...parts].map((part) => Buffer.from(part as string)));

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

function u64(value: Lsn | number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
}

const of = (xid: number | null): Buffer => (xid === null ? Buffer.alloc(0) : u32(xid));
const TIME = u64(5);
const after = (lsn: Lsn | number): Buffer => u64(Number(lsn) + 1);

export const START = (xid: number): Buffer => bytes('S', u32(xid), '\x01');
export const STOP = bytes('E');
export const COMMIT = (xid: number, lsn: Lsn | number): Buffer =>
  bytes('c', u32(xid), '\0', u64(lsn), after(lsn), TIME);
export const ABORT = (xid: number, subxid: number): Buffer => bytes('A', u32(xid), u32(subxid));
export const BEGIN = (xid: number, lsn: Lsn | number): Buffer => bytes('B', u64(lsn), TIME, u32(xid));
export const END = (lsn: Lsn | number): Buffer => bytes('C', '\0', u64(lsn), after(lsn), TIME);

export const INSERT_INTO = (xid: number | null, oid: number, tuple: Buffer): Buffer =>
  bytes('I', of(xid), u32(oid), 'N', tuple);

export const MESSAGE = (xid: number | null, prefix: string, content = '{}'): Buffer =>
  bytes('M', of(xid), '\x01', u64(9), `${prefix}\0`, u32(content.length), content);

export const RELATION_OF = (xid: number | null, { oid, schema, name, identity, columns }: Relation): Buffer =>
  bytes(
    'R',
    of(xid),
    u32(oid),
    `${schema}\0${name}\0${identity}`,
    u32(columns.length).subarray(2),
    ...columns.map((column) =>
      bytes(column.key ? '\x01' : '\0', `${column.name}\0`, u32(column.typeOid), u32(column.typmod >>> 0)),
    ),
  );

/** Each somewhere in a read. */
export function come(to: WaitingTransactions, ...messages: readonly Buffer[]): void {
  for (const message of messages) {
    const read = Buffer.concat([Buffer.from('xyz'), message, Buffer.from('\xff\xff\xff\xff\xff')]);
    to.data(read, 3, 3 + message.length);
  }
}
