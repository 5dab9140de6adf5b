import { DroverError } from '@drover/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GOLDEN } from '../pgoutput/golden.ts';
import { FrameReader } from './frames.ts';

function framed(type: string, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeUInt32BE(payload.length + 4, 1);
  return Buffer.concat([head, payload]);
}

/** Copies what it is handed, as the bytes are only lent. */
function collector() {
  const seen: [string, string][] = [];
  const reader = new FrameReader({
    frame: (type, bytes, start, end) => {
      seen.push([String.fromCharCode(type), bytes.toString('hex', start, end)]);
    },
  });
  return { seen, reader };
}

const PAYLOADS = Object.values(GOLDEN);
const STREAM = Buffer.concat([...PAYLOADS.map((p) => framed('d', p)), framed('c', Buffer.alloc(0))]);
const EXPECTED = [...PAYLOADS.map((p) => ['d', p.toString('hex')]), ['c', '']];

test('split in two at every byte', () => {
  for (let at = 0; at <= STREAM.length; at++) {
    const { seen, reader } = collector();
    reader.push(STREAM.subarray(0, at));
    reader.push(STREAM.subarray(at));
    expect(seen, `split at ${at}`).toEqual(EXPECTED);
  }
});

test('byte by byte', () => {
  const { seen, reader } = collector();
  for (const byte of STREAM) reader.push(Buffer.from([byte]));
  expect(seen).toEqual(EXPECTED);
});

test('in pieces of any size', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 700 })), (sizes) => {
      const { seen, reader } = collector();
      let at = 0;
      for (const size of sizes) {
        reader.push(STREAM.subarray(at, at + size));
        at += size;
      }
      reader.push(STREAM.subarray(Math.min(at, STREAM.length)));
      expect(seen).toEqual(EXPECTED);
    }),
  );
});

test('a message of 5 MB over many reads, and small ones behind it', () => {
  const large = Buffer.alloc(5 * 1024 * 1024, 7);
  const all = Buffer.concat([
    framed('d', Buffer.from('a')),
    framed('d', large),
    framed('d', Buffer.from('b')),
  ]);
  const sizes: number[] = [];
  let sum = 0;
  const reader = new FrameReader({
    frame: (_, bytes, start, end) => {
      sizes.push(end - start);
      for (let i = start; i < end; i++) sum += bytes[i]!;
    },
  });
  for (let at = 0; at < all.length; at += 65_536) reader.push(all.subarray(at, at + 65_536));
  expect(sizes).toEqual([1, large.length, 1]);
  expect(sum).toBe(large.length * 7 + 97 + 98);
});

test.each([0, 3, 0x4000_0001, 0xffff_ffff])('a declared length of %i is refused', (length) => {
  const head = Buffer.alloc(5);
  head.write('d');
  head.writeUInt32BE(length, 1);
  expect(() => collector().reader.push(head)).toThrow(DroverError);
  const { reader } = collector();
  reader.push(head.subarray(0, 2));
  expect(() => reader.push(head.subarray(2))).toThrow(DroverError);
});

test('a declared gigabyte costs nothing until its bytes come', () => {
  const head = Buffer.alloc(70_000);
  head.write('d');
  head.writeUInt32BE(0x3fff_ffff, 1);
  const before = process.memoryUsage().arrayBuffers;
  const { seen, reader } = collector();
  reader.push(head);
  reader.push(head);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10 * 1024 * 1024);
  expect(seen).toEqual([]);
});
