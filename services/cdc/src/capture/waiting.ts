/**
 * Transactions in progress wait here while they are small (docs/adr/0007-streamed-transactions.md): PostgreSQL sends them in chunks, so that decoding
 * one holds nobody up for long, and at their commit their messages are read as those of a transaction that came as a whole. Nothing behind this can tell
 * them apart. What outgrows the bounds goes on at once, as a transaction in progress. Pure.
 */
import type { Lsn } from '@drover/core';
import {
  isStreamMessage,
  type PgoutputVisitor,
  parsePgoutput,
  parseStreamMessage,
  type StreamVisitor,
} from '@drover/pg';
import { MessageLog } from './message-log.ts';
import { NotStreamed } from './streamed.ts';

/** Who reads what has committed, and what is in progress. */
export type WalVisitor = PgoutputVisitor &
  StreamVisitor & {
    /** Changes of a transaction in progress are coming. */
    readonly inStream: boolean;
  };

interface Waiting {
  readonly xid: number;
  readonly log: MessageLog;
  readonly rolledBack: Set<number>;
  /** A message of Drover's is in it. PostgreSQL does not say of which subtransaction. */
  told: boolean;
}

/** Of all that wait. */
const KEPT_BYTES_MAX = 32 * 1024 * 1024;
const MESSAGE = 0x4d; // M, Int32 xid, Int8 flags, Int64 LSN, String prefix
const PREFIX_AT = 1 + 4 + 1 + 8;
const OUR_PREFIX = Buffer.from('drover.');
const RELATION = 0x52; // R
const TYPE = 0x59; // Y

export class WaitingTransactions implements StreamVisitor {
  readonly #to: WalVisitor;
  readonly #bytesMax: number;
  readonly #keptMax: number;
  readonly #waiting = new Map<number, Waiting>();
  /** Transactions in progress that wait no longer. */
  readonly #gone = new Set<number>();
  #current: Waiting | null = null;
  #kept = 0;

  /** @param bytesMax of the messages of one transaction */
  constructor(to: WalVisitor, bytesMax: number, keptMax = KEPT_BYTES_MAX) {
    this.#to = to;
    this.#bytesMax = bytesMax;
    this.#keptMax = keptMax;
  }

  /** Bytes that are held for transactions that wait. */
  get keptBytes(): number {
    return this.#kept;
  }

  /** The next message of the WAL. @throws DroverError `pg.stream`, and what the visitor throws */
  data(bytes: Buffer, start: number, end: number): void {
    if (isStreamMessage(bytes, start)) parseStreamMessage(bytes, start, end, this);
    else if (this.#current !== null) this.#keep(this.#current, bytes, start, end);
    else parsePgoutput(bytes, start, end, this.#to, this.#to.inStream);
  }

  streamStart(xid: number, first: boolean): void {
    if (this.#gone.has(xid)) {
      this.#to.streamStart(xid, first);
      return;
    }
    this.#current = this.#waiting.get(xid) ?? {
      xid,
      log: new MessageLog(),
      rolledBack: new Set(),
      told: false,
    };
    this.#waiting.set(xid, this.#current);
  }

  streamStop(): void {
    if (this.#current === null) this.#to.streamStop();
    this.#current = null;
  }

  /** @throws NotStreamed when a message may have been rolled back */
  streamCommit(xid: number, commitLsn: Lsn, endLsn: Lsn, commitTimeUs: bigint): void {
    const waiting = this.#waiting.get(xid);
    if (waiting === undefined) {
      this.#gone.delete(xid);
      this.#to.streamCommit(xid, commitLsn, endLsn, commitTimeUs);
      return;
    }
    if (waiting.told && waiting.rolledBack.size > 0) throw new NotStreamed(commitLsn);
    this.#to.begin(commitLsn, commitTimeUs, xid);
    this.#read(waiting);
    this.#to.commit(commitLsn, endLsn, commitTimeUs);
  }

  streamAbort(xid: number, subxid: number): void {
    const waiting = this.#waiting.get(xid);
    if (waiting === undefined) {
      if (xid === subxid) this.#gone.delete(xid);
      this.#to.streamAbort(xid, subxid);
    } else if (xid === subxid) this.#forget(waiting);
    else waiting.rolledBack.add(subxid);
  }

  #keep(waiting: Waiting, bytes: Buffer, start: number, end: number): void {
    const { log } = waiting;
    const before = log.capacity;
    log.append(bytes, start, end);
    this.#kept += log.capacity - before;
    waiting.told ||= bytes[start] === MESSAGE && isOurs(bytes, start, end);
    if (log.capacity > this.#bytesMax || this.#kept > this.#keptMax) this.#leave(waiting);
  }

  /** From here on it is read as it comes. */
  #leave(waiting: Waiting): void {
    this.#gone.add(waiting.xid);
    this.#current = null;
    this.#to.streamStart(waiting.xid, true);
    this.#read(waiting);
  }

  /** In order, but for what was rolled back. What a table is stays said: it is not said again. */
  #read(waiting: Waiting): void {
    const { log, rolledBack } = waiting;
    log.forEach((bytes, start, end) => {
      if (rolledBack.size === 0 || !isOf(rolledBack, bytes, start, end))
        parsePgoutput(bytes, start, end, this.#to, true);
    });
    this.#forget(waiting);
  }

  #forget({ xid, log }: Waiting): void {
    this.#kept -= log.capacity;
    log.clear();
    this.#waiting.delete(xid);
  }
}

/** Is it a change of one of these subtransactions? What is no whole message is the parser's to refuse. */
function isOf(subxids: ReadonlySet<number>, bytes: Buffer, start: number, end: number): boolean {
  const kind = bytes[start];
  if (kind === RELATION || kind === TYPE || end - start < 5) return false;
  return subxids.has(bytes.readUInt32BE(start + 1));
}

function isOurs(bytes: Buffer, start: number, end: number): boolean {
  const at = start + PREFIX_AT;
  return end - at > OUR_PREFIX.length && OUR_PREFIX.compare(bytes, at, at + OUR_PREFIX.length) === 0;
}
