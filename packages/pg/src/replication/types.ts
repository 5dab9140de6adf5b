/** What a reader of a logical replication slot sees. See start.ts. */
import type { Closeable, Lsn } from '@drover/core';
import type { ConnectOptions } from '../connect.ts';
import type { Slot } from './slot.ts';

export interface ReplicationOptions {
  readonly connect: ConnectOptions;
  readonly slot: string;
  readonly publication: string;
  /** Transactions that commit before this are left out; LSN_ZERO: from the slot's confirmed position. */
  readonly startLsn: Lsn;
  readonly protoVersion: 1 | 2 | 3 | 4;
  /**
   * What decodes WAL holds at most so many bytes of transactions in progress (less where the server's logical_decoding_work_mem is less); beyond,
   * the largest is sent as far as it has come (protocol 2 or newer). Default: transactions are sent when they have committed.
   */
  readonly decodeBytes?: number;
  readonly messages: true;
  readonly origin: 'none';
  /** Values in their types' binary form where they have one; otherwise as text. */
  readonly binary: boolean;
  /**
   * Silence after which the peer is taken for dead, in ms. Default: 1.5 times the server's wal_sender_timeout, or 60 s
   * where that is switched off.
   */
  readonly peerTimeoutMs?: number;
  /** The timeline on which the slot was read last: when the server is on another, its history is asked for. */
  readonly knownTimeline?: number;
  /** Closes the stream. */
  readonly signal?: AbortSignal;
}

/** Called synchronously; what it throws ends the stream and rejects `read`. */
export interface WalHandler {
  /** One pgoutput message, `bytes[start, end)`: valid during the call only, the buffer is used again. */
  data(bytes: Buffer, start: number, end: number): void;
  /** All that committed before `walEnd` has been sent. A confirm() made in here is part of the answer. */
  keepalive(walEnd: Lsn, replyRequested: boolean): void;
  /** After each round of reads: nothing more is at hand this instant. */
  batchEnd(): void;
}

export interface ReplicationStream extends Closeable {
  readonly systemId: string;
  readonly timeline: number;
  /** Where the known timeline ended and the server's own branched off; null: it is the same one, or no ancestor of the server's. */
  readonly branchedAt: Lsn | null;
  /** The slot as it was just before streaming began. */
  readonly slot: Slot;
  /** Furthest WAL position seen. */
  readonly received: Lsn;
  /** The last position given to {@link confirm}, LSN_ZERO before. */
  readonly confirmed: Lsn;
  /** Starts reading; once. Resolves on close, rejects with a DroverError, or with what the handler threw. */
  read(handler: WalHandler): Promise<void>;
  /**
   * Stops reading from the socket; PostgreSQL then keeps the WAL. What was already read (one chunk of at most 64 KiB, and the
   * message it completes) is still delivered. Status goes on being sent, so the connection stays up however long it takes.
   */
  pause(): void;
  resume(): void;
  /**
   * Everything before `lsn` is safe elsewhere: the slot may forget it. Sent within milliseconds. Smaller values than before are ignored.
   * @throws DroverError `internal.assertion` when beyond what was received
   */
  confirm(lsn: Lsn): void;
  /** Sends the last confirmed position, leaves the slot, and waits (at most 2 s) until the server has let go of it. */
  close(): Promise<void>;
}
