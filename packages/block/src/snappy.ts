/**
 * snappy's raw format (google/snappy, format_description.txt) by the package `snappy`: native code, one prebuilt library for each platform. It is
 * loaded when it is first needed, so a process that meets no such block does not depend on it. What a block says of its length is checked before
 * anything is allocated.
 */
import { createRequire } from 'node:module';
import { DroverError } from '@drover/core';

interface Codec {
  compressSync(content: Uint8Array, options: { copyOutputData: boolean }): Buffer;
  uncompressSync(stored: Uint8Array, options: { asBuffer: true; copyOutputData: boolean }): Buffer | string;
}

/** What the library hands out is copied into memory of V8's: memory of its own is only freed when the event loop turns. */
const OPTIONS = { asBuffer: true, copyOutputData: true } as const;
/** An element of three bytes stands for 64 at most: whatever declares more than this for each stored byte is damaged. */
const EXPANSION_MAX = 22;
/** The length in front: seven bits a byte, the lowest first. */
const PREAMBLE_BYTES_MAX = 5;

const HINT =
  'The library is an optional part of the npm package snappy: run `npm ci` without leaving optional packages out, on a platform it is made for';

let codec: Codec | undefined;

/** For whoever is to write such blocks, before the first. @throws DroverError `config.invalid` when the library cannot be loaded */
export function requireSnappy(): void {
  try {
    load();
  } catch (cause) {
    throw new DroverError('config.invalid', '[cdc] compression: snappy cannot be used by this process', {
      hint: HINT,
      cause,
    });
  }
}

/** @throws DroverError `block.codec` */
export function compressSnappy(content: Uint8Array): Buffer {
  return load().compressSync(content, OPTIONS);
}

/** The content, of exactly `bytes` bytes, in memory of its own. @throws DroverError `block.corrupt`, `block.codec` */
export function decompressSnappy(stored: Uint8Array, bytes: number): Buffer {
  if (declaredBytes(stored) !== bytes) throw damaged('it is not as long as declared');
  if (bytes > stored.length * EXPANSION_MAX) throw damaged('it is too short for what it declares');
  const library = load();
  let content: Buffer | string;
  try {
    content = library.uncompressSync(stored, OPTIONS);
  } catch (cause) {
    throw damaged('it does not decompress', cause);
  }
  if (typeof content === 'string' || content.length !== bytes) throw damaged('it is not as long as declared');
  return content;
}

/** What the preamble says; null when there is none. */
function declaredBytes(stored: Uint8Array): number | null {
  let value = 0;
  for (let i = 0; i < PREAMBLE_BYTES_MAX; i++) {
    const byte = stored[i];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value;
  }
  return null;
}

function load(): Codec {
  if (codec !== undefined) return codec;
  try {
    codec = createRequire(import.meta.url)('snappy') as Codec;
    return codec;
  } catch (cause) {
    throw new DroverError('block.codec', 'a block is compressed by snappy, whose library cannot be loaded', {
      hint: HINT,
      cause,
    });
  }
}

function damaged(why: string, cause?: unknown): DroverError {
  return new DroverError('block.corrupt', `a block is damaged: what is compressed in it: ${why}`, { cause });
}
