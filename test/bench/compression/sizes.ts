/** What the cases of this benchmark are compared by: zstd level 3 alone, and CPU time. */
import { constants, zstdCompressSync } from 'node:zlib';

export const PEER_LEVEL = 3;
export const PEER_NAME = `zstd-${PEER_LEVEL} of row binary`;

/** Bytes of one zstd frame. */
export function zstd3(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : compress(bytes).length;
}

export function compress(bytes: Uint8Array): Buffer {
  return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: PEER_LEVEL } });
}

/** User and system time of this process, milliseconds: the least of three series of `rounds`. */
export function cpuMs(rounds: number, run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let series = 0; series < 3; series++) {
    const before = process.cpuUsage();
    for (let i = 0; i < rounds; i++) run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}
