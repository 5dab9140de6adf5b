/**
 * Blocks larger than a message: cut into chunks with consecutive sequences, put together again. Pure. A block is handed
 * out whole or not at all.
 */
import { assert, DroverError } from '@drover/core';

/** Room for headers within a message, bytes. A message id takes the most: a tenant of 200 bytes can be 600 characters. */
export const HEADER_BYTES_MAX = 2048;
/** Larger messages burden the server, whatever it accepts. */
const MESSAGE_BYTES_MAX = 8 * 1024 * 1024;
/** No block is larger than this: one row of the largest that PostgreSQL sends, 1 GB, and what stood before it. */
const BLOCK_BYTES_MAX = 0x4400_0000;

/** Bytes of a block that fit into one message of a server whose limit is `maxPayload`. */
export function roomFor(maxPayload: number): number {
  const room = Math.min(maxPayload, MESSAGE_BYTES_MAX) - HEADER_BYTES_MAX;
  assert(room >= 1024, 'the server takes only very small messages', { maxPayload });
  return room;
}

/** At least one piece; views, not copies. */
export function cut(block: Buffer, room: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < block.length || at === 0; at += room) pieces.push(block.subarray(at, at + room));
  return pieces;
}

export interface Piece {
  readonly seq: number;
  readonly token: string;
  readonly chunk: { readonly index: number; readonly count: number } | undefined;
  readonly data: Uint8Array;
}

export interface Whole {
  readonly firstSeq: number;
  readonly data: Buffer;
}

/** For the messages of one consumer, in order. */
export class ChunkAssembler {
  readonly #bytesMax: number;
  #open:
    | { token: string; count: number; firstSeq: number; parts: number; data: Buffer; bytes: number }
    | undefined;

  constructor(bytesMax = BLOCK_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /**
   * The block this message completes. Undefined: more is to come, or the message is a later chunk of a block whose beginning was
   * not read. A block whose later chunks never came (its publisher died, the next one sends it again) is dropped when anything else follows.
   * @throws DroverError `block.corrupt` when a block is larger than any block can be
   */
  add(piece: Piece): Whole | undefined {
    const { chunk, seq } = piece;
    if (chunk === undefined) {
      this.#open = undefined;
      return { firstSeq: seq, data: asBuffer(piece.data) };
    }
    if (chunk.index === 0) {
      // All but the last are of one size. Put together as they come, a block of a gigabyte takes a gigabyte, not two.
      const room = Math.min(chunk.count * piece.data.length, this.#bytesMax);
      const data = Buffer.allocUnsafe(room);
      this.#open = { token: piece.token, count: chunk.count, firstSeq: seq, parts: 0, data, bytes: 0 };
    }
    const open = this.#open;
    if (
      open === undefined ||
      open.token !== piece.token ||
      open.count !== chunk.count ||
      open.parts !== chunk.index ||
      open.firstSeq + chunk.index !== seq
    ) {
      this.#open = undefined;
      return undefined;
    }
    if (open.bytes + piece.data.length > this.#bytesMax) {
      this.#open = undefined;
      throw new DroverError('block.corrupt', `a block of more than ${this.#bytesMax} bytes ends at ${seq}`);
    }
    if (open.bytes + piece.data.length > open.data.length)
      open.data = Buffer.concat([open.data.subarray(0, open.bytes)], open.bytes + piece.data.length);
    open.data.set(piece.data, open.bytes);
    open.bytes += piece.data.length;
    open.parts++;
    if (chunk.index < chunk.count - 1) return undefined;
    this.#open = undefined;
    return { firstSeq: open.firstSeq, data: open.data.subarray(0, open.bytes) };
  }

  /** Forgets a block that is not complete: what follows does not continue it. */
  interrupt(): void {
    this.#open = undefined;
  }
}

function asBuffer(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
