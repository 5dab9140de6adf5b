/** One peer catching up with what was written while it was stopped. */
import { sleep } from '@drover/core';
import { CpuMeter, type Groups, peakMemoryMb } from '../lib/cpu.ts';
import type { Peer } from './peer.ts';
import { TENANTS } from './tables.ts';

const LOOK_MS = 20;
const SAMPLE_MS = 200;
/** Whoever needs longer than this will never be there. */
const TIMEOUT_MS = 600_000;

export interface CatchUp {
  /** From the start of its walsender until the replica has everything. */
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly cpuBy: Readonly<Record<string, number>>;
  /** Peak resident memory by process, the largest of its kind, MB. */
  readonly memoryMb: Readonly<Record<string, number>>;
}

/** Starts the peer, waits until the markers of all tenants are visible at its replica, stops it when its slot stands at `end`. */
export async function catchUp(
  peer: Peer,
  { mark, end }: { readonly mark: number; readonly end: string },
  signal: AbortSignal,
): Promise<CatchUp> {
  await peer.start(signal);
  try {
    const startedAt = performance.now();
    const meter = new CpuMeter(await peer.processes());
    let sampledAt = startedAt;
    await untilMarked(peer, mark, signal, async () => {
      const now = performance.now();
      if (now - sampledAt < SAMPLE_MS) return;
      sampledAt = now;
      meter.sample(await peer.processes());
    });
    const seconds = (performance.now() - startedAt) / 1000;
    const processes = await peer.processes();
    meter.sample(processes);
    await peer.confirms(end, signal);
    return { seconds, cpuSeconds: meter.total, cpuBy: meter.seconds, memoryMb: peaksOf(processes) };
  } finally {
    await peer.stop();
  }
}

export function peaksOf(processes: Groups): Record<string, number> {
  const peaks = Object.entries(processes).map(([part, pids]) => {
    return [part, Math.max(0, ...pids.map((pid) => peakMemoryMb(pid) ?? 0))] as const;
  });
  return Object.fromEntries(peaks);
}

/** Until the replica has the marker of every tenant, and so everything before it. */
export async function untilMarked(
  peer: Peer,
  mark: number,
  signal: AbortSignal,
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<void> {
  const startedAt = performance.now();
  while (!(await isMarked(peer, mark))) {
    if (!(await sleep(LOOK_MS, signal))) throw signal.reason;
    if (performance.now() - startedAt > TIMEOUT_MS)
      throw new Error(`${peer.name} did not catch up within ${TIMEOUT_MS / 1000} s`);
    await meanwhile();
  }
}

async function isMarked(peer: Peer, mark: number): Promise<boolean> {
  const { rows } = await peer.replica.query<{ count: number }>({
    name: 'markers',
    text: 'SELECT count(*)::int AS count FROM marker WHERE round = $1',
    values: [mark],
  });
  return rows[0]?.count === TENANTS;
}
