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
import { Descriptions } from './descriptions.ts';
import { MessageLog } from './message-log.ts';
import { NotStreamed } from './streamed.ts';

/** Who reads what has committed, and what is in progress. */
export type WalVisitor = PgoutputVisitor & StreamVisitor;

interface Waiting {
  readonly xid: number;
  readonly log: MessageLog;
  readonly rolledBack: Set<number>;
  /** A message of Drover's is in it. PostgreSQL does not say of which subtransaction, */
  told: boolean;
  /** and one that was rolled back behind it may be it. */
  doubtful: boolean;
}

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
  readonly #descriptions = new Descriptions();
  /** Whose stream it is. */
  #xid: number | null = null;
  /** The same, while it waits. */
  #current: Waiting | null = null;
  #kept = 0;

  /**
   * @param bytesMax of the messages of one transaction
   * @param keptMax of all; beyond, the largest leaves when its chunk, or that of another, ends
   */
  constructor(to: WalVisitor, bytesMax: number, keptMax: number) {
    this.#to = to;
    this.#bytesMax = Math.min(bytesMax, keptMax);
    this.#keptMax = keptMax;
  }

  /** Bytes that are held for transactions that wait; {@link keptMax}, and one more transaction while its chunk comes. */
  get keptBytes(): number {
    return this.#kept;
  }

  /** The next message of the WAL. @throws DroverError `pg.stream`, and what the visitor throws */
  data(bytes: Buffer, start: number, end: number): void {
    if (isStreamMessage(bytes, start)) {
      parseStreamMessage(bytes, start, end, this);
      return;
    }
    if (bytes[start] === RELATION) this.#descriptions.said(this.#xid, bytes, start, end);
    if (this.#current !== null) this.#keep(this.#current, bytes, start, end);
    else parsePgoutput(bytes, start, end, this.#to, this.#xid !== null);
  }

  streamStart(xid: number, first: boolean): void {
    this.#xid = xid;
    this.#descriptions.begin(xid);
    if (this.#gone.has(xid)) {
      this.#to.streamStart(xid, first);
      return;
    }
    this.#current = this.#waiting.get(xid) ?? {
      xid,
      log: new MessageLog(),
      rolledBack: new Set(),
      told: false,
      doubtful: false,
    };
    this.#waiting.set(xid, this.#current);
  }

  streamStop(): void {
    this.#xid = null;
    if (this.#current === null) this.#to.streamStop();
    this.#current = null;
    while (this.#kept > this.#keptMax) {
      const largest = [...this.#waiting.values()].reduce((a, b) => (b.log.capacity > a.log.capacity ? b : a));
      this.#leave(largest);
      this.#to.streamStop();
    }
  }

  /** @throws NotStreamed when a message may have been rolled back */
  streamCommit(xid: number, commitLsn: Lsn, endLsn: Lsn, commitTimeUs: bigint): void {
    const waiting = this.#waiting.get(xid);
    if (waiting === undefined) {
      this.#gone.delete(xid);
      this.#to.streamCommit(xid, commitLsn, endLsn, commitTimeUs);
    } else {
      if (waiting.doubtful) throw new NotStreamed(commitLsn);
      this.#to.begin(commitLsn, commitTimeUs, xid);
      this.#read(waiting);
      this.#to.commit(commitLsn, endLsn, commitTimeUs);
    }
    for (const message of this.#descriptions.end(xid, true))
      parsePgoutput(message, 0, message.length, this.#to);
  }

  streamAbort(xid: number, subxid: number): void {
    const waiting = this.#waiting.get(xid);
    if (xid === subxid) this.#descriptions.end(xid, false);
    if (waiting === undefined) {
      if (xid === subxid) this.#gone.delete(xid);
      this.#to.streamAbort(xid, subxid);
    } else if (xid === subxid) this.#forget(waiting);
    else {
      waiting.rolledBack.add(subxid);
      waiting.doubtful ||= waiting.told; // what comes later cannot be of it
    }
  }

  #keep(waiting: Waiting, bytes: Buffer, start: number, end: number): void {
    const { log } = waiting;
    const growth = log.growth(end - start);
    if (growth > 0 && log.capacity + growth > this.#bytesMax) {
      this.#leave(waiting); // before it is copied: it may be of any size
      parsePgoutput(bytes, start, end, this.#to, true);
      return;
    }
    log.append(bytes, start, end);
    this.#kept += growth;
    waiting.told ||= bytes[start] === MESSAGE && isOurs(bytes, start, end);
  }

  /** From here on it is read as it comes. */
  #leave(waiting: Waiting): void {
    const { xid, rolledBack, doubtful } = waiting;
    this.#gone.add(xid);
    this.#current = null;
    this.#to.streamStart(xid, true);
    this.#read(waiting);
    // Of what was rolled back no row was read; but of a message it may have been.
    if (doubtful) for (const subxid of rolledBack) this.#to.streamAbort(xid, subxid);
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
