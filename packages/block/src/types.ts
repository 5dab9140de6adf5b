/**
 * What a block is, whatever its body's encoding: the interface that cdc writes against and apply reads against.
 * Bytes in, bytes out; no object per row.
 */
import type { ClusterId, Epoch, Lsn, TenantId } from '@drover/core';
import type { StreamedHeader } from './streamed-header.ts';

/** A table as pgoutput's Relation message describes it (manual, 54.9 Logical Replication Message Formats). */
export interface Relation {
  /** OID at the source. */
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** relreplident: `d` default, `n` nothing, `f` full, `i` index. */
  readonly identity: 'd' | 'n' | 'f' | 'i';
  readonly columns: readonly RelationColumn[];
}

export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
  /** Part of the replica identity. */
  readonly key: boolean;
}

/** Where the block stands and whose it is. */
export interface BlockHeader {
  readonly source: ClusterId;
  readonly database: string;
  readonly tenant: TenantId;
  readonly epoch: Epoch;
  /** System identifier of the source, decimal text. */
  readonly systemId: string;
  /** Slot generation. */
  readonly generation: number;
  /** Commit LSN of the first and last transaction (or barrier) inside. */
  readonly firstLsn: Lsn;
  readonly lastLsn: Lsn;
  /** 0 for whole transactions; counts the parts of one transaction too large for one block. */
  readonly part: number;
  /** False when more parts of the same transaction follow. */
  readonly complete: boolean;
  /** Commit time of the last transaction, microseconds since 2000-01-01 UTC. */
  readonly commitTimeUs: bigint;
  readonly transactions: number;
  readonly changes: number;
  /** Of transactions that come before they have committed; their parts have no LSN (0) and no commit time. */
  readonly streamed?: StreamedHeader;
}

/**
 * Receives the records of a block in order. Tuples are pgoutput TupleData as sent by the source: Int16 number of
 * columns, then per column a kind byte (`n` null, `u` unchanged TOAST, `t` text, `b` binary) and, for `t` and `b`,
 * Int32 length and bytes. `bytes.subarray(start, end)` is one tuple. `bytes` is the block's body, the same in every call; it may be kept.
 */
export interface BlockVisitor {
  relation(index: number, relation: Relation): void;
  begin(commitLsn: Lsn, commitTimeUs: bigint, xid: number): void;
  insert(relation: number, bytes: Buffer, start: number, end: number): void;
  /** `oldKind`: `K` key only, `O` whole old row, null when the source sent none (oldStart = oldEnd = 0). */
  update(
    relation: number,
    oldKind: 'K' | 'O' | null,
    bytes: Buffer,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
  ): void;
  delete(relation: number, oldKind: 'K' | 'O', bytes: Buffer, start: number, end: number): void;
  /** Only ever for tables that belong to the tenant as a whole. flags: 1 cascade, 2 restart identity. */
  truncate(relations: readonly number[], flags: number): void;
  /** A logical message for this tenant (prefix `drover.*`): barrier, epoch. */
  message(lsn: Lsn, prefix: string, content: Buffer): void;
}
