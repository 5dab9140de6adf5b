/**
 * The step from `pg`'s connection to our own: sends START_REPLICATION and returns once the server has switched to
 * streaming. Leaves the socket paused, with every byte behind CopyBothResponse still to be read.
 */
import type { Socket } from 'node:net';
import { DroverError, formatLsn, type Lsn } from '@drover/core';
import { malformed } from '../pgoutput/bytes.ts';
import { quoteIdent, quoteLiteral } from '../quote.ts';
import { parseServerError } from './server-error.ts';

/** The server only looks the slot up before it answers. */
const ANSWER_TIMEOUT_MS = 30_000;
/** Notices before the answer; anything larger is not this protocol. */
const ANSWER_BYTES_MAX = 1024 * 1024;

export function startCommand(options: {
  readonly slot: string;
  readonly publication: string;
  readonly startLsn: Lsn;
  readonly protoVersion: number;
  readonly binary: boolean;
  readonly decodeBytes?: number;
}): string {
  const settings = [
    `proto_version ${quoteLiteral(String(options.protoVersion))}`,
    `publication_names ${quoteLiteral(quoteIdent(options.publication))}`,
    `messages 'true'`,
    `origin 'none'`,
    `binary '${options.binary}'`,
    ...(options.decodeBytes === undefined ? [] : [`streaming 'on'`]),
  ];
  const at = formatLsn(options.startLsn);
  return `START_REPLICATION SLOT ${quoteIdent(options.slot)} LOGICAL ${at} (${settings.join(', ')})`;
}

/** @throws ServerError when refused, DroverError `pg.unreachable` when the connection is lost or the server is silent */
export function enterCopyBoth(socket: Socket, command: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let pending: Buffer = Buffer.alloc(0);
  const lost = (cause?: Error) =>
    reject(new DroverError('pg.unreachable', 'the connection was lost while replication started', { cause }));
  const onClose = () => lost();
  const timer = setTimeout(
    () => reject(new DroverError('pg.unreachable', 'PostgreSQL did not answer START_REPLICATION')),
    ANSWER_TIMEOUT_MS,
  );
  const onData = (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    try {
      const rest = readAnswer(pending);
      if (rest === null) return;
      socket.removeListener('data', onData);
      socket.pause();
      if (rest < pending.length) socket.unshift(pending.subarray(rest));
      resolve();
    } catch (error) {
      socket.removeListener('data', onData);
      reject(error);
    }
  };
  socket.on('data', onData).on('error', lost).on('close', onClose);
  if (socket.destroyed)
    lost(); // before we listened: nothing will tell
  else socket.write(queryMessage(command));
  return promise.finally(() => {
    clearTimeout(timer);
    socket.removeListener('data', onData).removeListener('error', lost).removeListener('close', onClose);
  });
}

/** Offset behind CopyBothResponse, or null while it is not there. @throws ServerError, DroverError `pg.stream` */
function readAnswer(bytes: Buffer): number | null {
  let at = 0;
  while (bytes.length - at >= 5) {
    const length = bytes.readUInt32BE(at + 1);
    if (length < 4 || length > ANSWER_BYTES_MAX) throw malformed(`an answer of ${length} bytes`);
    const end = at + 1 + length;
    if (end > bytes.length) return null;
    switch (bytes.readUInt8(at)) {
      case 0x57: // W CopyBothResponse
        return end;
      case 0x45: // E ErrorResponse
        throw parseServerError(bytes, at + 5, end);
      case 0x4e: // N NoticeResponse
      case 0x53: // S ParameterStatus
        break;
      default:
        throw malformed(`answer of kind ${bytes[at]} to START_REPLICATION`);
    }
    at = end;
  }
  return null;
}

function queryMessage(text: string): Buffer {
  const body = Buffer.from(`${text}\0`);
  const head = Buffer.from([0x51, 0, 0, 0, 0]);
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
