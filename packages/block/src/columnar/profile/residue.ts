/** What no model could predict, compressed by what was said before. */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { DroverError } from '@drover/core';
import { corrupt } from '../../header.ts';

const MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const LEVEL = 3;
/** Fewer bytes do not pay for a frame. */
const FRAME_BYTES_MIN = 12;

/** 256 KiB: no body of a message is larger. */
const WINDOW_LOG_MAX = 18;

export interface Residue {
  readonly bytes: Buffer;
  readonly compressed: boolean;
}

/** Null when there is none. */
export function packResidue(bytes: Buffer, dictionary: Buffer): Residue | null {
  if (bytes.length === 0) return null;
  if (bytes.length >= FRAME_BYTES_MIN) {
    const packed = compressWith(bytes, dictionary);
    if (packed.length < bytes.length) return { bytes: packed, compressed: true };
  }
  return { bytes, compressed: false };
}

/** A frame without its magic number. */
export function compressWith(bytes: Buffer, dictionary: Buffer): Buffer {
  return zstdCompressSync(bytes, {
    ...(dictionary.length === 0 ? {} : { dictionary }),
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
    pledgedSrcSize: bytes.length,
    chunkSize: Math.max(1024, bytes.length),
  }).subarray(MAGIC.length);
}

/** @throws DroverError `block.corrupt` */
export function unpackResidue(packed: Buffer, length: number, dictionary: Buffer): Buffer {
  let content: Buffer;
  try {
    content = zstdDecompressSync(Buffer.concat([MAGIC, packed]), {
      ...(dictionary.length === 0 ? {} : { dictionary }),
      maxOutputLength: Math.max(1, length),
      // A damaged frame may ask for a window far larger than its content.
      params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
      chunkSize: Math.max(1024, length),
    });
  } catch (cause) {
    throw new DroverError('block.corrupt', 'a block is damaged: its text does not decompress', { cause });
  }
  if (content.length !== length) throw corrupt('its text is shorter than declared', { length });
  return content;
}
