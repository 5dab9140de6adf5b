/** The one message a reader sends while streaming (manual, 54.4, "Standby status update"), as a CopyData frame. Pure. */
import { type Lsn, unixMsToPgMicros } from '@drover/core';

export interface StandbyStatus {
  /** Received so far. */
  readonly write: Lsn;
  /** Safe so far: the slot's confirmed_flush_lsn follows it. 0 says nothing. */
  readonly flush: Lsn;
  readonly nowUnixMs: number;
  /** Asks the server for a keepalive, at once. */
  readonly replyRequested: boolean;
}

const COPY_DATA = 0x64;
const STATUS = 0x72;

export function encodeStandbyStatus(status: StandbyStatus): Buffer {
  const bytes = Buffer.allocUnsafe(39);
  bytes[0] = COPY_DATA;
  bytes.writeUInt32BE(38, 1);
  bytes[5] = STATUS;
  bytes.writeBigUInt64BE(status.write, 6);
  bytes.writeBigUInt64BE(status.flush, 14);
  bytes.writeBigUInt64BE(status.flush, 22); // applied: for us the same as flushed
  bytes.writeBigInt64BE(unixMsToPgMicros(status.nowUnixMs), 30);
  bytes[38] = status.replyRequested ? 1 : 0;
  return bytes;
}
