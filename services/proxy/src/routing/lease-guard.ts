/**
 * The proxy's permission to write (I4). Without a valid lease nothing is sent to any primary; when it runs out, what is in flight is
 * cut. The clock is monotonic and read at every forward: a process that was stopped for a while finds out before it sends a byte.
 */
import { type Bus, holdLease, type Lease } from '@drover/bus';
import { describeError, sleep } from '@drover/core';

const RECONNECT_LOOK_MS = 20;

export class LeaseGuard {
  #lease: Lease | undefined;
  #terms = 0;
  #name = '';
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  valid(): boolean {
    return this.#lease !== undefined && this.#now() < this.#lease.deadline;
  }

  /** Name of the present lease, behind the prefix `proxy.`; each term has its own. */
  get name(): string {
    return this.#name;
  }

  note(value: Record<string, unknown>): void {
    this.#lease?.update(value);
  }

  /** Holds the lease until the signal aborts; gets it back after a loss. */
  async run(options: {
    bus: Bus;
    id: string;
    ttlMs: number;
    value: () => Record<string, unknown>;
    replicas: number;
    signal: AbortSignal;
    /**
     * Resolves when every placement written before the call is known. A move waits for the proxies that were alive when it looked; one that
     * comes later must know of the move before it writes, or it writes where nobody may any more.
     */
    caughtUp: () => Promise<void>;
    onHeld: () => void;
    onLost: () => void;
    onError: (why: string) => void;
  }): Promise<void> {
    const { signal } = options;
    while (!signal.aborted) {
      // Requests made while disconnected are lost, and their timeout is long.
      while (options.bus.status() !== 'connected' && (await sleep(RECONNECT_LOOK_MS, signal)));
      if (signal.aborted) return;
      const lost = Promise.withResolvers<void>();
      // A name of its own for each term: nobody else asks for it, so it is had at once, without waiting for the last one to run out.
      const name = `${options.id}-${++this.#terms}`;
      try {
        const lease = await holdLease(options.bus, {
          key: `proxy.${name}`,
          ttlMs: options.ttlMs,
          value: options.value(),
          replicas: options.replicas,
          signal,
          onLost: () => lost.resolve(),
        });
        if (lease === undefined) return;
        try {
          await options.caughtUp();
        } catch (error) {
          await lease.release();
          throw error;
        }
        this.#name = name;
        this.#lease = lease;
        options.onHeld();
        const stopped = new AbortController();
        const ended = new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true, signal: stopped.signal });
          if (signal.aborted) resolve();
        });
        await Promise.race([lost.promise, ended]);
        stopped.abort();
        this.#lease = undefined;
        options.onLost();
        if (signal.aborted) await lease.release();
      } catch (error) {
        if (signal.aborted) return;
        options.onError(describeError(error));
        await sleep(200, signal);
      }
    }
  }
}
