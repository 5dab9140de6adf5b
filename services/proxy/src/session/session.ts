/**
 * One client after its login. Between transactions it owns nothing; for a transaction it gets a backend on its tenant's primary, or waits.
 * This file is the life of a transaction; `upstream.ts` and `downstream.ts` move the bytes. It is long because it is one state machine.
 */
import type { Socket } from 'node:net';
import { type AdoptFailure, adopt, fits } from '../pool/adopt.ts';
import type { Backend, BackendOwner } from '../pool/backend.ts';
import { cancelBackend } from '../pool/cancel.ts';
import type { ServerError } from '../pool/connect.ts';
import type { Pool, Waiter } from '../pool/pool.ts';
import { Assembler } from '../protocol/assembler.ts';
import {
  CLOSE_COMPLETE,
  errorResponse,
  PARSE_COMPLETE,
  parameterStatus,
  READY_IDLE,
  type WireError,
} from '../protocol/builders.ts';
import type { HoldReason, Route } from '../routing/router.ts';
import type { TenantRecord, Waiting } from '../routing/tenant-book.ts';
import { ClientLink } from './client-link.ts';
import { ClientStatements, type ParseNote } from './client-statements.ts';
import type { Door } from './door.ts';
import { Downstream } from './downstream.ts';
import { Journal } from './journal.ts';
import { failOwed, refuseAll } from './local-replies.ts';
import { ENTRY, KIND, OWN, Replies, SWALLOW } from './replies.ts';
import type { Settings } from './settings.ts';
import type { Effect, EffectsContext, Verdict } from './statement-effects.ts';
import type { Statement } from './statements.ts';
import { forward, ProtocolError } from './upstream.ts';

/** Largest message taken from a client, bytes. */
const MESSAGE_MAX = 64 * 1024 * 1024;
/** Bytes a client may send while it waits; above it its socket is not read. */
const PENDING_MAX = 256 * 1024;
/** An epoch the database refused is tried again after this, milliseconds, if the placement has not changed by then. */
const REFUSED_EPOCH_MS = 500;
const IDLE = 0x49;

const HOLD_TEXT: Readonly<Record<HoldReason | 'unreachable' | 'busy', string>> = {
  moving: 'the tenant is being moved and its new cluster is not open yet',
  lease: 'this front door holds no lease and may not write',
  unplaced: 'no cluster serves this tenant now',
  stale: 'the cluster that should serve this tenant refuses its writes',
  unreachable: 'the cluster that serves this tenant does not answer',
  busy: 'no connection is free',
};

type State = 'idle' | 'waiting' | 'adopting' | 'active' | 'closed';

export interface SessionOptions {
  readonly door: Door;
  readonly socket: Socket;
  readonly record: TenantRecord;
  readonly settings: Settings;
  readonly pid: number;
  readonly secret: Buffer;
}

export class Session implements BackendOwner, Waiter, Waiting, EffectsContext {
  readonly door: Door;
  readonly socket: Socket;
  readonly link: ClientLink;
  readonly record: TenantRecord;
  readonly settings: Settings;
  readonly pid: number;
  readonly secret: Buffer;
  readonly replies = new Replies();
  readonly journal = new Journal();
  readonly statements: ClientStatements;
  /** Settings changed in a transaction that has not ended. */
  readonly tentative: Effect[] = [];
  readonly #down = new Downstream();
  readonly #in = new Assembler(MESSAGE_MAX);
  readonly #pins = new Set<string>();

  backend: Backend | null = null;
  nextEffects: readonly Effect[] | undefined;
  lastBound: Statement | null = null;
  /** Messages of the client are dropped until its next Sync. */
  skipping = false;
  copyIn = false;
  segmentOpen = false;
  /** The transaction has shown or done something: it cannot begin again elsewhere. */
  committal = false;
  rolledBack = false;
  queryFailed = false;
  replaying = false;
  serverFarewell: { code: string; message: string } | null = null;
  /** When the wait for a backend began, `performance.now()`; 0: does not wait. */
  waitingSince = 0;
  /** When a hold (not mere queueing) began. */
  heldSince = 0;
  holdReason: HoldReason | 'unreachable' | 'busy' = 'busy';

  #state: State = 'idle';
  #status = IDLE;
  #pool: Pool | null = null;
  #route: Route | null = null;
  #counted = false;
  #delivered = 0;
  #replaySkip = 0;
  #refusedEpoch = -1;
  #refusedAt = 0;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #clientParameters: Map<string, string> = new Map();
  #toldKey = '';
  #login: ((parameters: Map<string, string> | WireError) => void) | null = null;

  constructor(options: SessionOptions) {
    this.door = options.door;
    this.socket = options.socket;
    this.record = options.record;
    this.settings = options.settings;
    this.pid = options.pid;
    this.secret = options.secret;
    this.statements = new ClientStatements(options.door.registry);
    this.link = new ClientLink(
      options.socket,
      () => {
        this.door.stalled.add(this);
        this.backend?.socket.pause();
      },
      () => {
        this.door.stalled.delete(this);
        this.backend?.socket.resume();
      },
    );
  }

  get tenant(): string {
    return this.record.tenant;
  }

  get pinned(): boolean {
    return this.#pins.size > 0;
  }

  get running(): boolean {
    return this.#state === 'active' && !this.replies.empty;
  }

  /** A transaction is on a backend. */
  get busy(): boolean {
    return this.#counted;
  }

  /** Ends the login: asks a backend, prepared for this client, what its parameters are. Called back once. */
  login(done: (parameters: Map<string, string> | WireError) => void): void {
    this.#login = done;
    this.#begin();
  }

  /** From now on the client's bytes come here. */
  start(parameters: Map<string, string>): void {
    this.#clientParameters = parameters;
    this.socket.on('data', (chunk: Buffer) => this.onClientBytes(chunk));
  }

  onClientBytes(chunk: Buffer): void {
    if (this.#state === 'closed') return;
    try {
      const whole = this.#in.push(chunk);
      if (whole !== null) this.#dispatch(whole);
    } catch (error) {
      this.fatal({
        severity: 'FATAL',
        code: '08P01',
        message: error instanceof Error ? error.message : 'protocol violation',
      });
    }
  }

  #dispatch(bytes: Buffer): void {
    if (this.#state === 'waiting' || this.#state === 'adopting') {
      this.#keep(bytes);
      return;
    }
    if (this.backend !== null && !this.#betweenTransactions()) {
      this.#forward(bytes);
      return;
    }
    const rest = this.#answerHere(bytes);
    if (rest === null) return;
    this.#pending.push(rest);
    this.#pendingBytes += rest.length;
    this.#begin();
  }

  #betweenTransactions(): boolean {
    return this.replies.empty && this.#status === IDLE && !this.segmentOpen && !this.copyIn;
  }

  /** What needs no backend: the end, late copy data, Sync and Flush with nothing before them. @returns what does, or null. */
  #answerHere(b: Buffer): Buffer | null {
    let p = 0;
    while (p < b.length) {
      const type = b[p];
      const e = p + 1 + b.readUInt32BE(p + 1);
      if (type === 0x58) {
        this.clientLeft();
        return null;
      }
      if (type === 0x53) {
        this.skipping = false;
        this.link.write(READY_IDLE);
      } else if (!this.skipping && type !== 0x64 && type !== 0x63 && type !== 0x66 && type !== 0x48) {
        return p === 0 ? b : b.subarray(p);
      }
      p = e;
    }
    return null;
  }

  #keep(bytes: Buffer): void {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes > PENDING_MAX) this.link.pause();
  }

  /** Finds a backend for a new transaction, at once or later. */
  #begin(): void {
    if (this.#refusedEpoch >= 0 && performance.now() - this.#refusedAt > REFUSED_EPOCH_MS)
      this.#refusedEpoch = -1;
    const decision = this.door.router.decide(this.record, this.#refusedEpoch);
    if (decision.kind === 'hold') {
      this.#wait(decision.reason);
      return;
    }
    this.#refusedEpoch = -1;
    const { route } = decision;
    if (this.backend !== null) {
      if (route.pool === this.#pool) {
        this.#route = route;
        this.#prepare(this.backend);
      } else
        this.fatal({
          severity: 'FATAL',
          code: '57P01',
          message: 'the tenant moved to another cluster and this session holds state of the old one',
          hint: `It was bound to its connection by: ${[...this.#pins].join(', ')}. Connect again.`,
        });
      return;
    }
    if (this.#pool !== null && this.#pool !== route.pool) this.#pool.leave(this);
    const queued = this.#state === 'waiting' && this.#pool === route.pool;
    this.#pool = route.pool;
    this.#route = route;
    if (queued) return;
    const backend = route.pool.take(this.tenant);
    if (backend === null) {
      this.#wait('busy');
      route.pool.wait(this);
    } else this.#prepare(backend);
  }

  #wait(reason: HoldReason | 'busy'): void {
    const now = performance.now();
    if (this.#state !== 'waiting') {
      this.#state = 'waiting';
      if (this.waitingSince === 0) this.waitingSince = now;
      this.door.waiting.add(this);
      this.record.waiting.add(this);
    }
    this.holdReason = reason;
    if (reason !== 'busy') {
      if (this.heldSince === 0) this.heldSince = now;
      if (this.#pool !== null && this.backend === null) {
        this.#pool.leave(this);
        this.#pool = null;
      }
    }
  }

  #stopWaiting(): void {
    this.waitingSince = 0;
    this.door.waiting.delete(this);
    this.record.waiting.delete(this);
    if (this.heldSince > 0) {
      this.door.stats.holds++;
      if (this.door.stats.holdSeconds.length < 10_000) {
        this.door.stats.holdSeconds.push((performance.now() - this.heldSince) / 1000);
      }
      this.heldSince = 0;
    }
  }

  /** Called now and then while it waits: after a refused epoch it looks again, and at its deadline it fails. */
  expire(now: number, queueMs: number): void {
    if (this.#state !== 'waiting') return;
    if (this.holdReason === 'stale') this.#begin();
    const unreachable = this.holdReason === 'busy' && this.#pool?.lastError !== undefined;
    if (unreachable && this.heldSince === 0) this.heldSince = this.waitingSince;
    const limit = this.holdReason === 'busy' && !unreachable ? queueMs : this.door.holdMs;
    if (this.#state !== 'waiting' || now - this.waitingSince < limit) return;
    this.failWaiting(
      this.holdReason === 'busy' && !unreachable
        ? { severity: 'ERROR', code: '53300', message: 'no connection to the cluster became free in time' }
        : {
            severity: 'ERROR',
            code: '57P03',
            message: HOLD_TEXT[unreachable ? 'unreachable' : this.holdReason],
            hint: 'Try again.',
          },
    );
  }

  /** Something changed that may end the wait. */
  reconsider(): void {
    if (this.#state === 'waiting') this.#begin();
  }

  /** Waiter: a backend is free. */
  give(backend: Backend): void {
    const decision = this.door.router.decide(this.record, this.#refusedEpoch);
    if (this.#state !== 'waiting' || decision.kind === 'hold' || decision.route.pool !== this.#pool) {
      this.#pool?.release(backend);
      if (this.#state === 'waiting') {
        this.#pool = null;
        this.#begin();
      }
      return;
    }
    this.#route = decision.route;
    this.#prepare(backend);
  }

  /** Waiter: the server refuses for good. */
  refuse(error: ServerError): void {
    this.#pool = null;
    this.failWaiting({ severity: 'ERROR', code: error.code, message: error.message });
  }

  #prepare(backend: Backend): void {
    const route = this.#route;
    if (route === null) return;
    const keepState = this.backend !== null;
    this.backend = backend;
    const signature = this.settings.signature;
    const settings =
      route.settings === ''
        ? signature
        : signature === ''
          ? route.settings
          : `${route.settings};${signature}`;
    const wanted = {
      tenant: this.tenant,
      context: route.context,
      signed: (number: string) => this.door.sign(this.tenant, route.epoch, number),
      settings,
      keepState,
    };
    if (fits(backend, wanted)) {
      this.#activate();
      return;
    }
    this.#state = 'adopting';
    adopt(backend, wanted, (failure) => this.#adopted(backend, keepState, failure));
  }

  #adopted(backend: Backend, keepState: boolean, failure: AdoptFailure | null): void {
    if (this.#state === 'closed') {
      if (keepState) backend.destroy();
      else this.#pool?.release(backend);
      return;
    }
    if (failure !== null) {
      this.backend = null;
      if (keepState)
        this.fatal({
          severity: 'FATAL',
          code: '57P01',
          message: 'the connection that held this session has ended',
        });
      else if (failure.kind === 'settings') {
        this.#pool = null;
        this.failWaiting({ severity: 'ERROR', code: failure.code, message: failure.message });
      } else {
        this.#state = 'idle';
        this.#pool = null;
        this.#begin();
      }
      return;
    }
    const decision = this.door.router.decide(this.record);
    if (decision.kind === 'go' && decision.route === this.#route) {
      this.#activate();
      return;
    }
    this.#state = 'idle';
    if (!keepState) {
      this.backend = null;
      this.#pool?.release(backend);
      this.#pool = null;
    }
    this.#begin();
  }

  #activate(): void {
    const { backend } = this;
    if (backend === null) return;
    if (this.#login !== null) {
      const done = this.#login;
      this.#login = null;
      const parameters = new Map(backend.parameters);
      this.#stopWaiting();
      this.#state = 'idle';
      this.backend = null;
      this.#pool?.release(backend);
      this.#pool = null;
      done(parameters);
      return;
    }
    if (this.waitingSince > 0) this.#stopWaiting();
    this.#state = 'active';
    backend.owner = this;
    this.#status = IDLE;
    this.committal = false;
    this.#delivered = 0;
    this.serverFarewell = null;
    this.#down.reset();
    this.record.begin();
    this.#counted = true;
    this.door.stats.transactions++;
    this.#tellParameters(backend);
    const pending = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    for (const bytes of pending) {
      if (this.#state === 'active') this.#forward(bytes);
      else this.#dispatch(bytes);
    }
    this.replaying = false;
    this.link.resume();
  }

  /** Parameters of this backend that differ from what the client was told. */
  #tellParameters(backend: Backend): void {
    if (backend.parametersKey === this.#toldKey) return;
    this.#toldKey = backend.parametersKey;
    const out: Buffer[] = [];
    for (const [name, value] of backend.parameters) {
      if (this.#clientParameters.get(name) === value) continue;
      this.#clientParameters.set(name, value);
      out.push(parameterStatus(name, value));
    }
    this.link.writeAll(out);
  }

  /** The server says that a parameter has changed; the client hears it, too. */
  parameterChanged(bytes: Buffer, start: number, end: number): void {
    const changed = this.backend?.noteParameter(bytes, start, end);
    if (changed === undefined || changed === null) return;
    this.#clientParameters.set(changed.name, changed.value);
    this.#toldKey = '';
  }

  #forward(bytes: Buffer): void {
    if (!this.door.router.leaseValid()) {
      this.#keep(bytes);
      this.cutOff();
      return;
    }
    try {
      forward(this, bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.fatal({ severity: 'FATAL', code: '08P01', message: error.message });
    }
  }

  // What upstream.ts calls.

  owe(code: number, payload?: unknown): void {
    if (this.#replaySkip > 0 && code !== ENTRY.copyEnd) {
      this.#replaySkip--;
      this.replies.push(code | SWALLOW, payload);
    } else this.replies.push(code, payload);
  }

  /** A message of the proxy's own. */
  oweOwn(code: number, payload?: unknown): void {
    this.replies.push(code | OWN, payload);
  }

  /** A reply the proxy forges: at once when nothing is owed before it. */
  oweLocal(code: number, bytes: Buffer, payload?: unknown): void {
    if (!this.replies.empty) this.owe(code, payload);
    else {
      this.#delivered++;
      if (payload !== undefined) this.statements.confirm(payload as ParseNote);
      if (this.#replaySkip > 0) this.#replaySkip--;
      else this.link.write(bytes);
    }
  }

  forged(kind: number): Buffer {
    return kind === ENTRY.localParse ? PARSE_COMPLETE : CLOSE_COMPLETE;
  }

  toBackendOne(bytes: Buffer): void {
    if (this.backend?.send(bytes) === false) this.link.pause();
  }

  toBackend(pieces: readonly Buffer[]): void {
    const [only] = pieces;
    if (pieces.length === 1 && only !== undefined) this.toBackendOne(only);
    else this.toBackendOne(Buffer.concat(pieces));
  }

  /** What a statement means for the session, when it is sent. */
  note(verdict: Verdict): void {
    const { backend } = this;
    if (verdict.refusal !== undefined) return;
    for (const reason of verdict.pins) this.#pin(reason);
    if (backend !== null) {
      if (verdict.dirty) backend.dirty = true;
      if (verdict.taints) backend.tainted = true;
    }
    for (const effect of verdict.effects) {
      if (effect.kind !== 'deallocate') continue;
      if (effect.name !== null) this.statements.forget(effect.name);
      else this.statements.forgetAll();
    }
  }

  #pin(reason: string): void {
    if (this.#pins.has(reason)) return;
    this.#pins.add(reason);
    this.door.stats.pins.set(reason, (this.door.stats.pins.get(reason) ?? 0) + 1);
    if (this.backend !== null) this.backend.tainted = true;
  }

  hasStatement(name: string): boolean {
    return this.statements.get(name) !== undefined;
  }

  startupSetting(key: string): string | undefined {
    return this.settings.startupSetting(key);
  }

  // What downstream.ts calls.

  onServerBytes(chunk: Buffer): void {
    this.#down.process(this, chunk);
  }

  /** The head of what is owed was answered. */
  answered(): void {
    if ((this.replies.head & OWN) === 0) this.#delivered++;
    const kind = this.replies.head & KIND;
    if (kind === ENTRY.parse || kind === ENTRY.localParse)
      this.statements.confirm(this.replies.payload as ParseNote | undefined);
    if (kind === ENTRY.query) {
      const effects = this.replies.payload as readonly Effect[] | undefined;
      if (effects !== undefined && !this.queryFailed) this.tentative.push(...effects);
      this.queryFailed = false;
    }
    this.replies.shift();
  }

  /** ReadyForQuery. @returns whether the backend is free of this client. */
  ready(status: number): boolean {
    this.#status = status;
    this.copyIn = false;
    if (status !== IDLE) {
      this.journal.ready();
      return false;
    }
    const last = this.replies.empty;
    this.journal.readyIdle(last && !this.segmentOpen);
    this.#delivered = 0;
    this.committal = false;
    if (this.tentative.length > 0) this.#settle();
    return last && !this.segmentOpen;
  }

  /** The transaction in which settings were changed is over. */
  #settle(): void {
    const effects = this.tentative.splice(0);
    if (this.rolledBack) {
      this.rolledBack = false;
      return;
    }
    const { backend } = this;
    const before = this.settings.signature;
    for (const effect of effects) {
      this.settings.apply(effect);
      if (effect.kind === 'discardAll') {
        this.statements.forgetAll();
        this.#pins.clear();
        if (backend !== null) backend.tainted = true;
      } else if (effect.kind === 'resetAll' && backend !== null) backend.dirty = true;
    }
    if (backend === null || backend.dirty || backend.tainted) return;
    const after = this.settings.signature;
    const prefix = this.#route?.settings ?? '';
    const full = prefix === '' ? after : after === '' ? prefix : `${prefix};${after}`;
    if (before !== after) backend.settings = full;
  }

  /** The transaction is over; the backend goes back, unless the session is bound to it. */
  free(extra: Buffer | null): void {
    const { backend } = this;
    if (this.#counted) {
      this.#counted = false;
      this.record.end();
    }
    if (backend === null) return;
    if (extra !== null) {
      if (this.pinned) this.onServerBytes(extra);
      else backend.tainted = true;
    }
    this.statements.keepUnnamed();
    if (this.pinned) return;
    this.backend = null;
    this.#state = 'idle';
    this.link.resume();
    const pool = this.#pool;
    this.#pool = null;
    if (this.link.stalledSince > 0) backend.socket.resume();
    pool?.release(backend);
  }

  mayReplay(): boolean {
    return !this.committal && !this.pinned && this.journal.replayable && this.backend !== null;
  }

  /** The tenant is not written here any more and nothing was done: begin again where it is. */
  replay(): void {
    const { backend } = this;
    if (backend === null) return;
    this.door.stats.replays++;
    this.#refusedEpoch = this.#route?.epoch ?? -1;
    this.#refusedAt = performance.now();
    this.#replaySkip = this.#delivered;
    this.replaying = true;
    this.#pending = [...this.journal.drain(), ...this.#pending];
    this.#pendingBytes = this.#pending.reduce((sum, bytes) => sum + bytes.length, 0);
    this.#letGo();
    backend.owner = null;
    backend.destroy();
    this.#begin();
  }

  parseFailed(note: ParseNote | undefined): void {
    this.statements.failed(note, this.backend);
  }

  /** DDL changed a result type: PostgreSQL refuses the old plan for ever; the next use prepares it anew. */
  planOutdated(): void {
    const { backend, lastBound } = this;
    if (backend === null || lastBound === null) return;
    backend.prepared.delete(lastBound);
    backend.stale.add(lastBound);
  }

  serverBroken(why: string): void {
    this.serverFarewell = { code: '08P01', message: why };
    this.backend?.destroy();
  }

  onServerDrain(): void {
    this.link.resume();
  }

  /** The backend is gone in the middle of this client's work: one clean error, never a silent repetition. */
  onServerClosed(): void {
    const wasIdle = this.#betweenTransactions();
    const inTransaction = this.#status !== IDLE || this.copyIn;
    const farewell = this.serverFarewell;
    const wasPinned = this.pinned;
    const partial = this.#down.inMessage;
    this.#letGo();
    if (partial) {
      this.door.errors.count('08006');
      this.#close();
      return;
    }
    const error: WireError = {
      severity: wasPinned || inTransaction ? 'FATAL' : 'ERROR',
      code: farewell?.code ?? '08006',
      message: farewell?.message ?? 'the connection to the cluster was lost',
      hint: 'Whether the statement took effect is not known.',
    };
    if (wasPinned || inTransaction) {
      this.fatal(wasIdle ? { ...error, hint: 'Connect again.' } : error);
      return;
    }
    this.door.errors.count(error.code);
    const { out, open } = failOwed(this.replies, errorResponse(error), this.segmentOpen, (note) =>
      this.parseFailed(note),
    );
    if (open) this.skipping = true;
    this.segmentOpen = false;
    this.journal.clear();
    this.tentative.length = 0;
    this.link.writeAll(out);
  }

  #letGo(): void {
    this.backend = null;
    this.#pool = null;
    this.#state = 'idle';
    this.#status = IDLE;
    if (this.#counted) {
      this.#counted = false;
      this.record.end();
    }
    if (this.replaying) this.replies.clear();
    this.segmentOpen = this.replaying ? false : this.segmentOpen;
    this.skipping = this.replaying ? false : this.skipping;
    this.copyIn = false;
    this.serverFarewell = null;
    this.link.resume();
  }

  // Ends.

  /** The lease has run out with a transaction on a backend: it is cut (I4). */
  cutOff(): void {
    if (this.#state !== 'active' || this.backend === null) return;
    this.serverFarewell = {
      code: '57P01',
      message: 'this front door lost its lease: the transaction was cut off',
    };
    this.backend.destroy();
  }

  /** The wait is over without a backend. */
  failWaiting(error: WireError): void {
    if (this.#pool !== null && this.backend === null) {
      this.#pool.leave(this);
      this.#pool = null;
    }
    this.#stopWaiting();
    this.#state = this.backend === null ? 'idle' : 'active';
    if (this.#login !== null) {
      const done = this.#login;
      this.#login = null;
      done({ ...error, severity: 'FATAL' });
      return;
    }
    if (this.#replaySkip > 0) {
      this.fatal({ ...error, severity: 'FATAL' });
      return;
    }
    this.replaying = false;
    this.door.errors.count(error.code);
    const pending = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    const { out, left, skipping } = refuseAll(pending, errorResponse(error), this.skipping);
    this.skipping = skipping;
    this.link.writeAll(out);
    this.link.resume();
    if (left) this.clientLeft();
  }

  /** Sends the error and closes the connection. */
  fatal(error: WireError): void {
    if (this.#state === 'closed') return;
    this.door.errors.count(error.code);
    this.socket.end(errorResponse(error));
    this.#close();
  }

  /** The client does not read: its backend is freed, its connection dropped. */
  abandon(): void {
    this.#close();
    this.socket.destroy();
  }

  clientLeft(): void {
    this.#close();
  }

  #close(): void {
    if (this.#state === 'closed') return;
    const { backend } = this;
    const was = this.#state;
    const running = !this.replies.empty;
    const pool = this.#pool;
    this.#state = 'closed';
    this.door.waiting.delete(this);
    this.door.stalled.delete(this);
    this.record.waiting.delete(this);
    pool?.leave(this);
    if (this.#counted) {
      this.#counted = false;
      this.record.end();
    }
    this.statements.forgetAll();
    this.#pending = [];
    if (backend !== null && was !== 'adopting') {
      backend.owner = null;
      if (running && pool !== null && !backend.closed) {
        // The statement must not run on for nobody.
        backend.tainted = true;
        backend.onCancelsDone = () => backend.destroy();
        cancelBackend(backend, pool.target);
      } else backend.destroy();
      this.backend = null;
    }
    const done = this.#login;
    this.#login = null;
    done?.({ severity: 'FATAL', code: '57P01', message: 'the connection ended' });
    if (!this.socket.writableEnded) this.socket.end();
    this.door.closed(this);
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    if (this.running && this.backend !== null && this.#pool !== null)
      cancelBackend(this.backend, this.#pool.target);
    else if (this.#state === 'waiting') {
      this.failWaiting({
        severity: 'ERROR',
        code: '57014',
        message: 'canceling statement due to user request',
      });
    }
  }
}
