/**
 * Makes every proxy let go of a tenant. A proxy answers when its view shows the move and none of the tenant's transactions is
 * in flight there; a proxy that is silent is waited for only as long as its lease runs: past that it has stopped by itself (I4).
 */
import type { Bus } from '@drover/bus';
import type { TenantId } from '@drover/core';
import { sleep } from '@drover/core';
import { isRecord } from './steps.ts';

/** Ids of the proxies that hold a lease now. */
export type LiveProxies = () => Promise<ReadonlySet<string>>;

export interface QuiesceResult {
  /** All proxies with a lease have answered, or their leases ran out. */
  readonly quiet: boolean;
  readonly missing: readonly string[];
}

const SUBJECT = 'drover.proxy.quiesce';
const ASK_EVERY_MS = 250;

/** Asks until all have answered or `timeoutMs` is over. Never throws on silence: the database fence is what guarantees. */
export async function quiesce(
  bus: Bus,
  tenant: TenantId,
  revision: number,
  options: { live: LiveProxies; timeoutMs: number; signal: AbortSignal },
): Promise<QuiesceResult> {
  const quiet = new Set<string>();
  const deadline = performance.now() + options.timeoutMs;
  const inbox = `_INBOX.drover.${crypto.randomUUID()}`;
  let arrived: () => void = () => undefined;
  const subscription = bus.nc.subscribe(inbox, {
    callback: (error, message) => {
      if (error !== null) return;
      const reply: unknown = message.json();
      if (isRecord(reply) && reply['quiet'] === true && typeof reply['proxy'] === 'string') {
        quiet.add(reply['proxy']);
        arrived();
      }
    },
  });
  try {
    for (;;) {
      bus.nc.publish(SUBJECT, JSON.stringify({ tenant, revision }), { reply: inbox });
      const live = await options.live();
      const allThere = () => [...live].every((id) => quiet.has(id));
      const left = Math.min(ASK_EVERY_MS, deadline - performance.now());
      if (!allThere() && left > 0) {
        const stop = new AbortController();
        arrived = () => {
          if (allThere()) stop.abort();
        };
        await sleep(left, AbortSignal.any([stop.signal, options.signal]));
      }
      if (allThere()) return { quiet: true, missing: [] };
      if (performance.now() >= deadline || options.signal.aborted) {
        return { quiet: false, missing: [...live].filter((id) => !quiet.has(id)) };
      }
    }
  } finally {
    subscription.unsubscribe();
  }
}
