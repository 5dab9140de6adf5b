/**
 * Reads what a walsender puts into CopyData (manual, 54.4): XLogData and keepalives. A position is made into a bigint
 * once, as long as messages share it: the rows of one COPY do.
 */
import { LSN_ZERO, type Lsn } from '@drover/core';
import { malformed, need, readLsn } from '../pgoutput/bytes.ts';
import type { StatusSender } from './status-sender.ts';
import type { WalHandler } from './types.ts';

export class CopyDataReader {
  readonly #status: StatusSender;
  #messages = 0;
  #lsn: Lsn = LSN_ZERO;
  #high = 0;
  #low = 0;

  constructor(status: StatusSender) {
    this.#status = status;
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
      const walStart = this.#readLsn(bytes, start + 1);
      handler.data(walStart, this.#readLsn(bytes, start + 9), bytes, start + 25, end);
    } else if (bytes[start] === 0x6b) {
      // k: Int64 end, Int64 time, Int8 reply requested
      need(start, 18, end);
      const replyRequested = bytes[start + 17] === 1;
      handler.keepalive(this.#readLsn(bytes, start + 1), replyRequested);
      // After the handler, so that what it confirmed is in the answer.
      if (replyRequested) this.#status.send(false);
    } else {
      throw malformed(`copy data of kind ${bytes[start]}`);
    }
  }

  #readLsn(bytes: Buffer, at: number): Lsn {
    const high = bytes.readUInt32BE(at);
    const low = bytes.readUInt32BE(at + 4);
    if (low !== this.#low || high !== this.#high) {
      this.#high = high;
      this.#low = low;
      this.#lsn = readLsn(bytes, at);
      this.#status.noteReceived(this.#lsn);
    }
    return this.#lsn;
  }
}
