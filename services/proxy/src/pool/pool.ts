/**
 * The backends of one (cluster, database, role): bounded, last in first out, a tenant's own backend preferred; who finds none
 * waits in line, first come first served. Backends are opened when somebody waits. A server that does not answer makes
 * people wait, never fail: they leave by their own deadline or when their tenant moves elsewhere.
 */
import { Backoff, describeError } from '@drover/core';
import type { Backend } from './backend.ts';
import { type BackendTarget, connectBackend, ServerError } from './connect.ts';

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
  readonly #idle: Backend[] = [];
  readonly #all = new Set<Backend>();
  readonly #waiters = new Set<Waiter>();
  readonly #backoff = new Backoff(50, 1000);
  #opening = 0;
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
      waiting: this.#waiters.size,
    };
  }

  /** A backend at once when nobody waits before; the tenant's own first. */
  take(tenant: string): Backend | null {
    if (this.#waiters.size > 0) return null;
    return this.#pick(tenant);
  }

  #pick(tenant: string): Backend | null {
    const idle = this.#idle;
    for (let i = idle.length - 1; i >= 0; i--) {
      const backend = idle[i];
      if (backend !== undefined && backend.tenant === tenant) {
        idle.splice(i, 1);
        return backend;
      }
    }
    // A backend another tenant used costs a round trip of preparation; opening one costs far more.
    return idle.pop() ?? null;
  }

  wait(waiter: Waiter): void {
    this.#waiters.add(waiter);
    this.#open();
  }

  leave(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }

  /** Gives a backend back. It must be idle on the server, with nothing owed. */
  release(backend: Backend): void {
    backend.owner = null;
    if (backend.closed) return;
    if (backend.tainted || this.#closed) {
      backend.destroy();
      return;
    }
    if (backend.cancels > 0) {
      backend.onCancelsDone = () => this.release(backend);
      return;
    }
    if (backend.socket.isPaused()) backend.socket.resume();
    const [next] = this.#waiters;
    if (next === undefined) {
      this.#idle.push(backend);
      return;
    }
    this.#waiters.delete(next);
    next.give(backend);
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
      this.#opening < this.#waiters.size &&
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
      for (const waiter of Array.from(this.#waiters)) {
        this.#waiters.delete(waiter);
        waiter.refuse(error);
      }
      return;
    }
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.#open();
    }, this.#backoff.nextMs());
  }

  #gone(backend: Backend): void {
    this.#all.delete(backend);
    const at = this.#idle.indexOf(backend);
    if (at !== -1) this.#idle.splice(at, 1);
    this.#open();
  }
}
