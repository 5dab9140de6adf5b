/**
 * Reads what a walsender puts into CopyData (manual, 54.4): XLogData and keepalives. The furthest position is kept in two numbers and made
 * into a bigint when somebody asks: a bigint for each row is dear.
 */
import { LSN_ZERO, type Lsn } from '@drover/core';
import { malformed, need, readLsn } from '../pgoutput/bytes.ts';
import type { WalHandler } from './types.ts';

/** Messages that say when a transaction has committed (manual, 54.9): B, Int64 LSN, Int64 time; c, Int32 xid, Int8, Int64 LSN, Int64 LSN, Int64 time. */
const BEGIN = 0x42;
const STREAM_COMMIT = 0x63;

export class CopyDataReader {
  readonly #answer: () => void;
  #messages = 0;
  #received: Lsn = LSN_ZERO;
  /** The furthest position, in two halves of 32 bits. */
  #high = 0;
  #low = 0;
  #lagMs = 0;

  /** @param answer sends a status: the server asked for one */
  constructor(answer: () => void) {
    this.#answer = answer;
  }

  /** Furthest WAL position seen. */
  get received(): Lsn {
    const lsn = (BigInt(this.#high) << 32n) | BigInt(this.#low);
    if (lsn !== this.#received) this.#received = lsn as Lsn; // 64 unsigned bits
    return this.#received;
  }

  /** How long the newest commit had been waiting when the source sent it, by the source's clock. */
  get lagMs(): number {
    return this.#lagMs;
  }

  /** WAL messages since the last call. */
  takeCount(): number {
    const count = this.#messages;
    this.#messages = 0;
    return count;
  }

  read(bytes: Buffer, start: number, end: number, handler: WalHandler): void {
    need(start, 1, end);
    if (bytes[start] === 0x77) {
      // w: Int64 start, Int64 end, Int64 time, message. A logical walsender gives start and end the same value.
      need(start, 25, end);
      this.#messages++;
      this.#note(bytes, start + 9);
      const kind = bytes[start + 25];
      if (kind === BEGIN) this.#commit(bytes, start + 17, start + 34, end);
      else if (kind === STREAM_COMMIT) this.#commit(bytes, start + 17, start + 47, end);
      handler.data(bytes, start + 25, end);
    } else if (bytes[start] === 0x6b) {
      // k: Int64 end, Int64 time, Int8 reply requested
      need(start, 18, end);
      const replyRequested = bytes[start + 17] === 1;
      this.#note(bytes, start + 1);
      handler.keepalive(readLsn(bytes, start + 1), replyRequested);
      // After the handler, so that what it confirmed is in the answer.
      if (replyRequested) this.#answer();
    } else {
      throw malformed(`copy data of kind ${bytes[start]}`);
    }
  }

  #commit(bytes: Buffer, sentAt: number, committedAt: number, end: number): void {
    if (committedAt + 8 > end) return; // whoever reads the message will say so
    this.#lagMs = Math.max(0, (microseconds(bytes, sentAt) - microseconds(bytes, committedAt)) / 1000);
  }

  #note(bytes: Buffer, at: number): void {
    const high = bytes.readUInt32BE(at);
    const low = bytes.readUInt32BE(at + 4);
    if (high < this.#high || (high === this.#high && low <= this.#low)) return;
    this.#high = high;
    this.#low = low;
  }
}

/** Of an Int64; those of our time are exact as a number. */
const microseconds = (bytes: Buffer, at: number): number =>
  bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
