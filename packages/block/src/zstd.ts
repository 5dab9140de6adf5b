/**
 * zstd of small pieces, synchronously, with a context that lives as long as the process. `zlib.zstdCompressSync` makes a context for each call,
 * which costs several times what compressing two kilobytes does (docs/adr/0009-zstd-context.md has the figures). Node offers no way to keep one, so this
 * drives the handle under `zlib.createZstdCompress()` itself: a frame that was ended leaves its context ready for the next one (zstd manual,
 * ZSTD_compressStream2). Where that handle is not as expected, the calls of `node:zlib` are used instead.
 */
import {
  constants,
  createZstdCompress,
  createZstdDecompress,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import { DroverError } from '@drover/core';

/** As Node 24 has it (lib/zlib.js, processChunkSync). */
interface Handle {
  writeSync(
    flush: number,
    from: Uint8Array,
    fromOffset: number,
    fromLength: number,
    to: Uint8Array,
    toOffset: number,
    toLength: number,
  ): void;
  onerror: (message: string) => void;
}

interface Context {
  readonly handle: Handle;
  /** After a write: bytes left in the output, bytes left in the input. */
  readonly state: Uint32Array;
  failure: string | null;
}

/** A frame may ask for no larger window than this, whatever its bytes say: 8 MiB. */
const WINDOW_LOG_MAX = 23;
const SCRATCH_BYTES = 256 * 1024;
const SCRATCH_BYTES_MAX = 4 * 1024 * 1024;

const compressors = new Map<number, Context | null>();
let decompressor: Context | null | undefined;
let scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/** One frame. The result is only valid until the next call. */
export function compress(content: Uint8Array, level: number): Buffer {
  const context = compressorOf(level);
  if (context === null) return zstdCompressSync(content, { params: levelOf(level) });
  const out = scratchOf(boundOf(content.length));
  const written = write(context, constants.ZSTD_e_end, content, out);
  if (written !== null) return out.subarray(0, written);
  compressors.delete(level);
  return zstdCompressSync(content, { params: levelOf(level) });
}

/** The content of a frame of exactly `bytes` bytes, in memory of its own. @throws DroverError `block.corrupt` */
export function decompress(frame: Uint8Array, bytes: number): Buffer {
  decompressor ??= decompressorOrNull();
  const out = Buffer.allocUnsafe(bytes);
  if (decompressor === null) return plainDecompress(frame, bytes);
  const { state } = decompressor;
  const written = bytes === 0 ? null : write(decompressor, constants.ZSTD_e_continue, frame, out);
  // What is left over in the input belongs to a frame that is longer than declared.
  if (written === bytes && state[1] === 0) return out;
  const why = decompressor.failure ?? 'it is not as long as declared';
  decompressor = undefined;
  throw new DroverError(
    'block.corrupt',
    `a block is damaged: what is compressed in it does not decompress: ${why}`,
  );
}

/** Whether this Node's streams are as expected; otherwise each call makes a context of its own. */
export function hasContext(): boolean {
  return decompressorOrNull() !== null;
}

/** Null: it failed, or did not end; the context must not be used again. */
function write(context: Context, flush: number, from: Uint8Array, to: Buffer): number | null {
  context.handle.writeSync(flush, from, 0, from.length, to, 0, to.length);
  const [left = 0, unread = 0] = context.state;
  return context.failure === null && unread === 0 ? to.length - left : null;
}

function compressorOf(level: number): Context | null {
  let context = compressors.get(level);
  if (context === undefined) {
    context = contextOf(createZstdCompress({ params: levelOf(level) }));
    compressors.set(level, context);
  }
  return context;
}

function decompressorOrNull(): Context | null {
  return contextOf(createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX } }));
}

/** Null when this Node's streams are made otherwise. */
function contextOf(stream: object): Context | null {
  const { _handle: handle, _writeState: state } = stream as {
    _handle?: Partial<Handle>;
    _writeState?: unknown;
  };
  if (typeof handle?.writeSync !== 'function' || !(state instanceof Uint32Array) || state.length !== 2)
    return null;
  const context: Context = { handle: handle as Handle, state, failure: null };
  context.handle.onerror = (message) => {
    context.failure = message;
  };
  return context;
}

function plainDecompress(frame: Uint8Array, bytes: number): Buffer {
  try {
    const params = { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX };
    const content = zstdDecompressSync(frame, { maxOutputLength: Math.max(1, bytes), params });
    if (content.length === bytes) return content;
  } catch (cause) {
    throw new DroverError(
      'block.corrupt',
      'a block is damaged: what is compressed in it does not decompress',
      { cause },
    );
  }
  throw new DroverError(
    'block.corrupt',
    'a block is damaged: what is compressed in it is shorter than declared',
  );
}

const levelOf = (level: number): Record<number, number> => ({ [constants.ZSTD_c_compressionLevel]: level });

/** ZSTD_COMPRESSBOUND (zstd.h). */
function boundOf(bytes: number): number {
  return bytes + (bytes >> 8) + (bytes < 131_072 ? (131_072 - bytes) >> 11 : 0) + 64;
}

function scratchOf(bytes: number): Buffer {
  if (bytes <= scratch.length) return scratch;
  const grown = Buffer.allocUnsafeSlow(bytes);
  if (bytes <= SCRATCH_BYTES_MAX) scratch = grown;
  return grown;
}
