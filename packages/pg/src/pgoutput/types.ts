/**
 * What the pgoutput parser hands out. Positions are offsets into the parsed buffer, valid during the call; tuples
 * are left as bytes (tuple.ts walks them).
 */
import type { Lsn } from '@drover/core';

/**
 * A table as a Relation message describes it (manual, 54.9). Structurally the same as `Relation` of the block package, which
 * stands on this package's floor and so cannot be imported.
 */
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

/** `K`: the identity's columns (the others are null); `O`: the whole old row. */
export type OldKind = 'K' | 'O';

/** What is said of transactions in progress. Needs `streaming`. */
export interface StreamVisitor {
  /** Changes of a transaction in progress follow, up to {@link streamStop}. */
  streamStart(xid: number, first: boolean): void;
  streamStop(): void;
  /** The transaction has committed. Everything of it has been sent before. */
  streamCommit(xid: number, commitLsn: Lsn, endLsn: Lsn, commitTimeUs: bigint): void;
  /** What was sent of the subtransaction is void; of the whole transaction, when both are the same. */
  streamAbort(xid: number, subxid: number): void;
}

/** Receives one message per call. The last argument, the parsed buffer, may be left out by implementations. */
export interface PgoutputVisitor extends Partial<StreamVisitor> {
  /** `commitLsn`: LSN of the coming commit record. `commitTimeUs`: microseconds since 2000-01-01 UTC. */
  begin(commitLsn: Lsn, commitTimeUs: bigint, xid: number): void;
  /** `endLsn`: just behind the commit record; the LSN to confirm. */
  commit(commitLsn: Lsn, endLsn: Lsn, commitTimeUs: bigint): void;
  /** Sent before the first change of a table in this connection, and again after its definition changed. */
  relation(oid: number, relation: Relation): void;
  type(oid: number, schema: string, name: string): void;
  insert(oid: number, start: number, end: number, bytes: Buffer): void;
  /** `oldKind` null: the identity did not change; then oldStart = oldEnd = 0. */
  update(
    oid: number,
    oldKind: OldKind | null,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
    bytes: Buffer,
  ): void;
  delete(oid: number, oldKind: OldKind, start: number, end: number, bytes: Buffer): void;
  /** flags: 1 cascade, 2 restart identity. */
  truncate(oids: readonly number[], flags: number): void;
  /** A logical decoding message. Outside of begin and commit when not transactional. */
  message(
    transactional: boolean,
    lsn: Lsn,
    prefix: string,
    contentStart: number,
    contentEnd: number,
    bytes: Buffer,
  ): void;
  /** The transaction was replicated here from elsewhere. Never sent to a stream opened with origin `none`. */
  origin(name: string): void;
  /**
   * Within a stream, of the change, relation, type or truncate that comes next: the transaction or subtransaction it belongs to. A logical message names the
   * whole transaction, whichever subtransaction wrote it.
   */
  streamChange?(xid: number): void;
}
