/**
 * HalfSipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"; halfsiphash.c of its authors, hsiphash of Linux): 32 bits that
 * nobody foresees who does not know the key. Tenants choose the keys of their rows, and must not be able to make many of them collide.
 */

/**
 * @param k0 and `k1`: the key, two 32-bit halves
 * @returns a signed 32-bit number for `bytes[from, to)`
 */
export function keyHash(k0: number, k1: number, bytes: Uint8Array, from: number, to: number): number {
  let v0 = k0 | 0;
  let v1 = k1 | 0;
  let v2 = k0 ^ 0x6c796765;
  let v3 = k1 ^ 0x74656462;
  let at = from;
  // One round a word, one for the last bytes with the length, three to end.
  for (let left = ((to - from) >> 2) + 4; left > 0; left--) {
    let word = 0;
    if (left > 4) {
      word = word32(bytes, at);
      at += 4;
    } else if (left === 4) {
      word = (to - from) << 24;
      for (let shift = 0; at < to; at++, shift += 8) word |= (bytes[at] as number) << shift;
    } else if (left === 3) v2 ^= 0xff;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return v1 ^ v3;
}

function word32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}
