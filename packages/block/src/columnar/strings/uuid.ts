/**
 * Values of 16 bytes that are UUIDs: random ones (version 4) without the six bits they all share, time-ordered ones (version 7) as a time in
 * milliseconds and the rest, all others as they are. Which is which is a column of its own, so nothing needs to be an exception.
 */
import { corrupt } from '../../header.ts';
import type { ByteReader, ByteWriter } from '../bytes.ts';
import { packBits, unpackBits } from '../ints/bit-pack.ts';
import { decodeNear, encodeInts } from '../ints.ts';
import type { Plan } from '../plan.ts';
import { fixedSlices, type Slices } from '../slices.ts';
import type { StreamSink, StreamSource } from '../streams.ts';

const WIDTH = 16;
const Version = { other: 0, random: 1, timed: 2 } as const;

function versionAt(bytes: Buffer, start: number): number {
  if (((bytes[start + 8] as number) & 0xc0) !== 0x80) return Version.other;
  const version = (bytes[start + 6] as number) & 0xf0;
  return version === 0x40 ? Version.random : version === 0x70 ? Version.timed : Version.other;
}

/** All of them 16 bytes long. */
export function writeUuids(values: Slices, sink: StreamSink, plan: Plan): void {
  const { bytes, starts, count } = values;
  const versions = new Float64Array(count);
  const sizes = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const version = versionAt(bytes, starts[i] as number);
    versions[i] = version;
    sizes[version] = (sizes[version] as number) + 1;
  }
  encodeInts(versions, sink, plan.child('versions'));
  for (let version = 0; version < 3; version++) {
    const size = sizes[version] as number;
    if (size === 0) continue;
    const rows = new Uint32Array(size);
    let at = 0;
    for (let i = 0; i < count; i++) if (versions[i] === version) rows[at++] = starts[i] as number;
    if (version === Version.timed) writeTimed(bytes, rows, sink, plan);
    else if (version === Version.random) writeRandom(bytes, rows, sink.random);
    else copyTails(bytes, rows, 0, sink.random);
  }
}

function copyTails(bytes: Buffer, rows: Uint32Array, skip: number, out: ByteWriter): void {
  out.reserve(rows.length * (WIDTH - skip));
  let at = out.size;
  for (let i = 0; i < rows.length; i++) {
    const start = rows[i] as number;
    for (let j = start + skip; j < start + WIDTH; j++) out.bytes[at++] = bytes[j] as number;
  }
  out.size = at;
}

/** 14 bytes, then the 4 + 6 bits left of the two that hold version and variant. */
function writeRandom(bytes: Buffer, rows: Uint32Array, out: ByteWriter): void {
  const count = rows.length;
  const bits = new Float64Array(count);
  out.reserve(count * 14);
  const to = out.bytes;
  let at = out.size;
  for (let i = 0; i < count; i++) {
    const start = rows[i] as number;
    for (let j = 0; j < WIDTH; j++) if (j !== 6 && j !== 8) to[at++] = bytes[start + j] as number;
    bits[i] = ((bytes[start + 6] as number) & 15) * 64 + ((bytes[start + 8] as number) & 63);
  }
  out.size = at;
  packBits(bits, count, 10, out);
}

function writeTimed(bytes: Buffer, rows: Uint32Array, sink: StreamSink, plan: Plan): void {
  const count = rows.length;
  const times = new Float64Array(count);
  const counters = new Float64Array(count);
  const bits = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const at = rows[i] as number;
    const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    const low =
      ((bytes[at + 2] as number) << 24) |
      ((bytes[at + 3] as number) << 16) |
      ((bytes[at + 4] as number) << 8) |
      (bytes[at + 5] as number);
    times[i] = high * 4294967296 + (low >>> 0);
    counters[i] = ((bytes[at + 6] as number) & 15) * 256 + (bytes[at + 7] as number);
    bits[i] = (bytes[at + 8] as number) & 63;
  }
  encodeInts(times, sink, plan.child('times'));
  encodeInts(counters, sink, plan.child('counters'));
  packBits(bits, count, 6, sink.random);
  copyTails(bytes, rows, 9, sink.random);
}

/** @throws DroverError `block.corrupt` */
export function readUuids(source: StreamSource, count: number): Slices {
  const versions = decodeNear(source, count);
  source.spend(count * (WIDTH + 8));
  const out = Buffer.allocUnsafe(count * WIDTH);
  const sizes = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const version = versions[i] as number;
    const size = sizes[version];
    if (size === undefined) throw corrupt('a uuid has an unknown version', { version });
    sizes[version] = size + 1;
  }
  for (let version = 0; version < 3; version++) {
    const size = sizes[version] as number;
    if (size === 0) continue;
    const rows = new Uint32Array(size);
    let at = 0;
    for (let i = 0; i < count; i++) if (versions[i] === version) rows[at++] = i * WIDTH;
    if (version === Version.timed) readTimed(source, rows, out);
    else if (version === Version.random) readRandom(source, rows, out);
    else placeTails(source.random, rows, 0, out);
  }
  return fixedSlices(out, 0, WIDTH, count);
}

function placeTails(source: ByteReader, rows: Uint32Array, skip: number, out: Buffer): void {
  let from = source.take(rows.length * (WIDTH - skip));
  const bytes = source.bytes;
  for (let i = 0; i < rows.length; i++) {
    const start = rows[i] as number;
    for (let j = start + skip; j < start + WIDTH; j++) out[j] = bytes[from++] as number;
  }
}

function readRandom(source: StreamSource, rows: Uint32Array, out: Buffer): void {
  const count = rows.length;
  let from = source.random.take(count * 14);
  const bytes = source.random.bytes;
  source.spend(count * 8);
  const bits = new Float64Array(count);
  unpackBits(source.random, count, 10, bits);
  for (let i = 0; i < count; i++) {
    const start = rows[i] as number;
    for (let j = start; j < start + WIDTH; j++) {
      const fixed = j === start + 6 || j === start + 8;
      if (!fixed) out[j] = bytes[from++] as number;
    }
    const rest = bits[i] as number;
    out[start + 6] = 0x40 | (rest >> 6);
    out[start + 8] = 0x80 | (rest & 63);
  }
}

function readTimed(source: StreamSource, rows: Uint32Array, out: Buffer): void {
  const count = rows.length;
  const times = decodeNear(source, count);
  const counters = decodeNear(source, count);
  source.spend(count * 8);
  const bits = new Float64Array(count);
  unpackBits(source.random, count, 6, bits);
  placeTails(source.random, rows, 9, out);
  for (let i = 0; i < count; i++) {
    const at = rows[i] as number;
    const time = times[i] as number;
    const high = Math.floor(time / 4294967296);
    const low = time - high * 4294967296;
    out[at] = high >>> 8;
    out[at + 1] = high;
    out[at + 2] = low >>> 24;
    out[at + 3] = low >>> 16;
    out[at + 4] = low >>> 8;
    out[at + 5] = low;
    const counter = counters[i] as number;
    out[at + 6] = 0x70 | ((counter >>> 8) & 15);
    out[at + 7] = counter;
    out[at + 8] = 0x80 | (bits[i] as number);
  }
}

const TEXT_WIDTH = 36;
const DASHES = new Set([8, 13, 18, 23]);
const DIGITS = Buffer.from('0123456789abcdef');
/** Of a character: its value as a lower-case hexadecimal digit, 255 for others. */
const VALUES = new Uint8Array(256).fill(255);
for (let digit = 0; digit < 16; digit++) VALUES[DIGITS[digit] as number] = digit;
/** Where each of the 16 bytes has its first digit. */
const PLACES = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/** The 16 bytes of each canonical lower-case UUID, or null when one value is not that. */
export function parseUuids(values: Slices): Slices | null {
  const { bytes, starts, ends, count } = values;
  if (count === 0 || (ends[0] as number) - (starts[0] as number) !== TEXT_WIDTH) return null;
  const out = Buffer.allocUnsafe(count * WIDTH);
  let to = 0;
  for (let i = 0; i < count; i++) {
    const start = starts[i] as number;
    if ((ends[i] as number) - start !== TEXT_WIDTH) return null;
    for (const dash of DASHES) if (bytes[start + dash] !== 0x2d) return null;
    for (let j = 0; j < WIDTH; j++) {
      const place = start + (PLACES[j] as number);
      const high = VALUES[bytes[place] as number] as number;
      const low = VALUES[bytes[place + 1] as number] as number;
      if ((high | low) > 15) return null;
      out[to++] = (high << 4) | low;
    }
  }
  return fixedSlices(out, 0, WIDTH, count);
}

/** @throws DroverError `block.corrupt` */
export function printUuids(values: Slices, source: StreamSource): Slices {
  const { bytes, starts, ends, count } = values;
  source.spend(count * TEXT_WIDTH);
  const out = Buffer.alloc(count * TEXT_WIDTH, 0x2d);
  for (let i = 0; i < count; i++) {
    const start = starts[i] as number;
    if ((ends[i] as number) - start !== WIDTH) throw corrupt('a uuid is not 16 bytes long');
    for (let j = 0; j < WIDTH; j++) {
      const byte = bytes[start + j] as number;
      const place = i * TEXT_WIDTH + (PLACES[j] as number);
      out[place] = DIGITS[byte >> 4] as number;
      out[place + 1] = DIGITS[byte & 15] as number;
    }
  }
  return fixedSlices(out, 0, TEXT_WIDTH, count);
}
