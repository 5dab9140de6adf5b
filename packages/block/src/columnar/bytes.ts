/** Growing output and bounded input of the columnar encoding. Little-endian; varints are LEB128. Whatever the bytes, a reader yields values or `block.corrupt`. */
import { assert } from '@drover/core';
import { corrupt } from '../header.ts';

const INITIAL_BYTES = 1024;

export class ByteWriter {
  bytes: Buffer;
  size = 0;

  constructor(initialBytes = INITIAL_BYTES) {
    this.bytes = Buffer.allocUnsafe(initialBytes);
  }

  /** Room for `more` bytes; {@link bytes} may be another buffer afterwards. */
  reserve(more: number): void {
    const need = this.size + more;
    if (need <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(need, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.size);
    this.bytes = grown;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.size++] = value;
  }

  /** 0 to 2^53 - 1. */
  varint(value: number): void {
    assert(value >= 0 && Number.isSafeInteger(value), 'a varint is a natural number', { value });
    this.reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.bytes[this.size++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.bytes[this.size++] = rest;
  }

  copy(bytes: Uint8Array, start: number, end: number): void {
    this.reserve(end - start);
    this.bytes.set(bytes.subarray(start, end), this.size);
    this.size += end - start;
  }

  /** A view, valid until the next write. */
  get written(): Buffer {
    return this.bytes.subarray(0, this.size);
  }
}

export class ByteReader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  u8(): number {
    return this.bytes[this.take(1)] as number;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw corrupt('a number has too many bytes', { at: this.at });
  }

  /** Offset of `length` bytes, which are thereby read. */
  take(length: number): number {
    const start = this.at;
    if (!(length <= this.end - start)) throw corrupt('a column is cut', { at: start, length });
    this.at = start + length;
    return start;
  }
}
