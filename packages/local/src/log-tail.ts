/**
 * The end of a log file: what is shown when a server does not start.
 */
import { open } from 'node:fs/promises';

const BYTES_MAX = 16 * 1024;

/** The last `lines` lines that are not empty, of at most 16 KiB; empty when there is no file. */
export async function logTail(path: string, lines = 12, fromByte = 0): Promise<string[]> {
  const file = await open(path, 'r').catch(() => null);
  if (file === null) return [];
  try {
    const { size } = await file.stat();
    const start = Math.max(fromByte, size - BYTES_MAX);
    const buffer = Buffer.alloc(Math.max(0, size - start));
    await file.read(buffer, 0, buffer.length, start);
    return buffer
      .toString('utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-lines);
  } finally {
    await file.close();
  }
}
