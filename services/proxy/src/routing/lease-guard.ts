/**
 * The proxy's permission to write (I4). Without a valid lease nothing is sent to any primary; when it runs out, what is in flight is
 * cut. The clock is monotonic and read at every forward: a process that was stopped for a while finds out before it sends a byte.
 */
import { type Bus, holdLease, type Lease } from '@drover/bus';
import { describeError, sleep } from '@drover/core';

export class LeaseGuard {
  #lease: Lease | undefined;
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  valid(): boolean {
    return this.#lease !== undefined && this.#now() < this.#lease.deadline;
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
    onHeld: () => void;
    onLost: () => void;
    onError: (why: string) => void;
  }): Promise<void> {
    const { signal } = options;
    while (!signal.aborted) {
      const lost = Promise.withResolvers<void>();
      try {
        const lease = await holdLease(options.bus, {
          key: `proxy.${options.id}`,
          ttlMs: options.ttlMs,
          value: options.value(),
          replicas: options.replicas,
          signal,
          onLost: () => lost.resolve(),
        });
        if (lease === undefined) return;
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
