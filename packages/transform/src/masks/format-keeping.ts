/**
 * Pseudonyms of the same form: digits become digits, letters letters of their alphabet, everything else stays, and so does the length.
 * Bijective among the texts of one form, hence usable in keys. Long texts are exchanged piece by piece; each piece depends on the pieces
 * before it.
 */
import { createHmac } from 'node:crypto';
import { assert } from '@drover/core';
import { intBounds } from '../values/types.ts';
import { ALPHABETS, alphabetOf } from './alphabets.ts';
import { DOMAIN_BITS_MAX, permute } from './permute.ts';

const DOMAIN_MAX = 1n << BigInt(DOMAIN_BITS_MAX);

export function keepTextFormat(key: Buffer, text: string): string {
  const codes = Array.from(text, (c) => c.codePointAt(0) ?? 0);
  const kinds = codes.map(alphabetOf);
  let tweak = digest(key, form(codes, kinds));
  let piece: number[] = [];
  let domain = 1n;
  const flush = (): void => {
    if (piece.length === 0) return;
    const value = exchange(key, tweak, codes, kinds, piece, domain);
    tweak = digest(key, Buffer.concat([tweak, Buffer.from(value.toString(16))]));
    piece = [];
    domain = 1n;
  };
  for (const [i, kind] of kinds.entries()) {
    if (kind < 0) continue;
    const size = BigInt(alphabet(kind).size);
    if (domain * size > DOMAIN_MAX) flush();
    piece.push(i);
    domain *= size;
  }
  flush();
  return String.fromCodePoint(...codes.slice(0, PIECE)).concat(...rest(codes));
}

/** Arguments of one call are bounded by the stack. */
const PIECE = 4096;

function rest(codes: readonly number[]): string[] {
  const out: string[] = [];
  for (let i = PIECE; i < codes.length; i += PIECE)
    out.push(String.fromCodePoint(...codes.slice(i, i + PIECE)));
  return out;
}

/** Rewrites the characters at `piece`, read as one number of mixed radix; returns the new number. */
function exchange(
  key: Buffer,
  tweak: Buffer,
  codes: number[],
  kinds: readonly number[],
  piece: readonly number[],
  domain: bigint,
): bigint {
  let x = 0n;
  for (const i of piece) {
    const { first, size } = alphabet(kinds[i] ?? -1);
    x = x * BigInt(size) + BigInt((codes[i] ?? 0) - first);
  }
  const value = permute(key, tweak, x, domain);
  let left = value;
  for (const i of piece.toReversed()) {
    const { first, size } = alphabet(kinds[i] ?? -1);
    codes[i] = first + Number(left % BigInt(size));
    left /= BigInt(size);
  }
  return value;
}

function alphabet(kind: number): { first: number; size: number } {
  const found = ALPHABETS[kind];
  assert(found !== undefined, 'no such alphabet');
  return found;
}

/** What stays: which character is of which alphabet, and the characters of none. */
function form(codes: readonly number[], kinds: readonly number[]): Buffer {
  const out = Buffer.alloc(codes.length * 4);
  for (const [i, code] of codes.entries()) {
    const kind = kinds[i] ?? -1;
    out.writeInt32BE(kind < 0 ? code : -1 - kind, i * 4);
  }
  return out;
}

function digest(key: Buffer, bytes: Buffer): Buffer {
  return createHmac('sha256', key).update(bytes).digest();
}

/** Same sign, same number of digits, within the type. `size`: bytes of the type. */
export function keepIntFormat(key: Buffer, value: bigint, size: number): bigint {
  const negative = value < 0n;
  const magnitude = negative ? -value : value;
  const count = String(magnitude).length;
  const { min, max } = intBounds(size);
  const low = count === 1 ? (negative ? 1n : 0n) : 10n ** BigInt(count - 1);
  const most = 10n ** BigInt(count) - 1n;
  const bound = negative ? -min : max;
  const high = most < bound ? most : bound;
  const tweak = Buffer.from(`int:${negative ? '-' : '+'}${count}:${high}`);
  const kept = low + permute(key, tweak, magnitude - low, high - low + 1n);
  return negative ? -kept : kept;
}

/** Any uuid to any uuid. */
export function keepUuidFormat(key: Buffer, value: Buffer): Buffer {
  const x = BigInt(`0x${value.toString('hex')}`);
  const kept = permute(key, Buffer.from('uuid'), x, 1n << 128n);
  return Buffer.from(kept.toString(16).padStart(32, '0'), 'hex');
}
