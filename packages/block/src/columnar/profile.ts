/**
 * Small messages by what earlier ones have taught: a profile holds the tables, the values that come again, how numbers grow and how text begins.
 * It is immutable and named by the hash of its bytes; what it encodes can be decoded with that very profile only. A profile belongs to one tenant,
 * whose values it holds. Keeping profiles, and having them wherever messages that name them are read, is up to the caller.
 *
 * Stored: version and flags (1 there is residue, 2 it is compressed), CRC-32 of the body, so that what another profile or another version makes of it is
 * found out; the residue's length as stored and, when compressed, before; the residue; then one range-coded stream.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { corrupt } from '../header.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { Context, Out } from './profile/context.ts';
import { type LearnOptions, learnModel } from './profile/learn.ts';
import { decodeBody, type EncodeState, encodeBody } from './profile/message.ts';
import type { ProfileModel } from './profile/model.ts';
import { RangeDecoder, RangeEncoder } from './profile/range-coder.ts';
import { packResidue, unpackResidue } from './profile/residue.ts';
import { readModel, writeModel } from './profile/serial.ts';

export type { LearnOptions };

/** First byte of what is stored: four bits of version above the flags. */
const VERSION = 0x10;
const HAS_RESIDUE = 1;
const COMPRESSED = 2;
const CRC_BYTES = 4;
/** Larger bodies are better off as columns of their own. */
export const PROFILE_RAW_BYTES_MAX = 256 * 1024;

export class Profile {
  /** SHA-256 of {@link bytes}, hexadecimal. */
  readonly id: string;
  readonly bytes: Buffer;
  readonly model: ProfileModel;
  /** The first four bytes of its hash. */
  readonly check: number;
  readonly state: EncodeState;

  /** @throws DroverError `block.corrupt` */
  constructor(bytes: Buffer) {
    const hash = createHash('sha256').update(bytes).digest();
    this.id = hash.toString('hex');
    this.bytes = bytes;
    this.check = hash.readUInt32BE(0);
    this.model = readModel(new ByteReader(bytes));
    this.state = {
      range: new RangeEncoder(),
      residue: new ByteWriter(256),
      context: new Context(this.model.columns, this.model.ints),
    };
  }
}

/** The profile of a model, as it will be read elsewhere. */
export function sealProfile(model: ProfileModel): Profile {
  return new Profile(writeModel(model));
}

/** The same messages and options give the same profile. Null when there is no row to learn from. */
export function learn(messages: readonly Buffer[], options: LearnOptions): Profile | null {
  const model = learnModel(messages, options);
  return model === null ? null : sealProfile(model);
}

/** @param id what the bytes must hash to. @throws DroverError `block.corrupt` */
export function openProfile(bytes: Buffer, id: string): Profile {
  const profile = new Profile(Buffer.from(bytes));
  if (profile.id !== id) throw corrupt('a profile is not the one it is named as', { id, actual: profile.id });
  return profile;
}

/** Null when the body is too large, none a writer makes, or not smaller for it. */
export function encodeWithProfile(raw: Buffer, profile: Profile): Buffer | null {
  if (raw.length > PROFILE_RAW_BYTES_MAX) return null;
  const { model, state } = profile;
  if (!encodeBody(raw, model, state)) return null;
  const residue = packResidue(state.residue.written, model.dictionary);
  const coded = state.range.finish();
  const head = new ByteWriter(16);
  head.u8(VERSION | (residue === null ? 0 : residue.compressed ? HAS_RESIDUE | COMPRESSED : HAS_RESIDUE));
  const crc = Buffer.allocUnsafe(CRC_BYTES);
  crc.writeUInt32BE(crc32(raw));
  head.copy(crc, 0, CRC_BYTES);
  if (residue !== null) {
    head.varint(residue.bytes.length);
    if (residue.compressed) head.varint(state.residue.size);
  }
  const parts = residue === null ? [head.written, coded] : [head.written, residue.bytes, coded];
  const stored = Buffer.concat(parts);
  return stored.length < raw.length ? stored : null;
}

/** @param rawBytes length of the body. @throws DroverError `block.corrupt`, also with another profile than it was made by */
export function decodeWithProfile(stored: Buffer, profile: Profile, rawBytes: number): Buffer {
  const input = new ByteReader(stored);
  const flags = input.u8() - VERSION;
  if (flags !== 0 && flags !== HAS_RESIDUE && flags !== (HAS_RESIDUE | COMPRESSED)) {
    throw corrupt('a message is of an unknown kind', { flags });
  }
  const crc = stored.readUInt32BE(input.take(CRC_BYTES));
  if (rawBytes > PROFILE_RAW_BYTES_MAX)
    throw corrupt('it declares more than a message may have', { rawBytes });
  const { model } = profile;
  let residue: Buffer = Buffer.alloc(0);
  if (flags !== 0) {
    const length = input.varint();
    const plain = flags === HAS_RESIDUE ? length : input.varint();
    if (plain > rawBytes) throw corrupt('it has more text than bytes', { plain });
    const start = input.take(length);
    const bytes = stored.subarray(start, start + length);
    residue = flags === HAS_RESIDUE ? bytes : unpackResidue(bytes, plain, model.dictionary);
  }
  const source = {
    range: new RangeDecoder(stored, input.at),
    residue: new ByteReader(residue),
    context: new Context(model.columns, model.ints),
    out: new Out(rawBytes),
  };
  decodeBody(model, source);
  if (source.out.at !== rawBytes || source.residue.left !== 0) throw corrupt('its records do not add up');
  if (crc32(source.out.bytes) !== crc) throw corrupt('it comes out otherwise', { profile: profile.id });
  return source.out.bytes;
}
