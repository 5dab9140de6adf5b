/**
 * What a block's header says about transactions that had not committed when their rows were read (docs/adr/0007-streamed-transactions.md), and
 * its bytes: u8 kind, u8 length and text of the attempt, u32 xid, u32 number, u64 sequence, u8 mark.
 */
import { assert } from '@drover/core';

interface OfAttempt {
  /** Which reading of the source: parts of two readings are never mixed. */
  readonly attempt: string;
  readonly xid: number;
}

/** Rows of one tenant. The block's `part` counts the tenant's own parts, from 0. */
export interface StreamedPart extends OfAttempt {
  readonly kind: 'part';
  /** Counts the pieces in which the lane published the transaction; all blocks of one piece stand side by side. */
  readonly cut: number;
  /** The last block of the piece. */
  readonly last: boolean;
}

/** What was read of the subtransaction so far is void; of the whole transaction, when `subxid` is `xid`. Stands in the lane's own subject. */
export interface StreamedRollback extends OfAttempt {
  readonly kind: 'rollback';
  readonly subxid: number;
}

/** The transaction has committed, at the block's last LSN: the tenant's rows are the parts of this attempt behind `fromSeq`. */
export interface StreamedCommit extends OfAttempt {
  readonly kind: 'commit';
  readonly parts: number;
  readonly fromSeq: number;
  /** Rollbacks of subtransactions stand among the parts. */
  readonly rollbacks: boolean;
}

/** The same for all tenants of the lane at once: stands in the lane's own subject, right before the commits of the `tenants`. */
export interface StreamedTogether extends OfAttempt {
  readonly kind: 'together';
  readonly tenants: number;
}

/** Who writes this: what other attempts have left open will not go on. */
export interface StreamedSession {
  readonly kind: 'session';
  readonly attempt: string;
}

export type StreamedHeader =
  | StreamedPart
  | StreamedRollback
  | StreamedCommit
  | StreamedTogether
  | StreamedSession;

/** In the order of their numbers, from 1. */
const KINDS = ['part', 'rollback', 'commit', 'together', 'session'] as const;
const FIXED_BYTES = 2 + 4 + 4 + 8 + 1;

export function packStreamed(header: StreamedHeader): Buffer {
  const attempt = Buffer.from(header.attempt);
  assert(attempt.length <= 255, 'the name of an attempt is longer than 255 bytes');
  const bytes = Buffer.alloc(FIXED_BYTES + attempt.length);
  bytes[0] = KINDS.indexOf(header.kind) + 1;
  bytes[1] = attempt.length;
  attempt.copy(bytes, 2);
  const at = 2 + attempt.length;
  const { xid, number, seq, mark } = fields(header);
  bytes.writeUInt32BE(xid, at);
  bytes.writeUInt32BE(number, at + 4);
  bytes.writeBigUInt64BE(BigInt(seq), at + 8);
  bytes[at + 16] = mark ? 1 : 0;
  return bytes;
}

function fields(h: StreamedHeader): { xid: number; number: number; seq: number; mark: boolean } {
  switch (h.kind) {
    case 'part':
      return { xid: h.xid, number: h.cut, seq: 0, mark: h.last };
    case 'rollback':
      return { xid: h.xid, number: h.subxid, seq: 0, mark: false };
    case 'commit':
      return { xid: h.xid, number: h.parts, seq: h.fromSeq, mark: h.rollbacks };
    case 'together':
      return { xid: h.xid, number: h.tenants, seq: 0, mark: false };
    case 'session':
      return { xid: 0, number: 0, seq: 0, mark: false };
  }
}

/** Null: these bytes are no such thing. */
export function unpackStreamed(bytes: Buffer): StreamedHeader | null {
  const kind = bytes.length < 2 ? undefined : KINDS[bytes.readUInt8(0) - 1];
  const length = bytes[1] ?? 0;
  if (kind === undefined || bytes.length !== FIXED_BYTES + length) return null;
  const attempt = bytes.toString('utf8', 2, 2 + length);
  const at = 2 + length;
  const xid = bytes.readUInt32BE(at);
  const number = bytes.readUInt32BE(at + 4);
  const seq = Number(bytes.readBigUInt64BE(at + 8));
  const mark = bytes[at + 16] === 1;
  switch (kind) {
    case 'part':
      return { kind, attempt, xid, cut: number, last: mark };
    case 'rollback':
      return { kind, attempt, xid, subxid: number };
    case 'commit':
      return { kind, attempt, xid, parts: number, fromSeq: seq, rollbacks: mark };
    case 'together':
      return { kind, attempt, xid, tenants: number };
    case 'session':
      return { kind, attempt };
  }
}
