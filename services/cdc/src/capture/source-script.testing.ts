/** For tests: a source's transactions as parsed pgoutput calls, and what came out of the lanes read back. */
import { type BlockVisitor, type Relation, type WalkOptions, walkBlock } from '@drover/block';
import type { Lsn } from '@drover/core';
import type { Assembler } from './assembler.ts';
import type { Outgoing } from './outgoing.ts';

export const ITEMS: Relation = {
  oid: 100,
  schema: 'public',
  name: 'items',
  identity: 'd',
  columns: [
    { name: 'id', typeOid: 23, typmod: -1, key: true },
    { name: 'tenant', typeOid: 25, typmod: -1, key: true },
    { name: 'note', typeOid: 25, typmod: -1, key: false },
  ],
};

/** A column of a tuple: text, binary, null, or `undefined` for unchanged TOAST. */
export type Column = string | Buffer | null | undefined;

export function tuple(...columns: readonly Column[]): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(columns.length);
  const pieces = columns.map((column) => {
    if (column === null) return Buffer.from('n');
    if (column === undefined) return Buffer.from('u');
    const bytes = Buffer.from(column);
    const length = Buffer.alloc(5);
    length.write(typeof column === 'string' ? 't' : 'b');
    length.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([length, bytes]);
  });
  return Buffer.concat([head, ...pieces]);
}

export function insert(to: Assembler, oid: number, row: Buffer): void {
  to.insert(oid, 0, row.length, row);
}

export function update(
  to: Assembler,
  oid: number,
  kind: 'K' | 'O' | null,
  old: Buffer | null,
  row: Buffer,
): void {
  const both = Buffer.concat([old ?? Buffer.alloc(0), row]);
  const middle = old?.length ?? 0;
  to.update(oid, kind, 0, middle, middle, both.length, both);
}

export function message(to: Assembler, lsn: bigint, prefix: string, body: object): void {
  const content = Buffer.from(JSON.stringify(body));
  to.message(true, lsn as Lsn, prefix, 0, content.length, content);
}

/** Texts of a tuple's columns with commas between; `·` for null, `?` for unchanged. */
export function columnsOf(bytes: Buffer, start: number, end: number): string {
  const texts: string[] = [];
  let at = start + 2;
  while (at < end) {
    const kind = String.fromCharCode(bytes.readUInt8(at));
    if (kind === 'n' || kind === 'u') {
      texts.push(kind === 'n' ? '·' : '?');
      at += 1;
      continue;
    }
    const length = bytes.readUInt32BE(at + 1);
    const value = bytes.subarray(at + 5, at + 5 + length);
    texts.push(kind === 't' ? value.toString() : `0x${value.toString('hex')}`);
    at += 5 + length;
  }
  return texts.join(',');
}

export interface ReadBlock {
  readonly token: string;
  readonly database: string;
  readonly epoch: number;
  readonly firstLsn: bigint;
  readonly lastLsn: bigint;
  readonly part: number;
  readonly complete: boolean;
  /** `begin 10`, `+items 1,acme,x`, `~items …`, `-items …`, `message drover.barrier {…}`. */
  readonly records: string[];
}

export function readBlock(token: string, block: Buffer, options: WalkOptions = {}): ReadBlock {
  const names: string[] = [];
  const records: string[] = [];
  const visitor: BlockVisitor = {
    relation: (index, relation) => {
      names[index] = relation.name;
    },
    begin: (lsn) => records.push(`begin ${lsn}`),
    insert: (r, bytes, s, e) => records.push(`+${names[r]} ${columnsOf(bytes, s, e)}`),
    update: (r, kind, bytes, os, oe, ns, ne) => {
      const old = kind === null ? '' : `${kind}:${columnsOf(bytes, os, oe)} -> `;
      records.push(`~${names[r]} ${old}${columnsOf(bytes, ns, ne)}`);
    },
    delete: (r, kind, bytes, s, e) => records.push(`-${names[r]} ${kind}:${columnsOf(bytes, s, e)}`),
    truncate: (rs, flags) => records.push(`truncate ${rs.map((r) => names[r]).join(',')} ${flags}`),
    message: (_lsn, prefix, content) => records.push(`message ${prefix} ${content.toString()}`),
  };
  const header = walkBlock(block, visitor, options);
  const { database, epoch, firstLsn, lastLsn, part, complete } = header;
  return { token, database, epoch, firstLsn, lastLsn, part, complete, records };
}

export function readGroup(messages: readonly Outgoing[]): ReadBlock[] {
  return messages.map((m) => readBlock(m.token, m.block));
}
