/** Bytes by whole words, at any place. */

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** From here on a call is faster than a loop. */
const LONG = 128;

/** @returns where the copy ends */
export function copyBytes(from: DataView, start: number, end: number, to: DataView, at: number): number {
  if (end - start >= LONG) {
    new Uint8Array(to.buffer, to.byteOffset, to.byteLength).set(
      new Uint8Array(from.buffer, from.byteOffset + start, end - start),
      at,
    );
    return at + end - start;
  }
  let source = start;
  let target = at;
  for (const words = end - 3; source < words; source += 4, target += 4) {
    to.setInt32(target, from.getInt32(source));
  }
  for (; source < end; source++, target++) to.setUint8(target, from.getUint8(source));
  return target;
}
