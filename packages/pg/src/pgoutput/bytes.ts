/**
 * Reading network-order values where the bytes may be damaged: whatever reaches beyond the end given is a DroverError
 * `pg.stream`, never a read of a neighbour's bytes.
 */
import { DroverError, type Lsn } from '@drover/core';

const words = new Uint32Array(2);
const quad = new BigUint64Array(words.buffer);
const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const LOW = LITTLE ? 0 : 1;

/** Unsigned 64 bits. One allocation, where `readBigUInt64BE` makes several. The caller has checked the bounds. */
export function readU64(bytes: Buffer, at: number): bigint {
  words[1 - LOW] = bytes.readUInt32BE(at);
  words[LOW] = bytes.readUInt32BE(at + 4);
  return quad[0] as bigint; // present: the array has one element
}

export function readLsn(bytes: Buffer, at: number): Lsn {
  return readU64(bytes, at) as Lsn; // 64 unsigned bits are an LSN
}

/** Signed, for times before 2000. */
export function readI64(bytes: Buffer, at: number): bigint {
  return BigInt.asIntN(64, readU64(bytes, at));
}

export function need(at: number, count: number, end: number): void {
  if (count > end - at) throw malformed(`needs ${count} bytes, ${end - at} are left`, { at });
}

/** Offset of the NUL that ends the string at `at`. */
export function cstringEnd(bytes: Buffer, at: number, end: number): number {
  const nul = bytes.indexOf(0, at);
  if (nul < 0 || nul >= end) throw malformed('a string has no end', { at });
  return nul;
}

export function malformed(what: string, facts: Record<string, unknown> = {}): DroverError {
  return new DroverError('pg.stream', `malformed replication message: ${what}`, { facts });
}
