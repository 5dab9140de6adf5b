/**
 * postmaster.pid: what it says, and whether the server it names still runs.
 * Format (PostgreSQL `src/include/utils/pidfile.h`): pid, data directory, start time, port, socket dir, address, shmem, status.
 */

import { execFileSync } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { alive, processesIn, signalProcess, waitForEnd } from './process-tree.ts';

export interface PidFile {
  readonly pid: number;
  readonly port: number;
  /** "starting", "ready", "standby" or "stopping". */
  readonly status: string;
}

/** null when the text is not (or not yet) complete. */
export function parsePidFile(text: string): PidFile | null {
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0) return null;
  const port = Number(lines[3] ?? 0);
  return { pid, port: Number.isInteger(port) ? port : 0, status: (lines[7] ?? '').trim() };
}

export async function readPidFile(data: string): Promise<PidFile | null> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => null);
  return text === null ? null : parsePidFile(text);
}

/** The server that runs in `data`, or null. A pid that was given to some other program since does not count. */
export async function runningPostmaster(data: string): Promise<PidFile | null> {
  const file = await readPidFile(data);
  if (file === null || !alive(file.pid)) return null;
  if (process.platform === 'linux') return processesIn(data).includes(file.pid) ? file : null;
  try {
    const command = execFileSync('ps', ['-p', String(file.pid), '-o', 'command='], { encoding: 'utf8' });
    return command.includes('postgres') ? file : null;
  } catch {
    return null;
  }
}

/**
 * After a crash: ends what is left of the dead server's processes (they hold its shared memory, which would keep
 * the next one from starting) and removes the stale pid file. Only to be called when no postmaster runs in `data`.
 */
export async function clearCrashed(data: string): Promise<void> {
  const orphans = processesIn(data);
  for (const pid of orphans) signalProcess(pid, 'SIGKILL');
  for (const pid of orphans) await waitForEnd(pid, 5000);
  await rm(join(data, 'postmaster.pid'), { force: true });
}
