/**
 * Looking at and ending processes that are not (or no longer) our children.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { until } from '@drover/core';

/** Whether a process of that id exists and is not a zombie. */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  if (process.platform !== 'linux') return true;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.charAt(stat.lastIndexOf(')') + 2) !== 'Z';
  } catch {
    return false;
  }
}

/** Sends a signal; a process that has ended meanwhile is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Resolves true when the process has ended, false when it still runs after `timeoutMs`. */
export async function waitForEnd(pid: number, timeoutMs: number): Promise<boolean> {
  try {
    return await until(() => (alive(pid) ? undefined : true), {
      everyMs: 20,
      timeoutMs,
      onTimeout: () => new Error('still running'),
    });
  } catch {
    return false;
  }
}

/** Resolves when a process that is not our child has ended. Waiting for it does not keep our own process alive. */
export function endOf(pid: number, everyMs = 100): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (alive(pid)) setTimeout(look, everyMs).unref();
      else resolve();
    };
    look();
  });
}

/** Children of `parent` now, by the process table. */
export function childrenOf(parent: number): number[] {
  let table: string;
  try {
    table = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    table = tableFromProc(); // containers often have no ps
  }
  const children: number[] = [];
  for (const line of table.split('\n')) {
    const [pid, ppid] = line.trim().split(/\s+/).map(Number);
    if (ppid === parent && pid !== undefined) children.push(pid);
  }
  return children;
}

function tableFromProc(): string {
  const lines: string[] = [];
  for (const pid of processIds()) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      lines.push(`${pid} ${stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]}`);
    } catch {
      // it ended while we looked
    }
  }
  return lines.join('\n');
}

/** Linux: processes whose working folder is `folder`, as every PostgreSQL process's is its data directory. Elsewhere none. */
export function processesIn(folder: string): number[] {
  let real: string;
  try {
    real = realpathSync(folder);
  } catch {
    return [];
  }
  return processIds().filter((pid) => workingFolder(pid) === real);
}

/** Linux: the working folder of a process; null when it ended, is not ours to look at, or elsewhere. */
export function workingFolder(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}

function processIds(): number[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}
