/**
 * CPU seconds of processes, by /proc/<pid>/stat (Linux). A process that begins during the measurement counts from its start; one that
 * ends counts up to the last sample, so samples are taken several times a second.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second in /proc: USER_HZ, 100 on every Linux. */
const TICKS = 100;

export interface ProcessTimes {
  readonly parent: number;
  /** User and system time, seconds. */
  readonly cpuSeconds: number;
  /** Seconds after boot. */
  readonly startedAt: number;
}

/** The line of /proc/<pid>/stat; the command in parentheses may hold anything (proc(5)). Pure. */
export function parseStat(text: string): ProcessTimes {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]); // as proc(5) counts, state is 3
  return {
    parent: field(4),
    cpuSeconds: (field(14) + field(15)) / TICKS,
    startedAt: field(22) / TICKS,
  };
}

/** Null when the process has ended. */
export function readTimes(pid: number): ProcessTimes | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return null;
  }
}

/** The most memory the process has had at once, MB of its resident set (proc(5), VmHWM); null when it has ended. */
export function peakMemoryMb(pid: number): number | null {
  try {
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return found?.[1] === undefined ? null : Number(found[1]) / 1024;
  } catch {
    return null;
  }
}

/** `root` and everything it has started. */
export function processTree(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const times = readTimes(Number(name));
    if (times !== null) parents.set(Number(name), times.parent);
  }
  const tree = [root];
  for (const pid of tree) for (const [child, parent] of parents) if (parent === pid) tree.push(child);
  return tree;
}

/** Process ids by the name under which their time is added up. */
export type Groups = Readonly<Record<string, readonly number[]>>;

export interface CpuPorts {
  readonly times: (pid: number) => ProcessTimes | null;
  /** Seconds after boot. */
  readonly uptime: () => number;
}

const PROC: CpuPorts = {
  times: readTimes,
  uptime: () => Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]),
};

/** From construction on. Sample now and then with whoever works at that time, and a last time at the end. */
export class CpuMeter {
  readonly #ports: CpuPorts;
  readonly #beganAt: number;
  readonly #processes = new Map<string, { group: string; base: number; last: number }>();

  constructor(groups: Groups, ports: CpuPorts = PROC) {
    this.#ports = ports;
    this.#beganAt = ports.uptime();
    this.sample(groups);
  }

  sample(groups: Groups): void {
    for (const [group, pids] of Object.entries(groups)) {
      for (const pid of pids) {
        const times = this.#ports.times(pid);
        if (times === null) continue;
        const key = `${pid} ${times.startedAt}`; // ids are used again
        const known = this.#processes.get(key);
        if (known !== undefined) known.last = times.cpuSeconds;
        else {
          const base = times.startedAt > this.#beganAt ? 0 : times.cpuSeconds;
          this.#processes.set(key, { group, base, last: times.cpuSeconds });
        }
      }
    }
  }

  /** CPU seconds by group. */
  get seconds(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { group, base, last } of this.#processes.values())
      sums[group] = (sums[group] ?? 0) + last - base;
    return sums;
  }

  get total(): number {
    return Object.values(this.seconds).reduce((sum, seconds) => sum + seconds, 0);
  }
}
