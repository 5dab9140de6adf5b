/**
 * One client after its login. Between transactions it owns nothing; for a transaction it gets a backend on its tenant's primary, or
 * waits (`checkout.ts`). `transaction.ts` is what happens on a backend, `upstream.ts` and `downstream.ts` move the bytes, `account.ts`
 * knows what is owed, `session-state.ts` what follows the client from backend to backend. This file is the client's beginning, its waiting
 * and its end.
 */
import type { Socket } from 'node:net';
import type { Backend } from '../pool/backend.ts';
import { cancelBackend } from '../pool/cancel.ts';
import { Assembler } from '../protocol/assembler.ts';
import { errorResponse, type WireError } from '../protocol/builders.ts';
import type { TenantRecord } from '../routing/tenant-book.ts';
import { Account } from './account.ts';
import { Checkout } from './checkout.ts';
import { ClientLink } from './client-link.ts';
import { ClientStatements } from './client-statements.ts';
import type { Door } from './door.ts';
import { refuseAll } from './local-replies.ts';
import { openingOf, Pending } from './pending.ts';
import { SessionState } from './session-state.ts';
import type { Settings } from './settings.ts';
import { ToldParameters } from './told-parameters.ts';
import { Transaction } from './transaction.ts';

/** Largest message taken from a client, bytes. */
const MESSAGE_MAX = 64 * 1024 * 1024;

export interface SessionOptions {
  readonly door: Door;
  readonly socket: Socket;
  readonly record: TenantRecord;
  readonly settings: Settings;
  readonly pid: number;
  readonly secret: Buffer;
}

type LoginDone = (parameters: Map<string, string> | WireError) => void;

export class Session {
  readonly pid: number;
  readonly secret: Buffer;
  readonly tenant: string;
  readonly link: ClientLink;
  readonly #door: Door;
  readonly #socket: Socket;
  readonly #checkout: Checkout;
  readonly #transaction: Transaction;
  readonly #account = new Account();
  readonly #statements: ClientStatements;
  readonly #pending = new Pending();
  readonly #parameters = new ToldParameters();
  readonly #in = new Assembler(MESSAGE_MAX);
  #login: LoginDone | null = null;

  constructor(options: SessionOptions) {
    const { door, socket, record, settings } = options;
    this.pid = options.pid;
    this.secret = options.secret;
    this.tenant = record.tenant;
    this.#door = door;
    this.#socket = socket;
    const statements = new ClientStatements(door.registry);
    const state = new SessionState(settings, statements, (reason) =>
      door.stats.pins.set(reason, (door.stats.pins.get(reason) ?? 0) + 1),
    );
    const checkout = new Checkout(door, record, settings, {
      fit: (backend) => this.#fit(backend),
      failed: (error) => this.#notServed(error),
      lost: (error) => this.fatal(error),
      boundBy: () => state.pins,
    });
    this.link = new ClientLink(
      socket,
      () => {
        door.stalled.add(this);
        checkout.backend?.socket.pause();
      },
      () => {
        door.stalled.delete(this);
        checkout.backend?.socket.resume();
      },
    );
    this.#statements = statements;
    this.#checkout = checkout;
    this.#transaction = new Transaction({
      door,
      record,
      checkout,
      statements,
      state,
      link: this.link,
      account: this.#account,
      pending: this.#pending,
      parameters: this.#parameters,
      dispatch: (bytes) => this.#dispatch(bytes),
      fatal: (error) => this.fatal(error),
      end: () => this.#close(),
    });
  }

  /** A transaction is on a backend. */
  get busy(): boolean {
    return this.#transaction.inFlight;
  }

  /** Ends the login: asks a backend, prepared for this client, what its parameters are. Called back once. */
  login(done: LoginDone): void {
    this.#login = done;
    this.#checkout.begin();
  }

  #loginEnds(result: Map<string, string> | WireError): void {
    const done = this.#login;
    this.#login = null;
    done?.(result);
  }

  /** From now on the client's bytes come here. */
  start(parameters: Map<string, string>): void {
    this.#parameters.begin(parameters);
    this.#socket.on('data', (chunk: Buffer) => this.onClientBytes(chunk));
  }

  onClientBytes(chunk: Buffer): void {
    if (this.#checkout.state === 'closed') return;
    try {
      const whole = this.#in.push(chunk);
      if (whole !== null) this.#dispatch(whole);
    } catch (error) {
      const message = error instanceof Error ? error.message : 'protocol violation';
      this.fatal({ severity: 'FATAL', code: '08P01', message });
    }
  }

  /** Whole messages: to the backend, to what waits for one, or the beginning of a new transaction. */
  #dispatch(bytes: Buffer): void {
    const { state } = this.#checkout;
    if (state === 'closed') return;
    if (state === 'waiting' || state === 'adopting') {
      if (this.#pending.push(bytes)) this.link.pause();
      return;
    }
    if (state === 'active' && !this.#account.betweenTransactions) {
      this.#transaction.forward(bytes);
      return;
    }
    const opening = openingOf(bytes, this.#account, (reply) => this.link.write(reply));
    if (opening.kind === 'end') this.#close();
    if (opening.kind !== 'work') return;
    this.#pending.push(opening.rest);
    this.#checkout.begin();
  }

  /** A backend is there. */
  #fit(backend: Backend): void {
    if (this.#login === null) {
      this.#transaction.begin(backend);
      return;
    }
    const parameters = new Map(backend.parameters);
    this.#checkout.giveBack();
    this.#loginEnds(parameters);
  }

  /** There is no backend for what the client has sent. */
  #notServed(error: WireError): void {
    if (this.#login !== null) {
      this.#loginEnds({ ...error, severity: 'FATAL' });
      return;
    }
    const account = this.#account;
    if (account.halfReplayed) {
      this.fatal({ ...error, severity: 'FATAL' });
      return;
    }
    account.replaying = false;
    this.#door.errors.count(error.code);
    const waiting = Buffer.concat(this.#pending.take());
    const { out, left, skipping } = refuseAll(waiting, errorResponse(error), account.skipping);
    account.skipping = skipping;
    this.link.writeAll(out);
    this.link.resume();
    if (left) this.#close();
  }

  /** The lease has run out: a transaction on a backend is cut (I4). */
  cutOff(): void {
    this.#transaction.cutOff();
  }

  /** Sends the error and closes the connection. */
  fatal(error: WireError): void {
    if (this.#checkout.state === 'closed') return;
    this.#door.errors.count(error.code);
    this.#socket.end(errorResponse(error));
    this.#close();
  }

  /** The client does not read: its backend is freed, its connection dropped. */
  abandon(): void {
    this.#close();
    this.#socket.destroy();
  }

  clientLeft(): void {
    this.#close();
  }

  #close(): void {
    if (this.#checkout.state === 'closed') return;
    const { pool } = this.#checkout;
    const backend = this.#checkout.close();
    this.#door.stalled.delete(this);
    this.#transaction.uncount();
    this.#statements.forgetAll();
    this.#pending.take();
    if (backend !== null) {
      backend.owner = null;
      if (!this.#account.replies.empty && pool !== null && !backend.closed) {
        // The statement must not run on for nobody.
        backend.tainted = true;
        backend.onCancelsDone = () => backend.destroy();
        cancelBackend(backend, pool.target);
      } else backend.destroy();
    }
    this.#loginEnds({ severity: 'FATAL', code: '57P01', message: 'the connection ended' });
    if (!this.#socket.writableEnded) this.#socket.end();
    this.#door.closed(this);
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    const { backend, pool, state } = this.#checkout;
    const running = state === 'active' && !this.#account.replies.empty;
    if (running && backend !== null && pool !== null) cancelBackend(backend, pool.target);
    else if (state === 'waiting') {
      const message = 'canceling statement due to user request';
      this.#checkout.fail({ severity: 'ERROR', code: '57014', message });
    }
  }
}
