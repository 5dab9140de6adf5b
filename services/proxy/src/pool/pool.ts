/**
 * The backends of one (cluster, database, role): bounded, a tenant's own backend preferred, the one used last first; who finds none
 * waits in line (`line.ts`). Backends are opened when somebody waits. A server that does not answer makes
 * people wait, never fail: they leave by their own deadline or when their tenant moves elsewhere.
 */
import { Backoff, describeError } from '@drover/core';
import type { Backend } from './backend.ts';
import { type BackendTarget, connectBackend, ServerError } from './connect.ts';
import { Line, type Share, TURN_MS } from './line.ts';

export interface Waiter {
  readonly tenant: string;
  /** A backend nobody owns. */
  give(backend: Backend): void;
  /** The server refuses for good, for example because there is no such database. */
  refuse(error: ServerError): void;
}

const OPEN_TIMEOUT_MS = 5000;
/** Refusals that waiting will not mend: no such database, no right to connect. */
const HOPELESS: ReadonlySet<string> = new Set(['3D000', '42501']);

export class Pool {
  readonly name: string;
  readonly target: BackendTarget;
  readonly #max: number;
  readonly #log: (message: string, fields: Record<string, unknown>) => void;
  /** The one used last is the last. */
  readonly #idle: Backend[] = [];
  readonly #all = new Set<Backend>();
  readonly #line = new Line<Waiter>();
  readonly #backoff = new Backoff(50, 1000);
  #opening = 0;
  #matching = false;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;
  /** Why the last attempt to open failed; undefined when it worked. */
  lastError: string | undefined;

  constructor(options: {
    name: string;
    target: BackendTarget;
    max: number;
    log: (message: string, fields: Record<string, unknown>) => void;
  }) {
    this.name = options.name;
    this.target = options.target;
    this.#max = options.max;
    this.#log = options.log;
  }

  get counts(): { idle: number; busy: number; opening: number; waiting: number } {
    return {
      idle: this.#idle.length,
      busy: this.#all.size - this.#idle.length,
      opening: this.#opening,
      waiting: this.#line.size,
    };
  }

  /** A backend at once: one of the tenant's own, or, when nobody waits, another's. */
  take(tenant: string): Backend | null {
    const share = this.#line.share(tenant);
    const backend = this.#own(share) ?? (this.#mayChange(share) ? this.#oldest() : null);
    if (backend === null) this.#line.settle(share);
    else this.#serve(backend, share);
    return backend;
  }

  /** The tenant's own idle backend that was used last, while its turn lasts. */
  #own(share: Share<Waiter>): Backend | null {
    if (share.backends === share.busy || share.waiters.size > 0) return null;
    const idle = this.#idle;
    for (let i = idle.length - 1; i >= 0; i--) {
      const backend = idle[i];
      if (backend === undefined || backend.share !== share) continue;
      if (this.#line.size > 0 && this.#turnOver(backend)) continue;
      idle.splice(i, 1);
      return backend;
    }
    return null;
  }

  /** Whether to take another tenant's backend now. Who has some at work waits for the end of this turn of the event loop: one may become free. */
  #mayChange(share: Share<Waiter>): boolean {
    return this.#line.size === 0 && (share.busy === 0 || this.#idle[0]?.share === null);
  }

  /** The idle backend that its tenant has missed longest. */
  #oldest(): Backend | null {
    return this.#idle.shift() ?? null;
  }

  #serve(backend: Backend, share: Share<Waiter>): void {
    backend.serving = true;
    this.#line.begin(share);
    const before = backend.share;
    if (before === share) return;
    backend.share = share;
    share.backends++;
    if (before === null) return;
    before.backends--;
    this.#line.settle(before);
  }

  #served(backend: Backend): void {
    if (!backend.serving || backend.share === null) return;
    backend.serving = false;
    this.#line.end(backend.share);
  }

  wait(waiter: Waiter): void {
    this.#line.join(waiter);
    if (this.#idle.length > 0) this.#matchSoon();
    else this.#open();
  }

  leave(waiter: Waiter): void {
    this.#line.leave(waiter);
  }

  /** Gives a backend back. It must be idle on the server, with nothing owed. */
  release(backend: Backend): void {
    backend.owner = null;
    if (backend.closed) return;
    this.#served(backend);
    if (backend.tainted || this.#closed) {
      backend.destroy();
      return;
    }
    if (backend.cancels > 0) {
      backend.onCancelsDone = () => this.release(backend);
      return;
    }
    if (backend.socket.isPaused()) backend.socket.resume();
    const { share } = backend;
    if (this.#line.size === 0) backend.turnBegan = 0;
    else if (share !== null && this.#line.stays(share, this.#turnOver(backend))) {
      this.#give(backend, share);
      return;
    } else this.#matchSoon();
    this.#idle.push(backend);
  }

  #turnOver(backend: Backend): boolean {
    const now = performance.now();
    if (backend.turnBegan === 0) backend.turnBegan = now;
    return now - backend.turnBegan >= TURN_MS;
  }

  #give(backend: Backend, share: Share<Waiter>): void {
    const waiter = this.#line.call(share);
    if (waiter === undefined) return;
    this.#serve(backend, share);
    waiter.give(backend);
  }

  /**
   * A backend changes its tenant at the end of this turn of the event loop: what has arrived meanwhile may make that unnecessary, because
   * its tenant's next client takes it, or the waiting one's own backend becomes free.
   */
  #matchSoon(): void {
    if (this.#matching) return;
    this.#matching = true;
    setImmediate(() => {
      this.#matching = false;
      this.#match();
    });
  }

  #match(): void {
    for (const backend of Array.from(this.#idle)) {
      const { share } = backend;
      if (share === null || !this.#line.stays(share, this.#turnOver(backend))) continue;
      this.#idle.splice(this.#idle.indexOf(backend), 1);
      this.#give(backend, share);
    }
    while (this.#line.size > 0) {
      const backend = this.#oldest();
      const share = this.#line.turn(backend?.share ?? null);
      if (backend === null || share === null) break;
      if (share !== backend.share) backend.turnBegan = performance.now();
      this.#give(backend, share);
    }
    this.#open();
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    for (const backend of Array.from(this.#all)) backend.destroy();
  }

  /** Opens as many as the line is long, within the bound. */
  #open(): void {
    while (
      !this.#closed &&
      this.#retry === null &&
      this.#opening < this.#line.size &&
      this.#all.size + this.#opening < this.#max
    ) {
      this.#opening++;
      void this.#openOne();
    }
  }

  async #openOne(): Promise<void> {
    try {
      const backend = await connectBackend(this.target, { timeoutMs: OPEN_TIMEOUT_MS, attach: true });
      this.#opening--;
      if (this.#closed) {
        backend.destroy();
        return;
      }
      this.lastError = undefined;
      this.#backoff.reset();
      this.#all.add(backend);
      backend.onGone = () => this.#gone(backend);
      this.release(backend);
    } catch (error) {
      this.#opening--;
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (this.#closed) return;
    this.lastError = describeError(error);
    if (this.#backoff.attempt === 0) {
      this.#log('cannot open a backend', { pool: this.name, error: this.lastError });
    }
    if (error instanceof ServerError && HOPELESS.has(error.code)) {
      for (const waiter of this.#line.dismiss()) waiter.refuse(error);
      return;
    }
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.#open();
    }, this.#backoff.nextMs());
  }

  #gone(backend: Backend): void {
    this.#all.delete(backend);
    this.#served(backend);
    const { share } = backend;
    if (share !== null) {
      share.backends--;
      backend.share = null;
      this.#line.settle(share);
    }
    const at = this.#idle.indexOf(backend);
    if (at !== -1) this.#idle.splice(at, 1);
    this.#open();
  }
}
