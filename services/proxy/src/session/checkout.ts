/**
 * How a transaction gets its backend: where the tenant is served now, a free backend there or a place in line, the backend made fit for
 * the client. It waits while the tenant is held, and looks again when something has changed. Nothing of the client's is sent here.
 *
 * `idle` -> `waiting` -> `adopting` -> `active`, from each back to `idle`; `closed` at the end. A session bound to its backend keeps it
 * over the end of a transaction and comes here again for the next one: its context may be another.
 */
import { type AdoptFailure, adopt, fits } from '../pool/adopt.ts';
import type { Backend } from '../pool/backend.ts';
import type { ServerError } from '../pool/connect.ts';
import type { Pool, Waiter } from '../pool/pool.ts';
import type { WireError } from '../protocol/builders.ts';
import type { Decision, Route } from '../routing/router.ts';
import type { TenantRecord, Waiting } from '../routing/tenant-book.ts';
import type { Door } from './door.ts';
import type { Settings } from './settings.ts';
import { Wait, type WaitReason } from './wait.ts';

/** An epoch the database refused is tried again after this, milliseconds, if the placement has not changed by then. */
const REFUSED_EPOCH_MS = 500;

const LOST: WireError = {
  severity: 'FATAL',
  code: '57P01',
  message: 'the connection that held this session has ended',
};

export interface CheckoutPorts {
  /** The backend is fit; nobody owns it yet. */
  fit(backend: Backend): void;
  /** The wait has ended without one. */
  failed(error: WireError): void;
  /** The backend that the session is bound to is of no use any more. */
  lost(error: WireError): void;
  /** Why the session is bound to its backend, for people. */
  boundBy(): string;
}

export type CheckoutState = 'idle' | 'waiting' | 'adopting' | 'active' | 'closed';

export class Checkout implements Waiter, Waiting {
  readonly #door: Door;
  readonly #record: TenantRecord;
  readonly #settings: Settings;
  readonly #ports: CheckoutPorts;
  readonly #wait = new Wait();
  #state: CheckoutState = 'idle';
  /** Held by the session, or being made fit for it. */
  #backend: Backend | null = null;
  /** Where it stands in line, or where its backend is from. */
  #pool: Pool | null = null;
  #route: Route | null = null;
  #refusedEpoch = -1;
  #refusedAt = 0;

  constructor(door: Door, record: TenantRecord, settings: Settings, ports: CheckoutPorts) {
    this.#door = door;
    this.#record = record;
    this.#settings = settings;
    this.#ports = ports;
  }

  get tenant(): string {
    return this.#record.tenant;
  }

  get state(): CheckoutState {
    return this.#state;
  }

  get backend(): Backend | null {
    return this.#backend;
  }

  get pool(): Pool | null {
    return this.#pool;
  }

  /** Finds a backend for a new transaction, at once or later. */
  begin(): void {
    const decision = this.#decide();
    if (decision.kind === 'hold') {
      this.#hold(decision.reason);
      return;
    }
    const { route } = decision;
    if (this.#backend !== null) {
      this.#keep(this.#backend, route);
      return;
    }
    if (this.#pool !== null && this.#pool !== route.pool) this.#pool.leave(this);
    const queued = this.#state === 'waiting' && this.#pool === route.pool;
    this.#pool = route.pool;
    this.#route = route;
    if (queued) return;
    const backend = route.pool.take(this.tenant);
    if (backend === null) {
      this.#hold('busy');
      route.pool.wait(this);
    } else this.#prepare(backend);
  }

  #decide(): Decision {
    if (this.#refusedEpoch >= 0 && performance.now() - this.#refusedAt > REFUSED_EPOCH_MS)
      this.#refusedEpoch = -1;
    const decision = this.#door.router.decide(this.#record, this.#refusedEpoch);
    if (decision.kind === 'go') this.#refusedEpoch = -1;
    return decision;
  }

  /** The session is bound to its backend, and that only serves where it is. */
  #keep(backend: Backend, route: Route): void {
    if (route.pool === this.#pool) {
      this.#route = route;
      this.#prepare(backend);
      return;
    }
    this.#ports.lost({
      severity: 'FATAL',
      code: '57P01',
      message: 'the tenant moved to another cluster and this session holds state of the old one',
      hint: `It was bound to its connection by: ${this.#ports.boundBy()}. Connect again.`,
    });
  }

  #hold(reason: WaitReason): void {
    if (this.#state !== 'waiting') {
      this.#state = 'waiting';
      this.#door.waiting.add(this);
      this.#record.waiting.add(this);
    }
    this.#wait.begin(reason, performance.now());
    if (reason !== 'busy') this.#leaveLine();
  }

  #leaveLine(): void {
    if (this.#pool === null || this.#backend !== null) return;
    this.#pool.leave(this);
    this.#pool = null;
  }

  #stopWaiting(): void {
    if (this.#wait.since === 0) return;
    this.#door.waiting.delete(this);
    this.#record.waiting.delete(this);
    const heldMs = this.#wait.end(performance.now());
    if (heldMs === null) return;
    this.#door.stats.holds++;
    if (this.#door.stats.holdSeconds.length < 10_000) this.#door.stats.holdSeconds.push(heldMs / 1000);
  }

  /** Called now and then while it waits: after a refused epoch it looks again, and at its deadline it fails. */
  expire(now: number, queueMs: number): void {
    if (this.#state !== 'waiting') return;
    if (this.#wait.reason === 'stale') this.begin();
    if (this.#state !== 'waiting') return;
    const limits = { queueMs, holdMs: this.#door.holdMs };
    const error = this.#wait.overdue(now, limits, this.#pool?.lastError !== undefined);
    if (error !== null) this.fail(error);
  }

  /** Something changed that may end the wait. */
  reconsider(): void {
    if (this.#state === 'waiting') this.begin();
  }

  /** Waiter: a backend is free. */
  give(backend: Backend): void {
    const decision = this.#door.router.decide(this.#record, this.#refusedEpoch);
    if (this.#state === 'waiting' && decision.kind === 'go' && decision.route.pool === this.#pool) {
      this.#route = decision.route;
      this.#prepare(backend);
      return;
    }
    this.#pool?.release(backend);
    if (this.#state !== 'waiting') return;
    this.#pool = null;
    this.begin();
  }

  /** Waiter: the server refuses for good. */
  refuse(error: ServerError): void {
    this.#pool = null;
    this.fail({ severity: 'ERROR', code: error.code, message: error.message });
  }

  /** The wait is over without a backend. */
  fail(error: WireError): void {
    this.#leaveLine();
    this.#stopWaiting();
    this.#state = this.#backend === null ? 'idle' : 'active';
    this.#ports.failed(error);
  }

  #prepare(backend: Backend): void {
    const route = this.#route;
    if (route === null) return;
    const keepState = this.#backend !== null;
    this.#backend = backend;
    const settings = this.#settings.signature;
    if (fits(backend, route.context, settings, keepState)) {
      this.#activate(backend);
      return;
    }
    this.#state = 'adopting';
    this.#door.stats.adoptions++;
    const signed = this.#door.sign(this.tenant, route.epoch, backend.number);
    const wanted = { tenant: this.tenant, context: route.context, signed, settings, keepState };
    adopt(backend, wanted, (failure) => this.#adopted(backend, keepState, failure));
  }

  #adopted(backend: Backend, keepState: boolean, failure: AdoptFailure | null): void {
    if (this.#state === 'closed') {
      if (keepState) backend.destroy();
      else this.#pool?.release(backend);
      return;
    }
    if (failure !== null) {
      this.#adoptionFailed(keepState, failure);
      return;
    }
    const decision = this.#door.router.decide(this.#record);
    if (decision.kind === 'go' && decision.route === this.#route) {
      this.#activate(backend);
      return;
    }
    // The tenant has moved in the meantime.
    this.#state = 'idle';
    if (!keepState) this.giveBack();
    this.begin();
  }

  #adoptionFailed(keepState: boolean, failure: AdoptFailure): void {
    this.#backend = null;
    if (keepState) this.#ports.lost(LOST);
    else if (failure.kind === 'settings') {
      this.#pool = null;
      this.fail({ severity: 'ERROR', code: failure.code, message: failure.message });
    } else {
      this.#state = 'idle';
      this.#pool = null;
      this.begin();
    }
  }

  #activate(backend: Backend): void {
    this.#stopWaiting();
    this.#state = 'active';
    this.#ports.fit(backend);
  }

  /** The backend is free of this client. */
  giveBack(): void {
    const backend = this.#backend;
    const pool = this.#pool;
    this.drop();
    if (backend !== null) pool?.release(backend);
  }

  /** The backend is gone, or somebody else's. */
  drop(): void {
    this.#backend = null;
    this.#pool = null;
    this.#state = 'idle';
  }

  /** The database refused this epoch's writes: it is not tried again before the placement has changed, or a while has passed. */
  epochRefused(): void {
    this.#refusedEpoch = this.#route?.epoch ?? -1;
    this.#refusedAt = performance.now();
  }

  /** The end. @returns the backend that its owner must end; one that is being made fit goes back by itself */
  close(): Backend | null {
    const held = this.#state === 'adopting' ? null : this.#backend;
    this.#state = 'closed';
    this.#door.waiting.delete(this);
    this.#record.waiting.delete(this);
    this.#pool?.leave(this);
    if (held !== null) this.#backend = null;
    return held;
  }
}
