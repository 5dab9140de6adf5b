/**
 * A keyed permutation of 0 … n-1 for any n: a Feistel network over two numbers (as in FF1, NIST SP 800-38G, with the halves a · b ≥ n and
 * HMAC-SHA256 as round function), walked on until it comes to rest below n. Bijective by construction; as a secret it is worth no more than its
 * domain: a domain of ten values can be written down.
 */
import { createHmac } from 'node:crypto';
import { assert } from '@drover/core';

const ROUNDS = 10;
/** So that one HMAC yields 64 bits more than a half needs. */
export const DOMAIN_BITS_MAX = 192;

/** `tweak`: other texts are permuted otherwise. 0 ≤ x < n. */
export function permute(key: Buffer, tweak: Buffer, x: bigint, n: bigint): bigint {
  assert(x >= 0n && x < n, 'a value outside of the domain it is permuted in');
  if (n === 1n) return x;
  const a = ceilSqrt(n);
  const b = (n + a - 1n) / a;
  let value = x;
  do value = rounds(key, tweak, value, a, b);
  while (value >= n);
  return value;
}

function rounds(key: Buffer, tweak: Buffer, x: bigint, a: bigint, b: bigint): bigint {
  let left = x / b;
  let right = x % b;
  for (let round = 0; round < ROUNDS; round++) {
    if (round % 2 === 0) left = (left + mix(key, tweak, round, right)) % a;
    else right = (right + mix(key, tweak, round, left)) % b;
  }
  return left * b + right;
}

function mix(key: Buffer, tweak: Buffer, round: number, half: bigint): bigint {
  const hmac = createHmac('sha256', key)
    .update(tweak)
    .update(`${round}:${half.toString(16)}`);
  return BigInt(`0x${hmac.digest('hex')}`);
}

/** Smallest a with a · a ≥ n. */
function ceilSqrt(n: bigint): bigint {
  let a = 1n << BigInt(Math.ceil(n.toString(2).length / 2));
  for (;;) {
    const next = (a + n / a) / 2n;
    if (next >= a) return a * a >= n ? a : a + 1n;
    a = next;
  }
}
