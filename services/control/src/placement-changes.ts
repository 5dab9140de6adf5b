/** A tenant's placement as it changes, for streams that tell each step. */
import type { Placement, PlacementView } from '@drover/catalog';
import { deferred, sleep, type TenantId } from '@drover/core';

/** A tenant changes a handful of times in a move; past this the oldest are dropped, and a listener sees fewer steps. */
const QUEUED_MAX = 64;

/** What is yielded when nothing has changed for a while, so that the listener can look elsewhere. */
export const QUIET = Symbol('quiet');

/**
 * What the view knows now, then each change in order; {@link QUIET} when nothing has changed for `quietMs`: the view is then as
 * new as it gets. Ends with the signal. The view may lag behind a write of one's own: older placements may come first.
 */
export async function* placementChanges(
  view: PlacementView,
  tenant: TenantId,
  options: { quietMs: number; signal: AbortSignal },
): AsyncGenerator<Placement | typeof QUIET, void, undefined> {
  const { signal, quietMs } = options;
  const queue: Placement[] = [];
  let arrived = deferred<void>();
  const off = view.onChange((changed, placement) => {
    if (changed !== tenant || placement === null) return;
    if (queue.length >= QUEUED_MAX) queue.shift();
    queue.push(placement);
    arrived.resolve();
  });
  try {
    const known = view.get(tenant);
    if (known !== undefined) yield known;
    while (!signal.aborted) {
      const next = queue.shift();
      if (next !== undefined) {
        yield next;
        continue;
      }
      arrived = deferred();
      const woken = new AbortController();
      const came = arrived.promise.then(() => woken.abort());
      const quiet = await sleep(quietMs, AbortSignal.any([signal, woken.signal]));
      arrived.resolve();
      await came;
      if (quiet) yield QUIET;
    }
  } finally {
    off();
  }
}
