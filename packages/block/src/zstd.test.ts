import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { compress, decompress, hasContext } from './zstd.ts';

const LENGTHS = [1, 2, 63, 64, 255, 256, 2047, 16_384, 131_071, 131_072, 131_073, 1_000_000, 2_500_000];

function* states(seed: number): Generator<number> {
  for (let state = seed >>> 0; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state;
  }
}

/** Different for each length and seed; `byte` makes one of a state. */
function made(length: number, seed: number, byte: (state: number) => number): Buffer {
  const source = states(seed);
  return Buffer.from(Uint8Array.from({ length }, () => byte(source.next().value as number)));
}

const content = (length: number, seed = length): Buffer =>
  made(length, seed, (state) => ((state >>> 24) % 3 === 0 ? state >>> 16 : 7));
const random = (length: number): Buffer => made(length, length, (state) => state >>> 24);

describe('a context that is kept', () => {
  it('makes frames that zlib reads, and reads those of zlib, whatever came before', () => {
    for (const level of [1, 3]) {
      for (const length of [...LENGTHS, ...LENGTHS.toReversed()]) {
        for (const bytes of [content(length), random(length)]) {
          const frame = Buffer.from(compress(bytes, level));
          expect(zstdDecompressSync(frame).equals(bytes)).toBe(true);
          expect(decompress(frame, length).equals(bytes)).toBe(true);
          expect(decompress(zstdCompressSync(bytes), length).equals(bytes)).toBe(true);
        }
      }
    }
  });

  it('makes the same frame of the same content, whatever came before', () => {
    const first = Buffer.from(compress(content(5000), 1));
    compress(content(70_000, 3), 1);
    compress(random(300), 3);
    expect(Buffer.from(compress(content(5000), 1)).equals(first)).toBe(true);
  });

  it('refuses what is damaged, and reads on', () => {
    const bytes = content(3000);
    const frame = Buffer.from(compress(bytes, 1));
    const damaged: Buffer[] = [
      frame.subarray(0, frame.length - 1),
      frame.subarray(0, 5),
      Buffer.from('no frame'),
      Buffer.alloc(0),
    ];
    damaged.push(Buffer.concat([frame, Buffer.from([1])]), Buffer.concat([frame, frame]));
    for (const one of damaged) {
      expect(() => decompress(one, bytes.length)).toThrow(expect.objectContaining({ code: 'block.corrupt' }));
      expect(decompress(frame, bytes.length).equals(bytes)).toBe(true);
    }
    for (const length of [0, 1, bytes.length - 1, bytes.length + 1]) {
      expect(() => decompress(frame, length)).toThrow(expect.objectContaining({ code: 'block.corrupt' }));
    }
    expect(decompress(frame, bytes.length).equals(bytes)).toBe(true);
  });
});

it('is what this runtime offers', () => {
  expect(hasContext()).toBe(true);
});
