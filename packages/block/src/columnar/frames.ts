/**
 * Streams as they are stored: compressed when that makes them smaller, without the four bytes every zstd frame starts with. Compression is
 * synchronous: a block is at most a few hundred kilobytes.
 */
import { corrupt } from '../header.ts';
import { compress, decompress } from '../zstd.ts';
import type { ByteReader, ByteWriter } from './bytes.ts';

const MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** Fewer bytes are stored as they are: a call costs more than it saves. */
const FRAME_BYTES_MIN = 48;
/** What a frame has before its first byte of content. */
const FRAME_HEADER_BYTES = 9;

/** Bytes that zstd level 1 would make of these, as part of a frame they share with others. */
export function zstdBytes(bytes: Uint8Array): number {
  if (bytes.length < 16) return bytes.length;
  return Math.min(bytes.length, compress(bytes, 1).length - FRAME_HEADER_BYTES);
}

/** Length twice, plus one when compressed, then the length before compression; then the bytes. */
export function writeFrame(content: Buffer, level: number, out: ByteWriter): void {
  if (content.length >= FRAME_BYTES_MIN && level > 0) {
    const packed = compress(content, level);
    if (packed.length < content.length) {
      out.varint((packed.length - MAGIC.length) * 2 + 1);
      out.varint(content.length);
      out.copy(packed, MAGIC.length, packed.length);
      return;
    }
  }
  out.varint(content.length * 2);
  out.copy(content, 0, content.length);
}

/** @throws DroverError `block.corrupt` */
export function readFrame(source: ByteReader, spend: (bytes: number) => void): Buffer {
  const head = source.varint();
  const length = Math.floor(head / 2);
  if (head % 2 === 0) {
    const start = source.take(length);
    return source.bytes.subarray(start, start + length);
  }
  const rawBytes = source.varint();
  const start = source.take(length);
  if (rawBytes === 0) throw corrupt('a frame of nothing is compressed');
  spend(rawBytes);
  return decompress(Buffer.concat([MAGIC, source.bytes.subarray(start, start + length)]), rawBytes);
}
