/** One whole number of 1, 2, 4 or 8 bytes, big-endian; of one byte unsigned (bool, "char"), wider ones signed. */

/** NaN when the value has another width, or is beyond what a number holds exactly. */
export function readFixedAt(bytes: Buffer, start: number, end: number, width: number): number {
  if (end - start !== width) return Number.NaN;
  if (width === 1) return bytes[start] as number;
  if (width === 2) return bytes.readInt16BE(start);
  if (width === 4) return bytes.readInt32BE(start);
  const value = bytes.readInt32BE(start) * 4294967296 + bytes.readUInt32BE(start + 4);
  return Number.isSafeInteger(value) ? value : Number.NaN;
}

/** False when the value does not fit. */
export function writeFixedAt(bytes: Buffer, at: number, width: number, value: number): boolean {
  if (width === 8) {
    const high = Math.floor(value / 4294967296);
    bytes.writeInt32BE(high, at);
    bytes.writeUInt32BE(value - high * 4294967296, at + 4);
    return true;
  }
  const limit = 2 ** (8 * width - 1);
  if (width === 1 ? value < 0 || value > 255 : value < -limit || value >= limit) return false;
  bytes.writeIntBE(width === 1 && value > 127 ? value - 256 : value, at, width);
  return true;
}
