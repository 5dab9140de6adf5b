/**
 * Collects the changes of one tenant as a block's body: every tuple is copied once, verbatim, and nothing is
 * allocated per row. The buffer doubles as it fills and is kept by {@link BlockWriter.reset}.
 *
 * Records, after their op byte: relation = u32 oid, u8 identity, string16 schema, string16 name, u16 columns, each
 * (u8 key, u32 type, i32 typmod, string16 name); its index is how many relations stood before it. begin = u64 LSN,
 * i64 commit time, u32 xid. insert, delete, updateNewOnly = u16 relation, u32 length, tuple. updateOld… = u16
 * relation, u32 old length, u32 new length, old, new. truncate = u8 flags, u16 n, n × u16. message = u64 LSN,
 * u8 length, prefix, u32 length, content.
 */
import { assert, type Lsn } from '@drover/core';
import { Op, RELATIONS_MAX } from './format.ts';
import { assembleBlock } from './header.ts';
import { Packer, type Scope } from './packing.ts';
import { keyOfMark } from './seal/mark.ts';
import type { BlockHeader, Relation } from './types.ts';

const INITIAL_BYTES = 4096;

export class BlockWriter {
  #bytes: Buffer;
  #size = 0;
  #changes = 0;
  #transactions = 0;
  /** In order of their index. */
  #relations = new Map<Relation, number>();
  /** What stood before the last begin. */
  #before = { size: 0, changes: 0, transactions: 0, relations: 0 };

  constructor(initialBytes = INITIAL_BYTES) {
    this.#bytes = Buffer.allocUnsafe(initialBytes);
  }

  /** Raw bytes so far. */
  get size(): number {
    return this.#size;
  }

  /** Row changes and truncates so far. */
  get changes(): number {
    return this.#changes;
  }

  get transactions(): number {
    return this.#transactions;
  }

  /** Relations named so far; at {@link RELATIONS_MAX} the block must be finished. */
  get relations(): number {
    return this.#relations.size;
  }

  /** Bytes the writer holds on to, filled or not. */
  get capacity(): number {
    return this.#bytes.length;
  }

  /** The relation's index in this block; its definition is written where it is first named. */
  relation(relation: Relation): number {
    const known = this.#relations.get(relation);
    if (known !== undefined) return known;
    const index = this.#relations.size;
    assert(index < RELATIONS_MAX, 'too many relations in one block');
    this.#relations.set(relation, index);
    this.#define(relation);
    return index;
  }

  #define(relation: Relation): void {
    this.#reserve(16 + 3 * (relation.schema.length + relation.name.length));
    this.#op(Op.relation);
    this.#u32(relation.oid);
    this.#op(relation.identity.charCodeAt(0));
    this.#string16(relation.schema);
    this.#string16(relation.name);
    this.#u16(relation.columns.length);
    for (const column of relation.columns) {
      this.#reserve(11 + 3 * column.name.length);
      this.#op(column.key ? 1 : 0);
      this.#u32(column.typeOid);
      this.#size = this.#bytes.writeInt32BE(column.typmod, this.#size);
      this.#string16(column.name);
    }
  }

  begin(commitLsn: Lsn, commitTimeUs: bigint, xid: number): void {
    const before = this.#before;
    before.size = this.#size;
    before.changes = this.#changes;
    before.transactions = this.#transactions;
    before.relations = this.#relations.size;
    this.#reserve(21);
    this.#op(Op.begin);
    this.#size = this.#bytes.writeBigUInt64BE(commitLsn, this.#size);
    this.#size = this.#bytes.writeBigInt64BE(commitTimeUs, this.#size);
    this.#u32(xid);
    this.#transactions++;
  }

  insert(relation: number, bytes: Buffer, start: number, end: number): void {
    this.#single(Op.insert, relation, bytes, start, end);
  }

  update(
    relation: number,
    oldKind: 'K' | 'O' | null,
    bytes: Buffer,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
  ): void {
    if (oldKind === null) {
      this.#single(Op.updateNewOnly, relation, bytes, newStart, newEnd);
      return;
    }
    this.#reserve(11 + oldEnd - oldStart + newEnd - newStart);
    this.#op(oldKind === 'K' ? Op.updateOldKey : Op.updateOldRow);
    this.#u16(relation);
    this.#u32(oldEnd - oldStart);
    this.#u32(newEnd - newStart);
    this.#copy(bytes, oldStart, oldEnd);
    this.#copy(bytes, newStart, newEnd);
    this.#changes++;
  }

  delete(relation: number, oldKind: 'K' | 'O', bytes: Buffer, start: number, end: number): void {
    this.#single(oldKind === 'K' ? Op.deleteOldKey : Op.deleteOldRow, relation, bytes, start, end);
  }

  truncate(relations: readonly number[], flags: number): void {
    this.#reserve(4 + 2 * relations.length);
    this.#op(Op.truncate);
    this.#op(flags);
    this.#u16(relations.length);
    for (const relation of relations) this.#u16(relation);
    this.#changes++;
  }

  message(lsn: Lsn, prefix: string, content: Buffer): void {
    const name = Buffer.from(prefix);
    assert(name.length <= 255, 'a message prefix is longer than 255 bytes');
    this.#reserve(14 + name.length + content.length);
    this.#op(Op.message);
    this.#size = this.#bytes.writeBigUInt64BE(lsn, this.#size);
    this.#op(name.length);
    this.#copy(name, 0, name.length);
    this.#u32(content.length);
    this.#copy(content, 0, content.length);
  }

  /** Whether there are transactions before the one begun last. */
  get hasEarlier(): boolean {
    return this.#before.transactions > 0;
  }

  /** The finished block. The writer keeps its content until {@link reset}. @throws DroverError `key.unavailable` by the packer's sealer */
  finish(
    header: Omit<BlockHeader, 'transactions' | 'changes'>,
    packer: Packer = ZSTD,
    scope: Scope | null = null,
  ): Buffer {
    const counts = { transactions: this.#transactions, changes: this.#changes };
    return assemble({ ...header, ...counts }, this.#bytes.subarray(0, this.#size), packer, scope);
  }

  /**
   * Cuts in front of the transaction begun last: returns what stood before it as a finished block, and keeps that
   * transaction alone. Needs {@link hasEarlier}.
   */
  finishEarlier(
    header: Omit<BlockHeader, 'transactions' | 'changes'>,
    packer: Packer = ZSTD,
    scope: Scope | null = null,
  ): Buffer {
    assert(this.hasEarlier, 'nothing stands before the last transaction');
    const { size, changes, transactions, relations } = this.#before;
    const block = assemble(
      { ...header, transactions, changes },
      this.#bytes.subarray(0, size),
      packer,
      scope,
    );
    const rest = Buffer.from(this.#bytes.subarray(size, this.#size));
    this.#size = 0;
    // The rest names relations that were defined before the cut: they are defined again, under the same indices.
    for (const [relation, index] of this.#relations) if (index < relations) this.#define(relation);
    this.#reserve(rest.length);
    this.#copy(rest, 0, rest.length);
    this.#changes -= changes;
    this.#transactions -= transactions;
    this.#before = { size: 0, changes: 0, transactions: 0, relations: 0 };
    return block;
  }

  /** Ready for the next block. `keepBytesMax` lets go of a buffer that one huge block had grown. */
  reset(keepBytesMax = Number.POSITIVE_INFINITY): void {
    this.#size = 0;
    this.#changes = 0;
    this.#transactions = 0;
    this.#relations.clear();
    this.#before = { size: 0, changes: 0, transactions: 0, relations: 0 };
    if (this.#bytes.length > keepBytesMax) this.#bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  }

  #single(op: number, relation: number, bytes: Buffer, start: number, end: number): void {
    this.#reserve(7 + end - start);
    this.#op(op);
    this.#u16(relation);
    this.#u32(end - start);
    this.#copy(bytes, start, end);
    this.#changes++;
  }

  #reserve(more: number): void {
    const need = this.#size + more;
    if (need <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(need, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#size);
    this.#bytes = grown;
  }

  #op(value: number): void {
    this.#bytes[this.#size++] = value;
  }

  #u16(value: number): void {
    this.#size = this.#bytes.writeUInt16BE(value, this.#size);
  }

  #u32(value: number): void {
    this.#size = this.#bytes.writeUInt32BE(value, this.#size);
  }

  #copy(bytes: Buffer, start: number, end: number): void {
    bytes.copy(this.#bytes, this.#size, start, end);
    this.#size += end - start;
  }

  #string16(text: string): void {
    const length = this.#bytes.write(text, this.#size + 2);
    this.#bytes.writeUInt16BE(length, this.#size);
    this.#size += 2 + length;
  }
}

const ZSTD = new Packer('zstd');

function assemble(header: BlockHeader, raw: Buffer, packer: Packer, scope: Scope | null): Buffer {
  const seal = packer.sealer?.next(header.tenant) ?? null;
  const keyed =
    scope === null || header.changes === 0 || header.streamed !== undefined
      ? null
      : { ...scope, key: seal === null ? null : keyOfMark(seal.mark) };
  const stored = packer.pack(raw, keyed);
  return assembleBlock(header, stored, raw.length, seal);
}
