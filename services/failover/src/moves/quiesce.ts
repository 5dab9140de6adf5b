/**
 * Makes every proxy let go of a tenant. A proxy answers when its view shows the move and none of the tenant's transactions is
 * in flight there; a proxy that is silent is waited for only as long as its lease runs: past that it has stopped by itself (I4).
 */
import type { Bus } from '@drover/bus';
import type { TenantId } from '@drover/core';
import { cancelled, isCancelled, sleep } from '@drover/core';
import { isRecord } from './is-record.ts';

/** Ids of the proxies that hold a lease now. Rejects when that cannot be known: then nobody may be taken for gone. */
export type LiveProxies = () => Promise<ReadonlySet<string>>;

export interface QuiesceResult {
  /** All proxies with a lease have answered, or their leases ran out. */
  readonly quiet: boolean;
  readonly missing: readonly string[];
}

export interface QuiesceOptions {
  readonly live: LiveProxies;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const SUBJECT = 'drover.proxy.quiesce';
const ASK_EVERY_MS = 250;
const UNKNOWN = 'the leases cannot be read';

/**
 * Asks until all have answered or `timeoutMs` is over. Silence is no error; whether it may be passed over is the caller's to say.
 * `revision`: of the placement that says the tenant is being moved.
 * @throws DroverError `internal.cancelled`
 */
export async function quiesce(
  bus: Bus,
  tenant: TenantId,
  revision: number,
  options: QuiesceOptions,
): Promise<QuiesceResult> {
  const { signal } = options;
  const quiet = new Set<string>();
  const deadline = performance.now() + options.timeoutMs;
  const inbox = `_INBOX.drover.${crypto.randomUUID()}`;
  let arrived: () => void = () => undefined;
  const subscription = bus.nc.subscribe(inbox, {
    callback: (error, message) => {
      const proxy = error === null ? quietProxy(message.data) : undefined;
      if (proxy === undefined) return;
      quiet.add(proxy);
      arrived();
    },
  });
  try {
    for (;;) {
      bus.nc.publish(SUBJECT, JSON.stringify({ tenant, revision }), { reply: inbox });
      const live = await known(options, deadline);
      const allThere = () => live !== undefined && [...live].every((id) => quiet.has(id));
      const left = Math.min(ASK_EVERY_MS, deadline - performance.now());
      if (!allThere() && left > 0) {
        const stop = new AbortController();
        arrived = () => {
          if (allThere()) stop.abort();
        };
        await sleep(left, AbortSignal.any([stop.signal, signal]));
      }
      if (signal.aborted) throw cancelled();
      if (allThere()) return { quiet: true, missing: [] };
      if (performance.now() >= deadline) {
        return {
          quiet: false,
          missing: live === undefined ? [UNKNOWN] : [...live].filter((id) => !quiet.has(id)),
        };
      }
    }
  } finally {
    subscription.unsubscribe();
  }
}

/** Undefined: it cannot be told, or not before `deadline`. */
async function known(options: QuiesceOptions, deadline: number): Promise<ReadonlySet<string> | undefined> {
  const enough = new AbortController();
  const left = Math.max(0, deadline - performance.now());
  const live = options.live().catch((error: unknown) => {
    if (isCancelled(error)) throw error;
    return undefined;
  });
  try {
    return await Promise.race([
      live,
      sleep(left, AbortSignal.any([enough.signal, options.signal])).then(() => undefined),
    ]);
  } finally {
    enough.abort();
    live.catch(() => undefined);
  }
}

/** The name of the proxy that says it is quiet; undefined for anything else that came. */
function quietProxy(data: Uint8Array): string | undefined {
  try {
    const reply: unknown = JSON.parse(new TextDecoder().decode(data));
    return isRecord(reply) && reply['quiet'] === true && typeof reply['proxy'] === 'string'
      ? reply['proxy']
      : undefined;
  } catch {
    return undefined;
  }
}
