/** A tenant's own consumer cannot go on: what that means, and for whom. */
import { streamState } from '@drover/bus';
import { DroverError, isCancelled } from '@drover/core';
import type { BatchResult, Target } from '../apply/batch.ts';
import { park, verdictOf } from '../apply/executor.ts';
import { type Entry, NO_ENTRY } from '../changes/entry.ts';
import type { Lane, LanesOptions } from './lane.ts';

/** Parks the tenant in front of what it could not read; null: there was nothing to be said. @throws what is not this tenant's loss alone */
export async function parkLost(
  lane: Lane,
  failure: unknown,
  options: LanesOptions,
  target: () => Promise<Target>,
): Promise<BatchResult | null> {
  if (isCancelled(failure)) return null;
  if (verdictOf(failure) !== 'tenant') throw failure;
  if (isRecreated(failure) && (await isEverybodys(lane, options))) throw failure;
  const seq = lane.seq + 1;
  const entry: Entry = { ...NO_ENTRY, kind: 'damaged', tenant: lane.tenant, seq, firstSeq: seq };
  return park(await target(), entry, failure, options.deps.log);
}

/** The stream is another one than before. Who looks first does not matter: what that means is said once, for all tenants (`pipeline.ts`). */
async function isEverybodys(lane: Lane, { deps, created }: LanesOptions): Promise<boolean> {
  const state = await streamState(deps.bus, deps.source, deps.partition);
  return state === undefined || state.created !== created || lane.seq <= state.lastSeq;
}

export function isRecreated(error: unknown): boolean {
  return error instanceof DroverError && error.code === 'bus.recreated';
}
