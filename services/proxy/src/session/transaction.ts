/**
 * A client's transactions on their backends, one after the other: each begins when a backend is fit, its bytes go both ways, it ends, is
 * begun again elsewhere because its tenant has moved, or is lost with its backend.
 */
import type { Backend, BackendOwner } from '../pool/backend.ts';
import { errorResponse, type WireError } from '../protocol/builders.ts';
import type { TenantRecord } from '../routing/tenant-book.ts';
import type { Checkout } from './checkout.ts';
import type { ClientLink } from './client-link.ts';
import type { Door } from './door.ts';
import { Downstream } from './downstream.ts';
import { failOwed } from './local-replies.ts';
import { ProtocolError, type SessionParts } from './parts.ts';
import type { Pending } from './pending.ts';
import type { ToldParameters } from './told-parameters.ts';
import { Upstream } from './upstream.ts';

export interface TransactionParts extends SessionParts {
  readonly door: Door;
  readonly record: TenantRecord;
  readonly checkout: Checkout;
  readonly link: ClientLink;
  readonly pending: Pending;
  readonly parameters: ToldParameters;
  /** What the client has sent while the last transaction came to its end. */
  dispatch(bytes: Buffer): void;
  /** Ends the session with an error. */
  fatal(error: WireError): void;
  /** Ends the session. */
  end(): void;
}

export class Transaction implements BackendOwner {
  readonly #parts: TransactionParts;
  readonly #up: Upstream;
  readonly #down: Downstream;
  /** It is counted as in flight. */
  #counted = false;

  constructor(parts: TransactionParts) {
    this.#parts = parts;
    this.#up = new Upstream(parts);
    this.#down = new Downstream({
      ...parts,
      errors: parts.door.errors,
      transactionOver: (extra) => this.#over(extra),
      replay: () => this.#replay(),
    });
  }

  /** One is on a backend. */
  get inFlight(): boolean {
    return this.#counted;
  }

  /** Begins, with what the client has sent so far. @param backend fit for it */
  begin(backend: Backend): void {
    const { account, checkout, door, link, parameters, pending, record } = this.#parts;
    backend.owner = this;
    account.begin();
    this.#down.reset();
    record.begin();
    this.#counted = true;
    door.stats.transactions++;
    link.writeAll(parameters.differences(backend));
    for (const bytes of pending.take()) {
      if (checkout.state === 'active') this.forward(bytes);
      else this.#parts.dispatch(bytes);
    }
    account.replaying = false;
    link.resume();
  }

  /** To be called when it is over, whichever way. */
  uncount(): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.#parts.record.end();
  }

  /** Whole messages of the client. */
  forward(bytes: Buffer): void {
    const { door, link, pending } = this.#parts;
    if (!door.router.leaseValid()) {
      if (pending.push(bytes)) link.pause();
      this.cutOff();
      return;
    }
    try {
      if (this.#up.forward(bytes) === 'end') this.#parts.end();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#parts.fatal({ severity: 'FATAL', code: '08P01', message: error.message });
    }
  }

  onServerBytes(chunk: Buffer): void {
    this.#down.process(chunk);
  }

  onServerDrain(): void {
    this.#parts.link.resume();
  }

  /** The backend goes back, unless the session is bound to it. @param extra the server said more than it owed */
  #over(extra: Buffer | null): void {
    const { checkout, link, state, statements } = this.#parts;
    const { backend } = checkout;
    this.uncount();
    if (backend === null) return;
    const { pinned } = state;
    if (extra !== null) {
      if (pinned) this.onServerBytes(extra);
      else backend.tainted = true;
    }
    statements.keepUnnamed();
    if (pinned) return;
    link.resume();
    if (link.stalledSince > 0) backend.socket.resume();
    checkout.giveBack();
  }

  /** The tenant is not written here any more and nothing was done: begin again where it is. */
  #replay(): void {
    const { account, checkout, door, pending } = this.#parts;
    const { backend } = checkout;
    if (backend === null) return;
    door.stats.replays++;
    checkout.epochRefused();
    pending.unshift(account.replay());
    this.#letGo();
    backend.owner = null;
    backend.destroy();
    checkout.begin();
  }

  /** The lease has run out: it is cut (I4). */
  cutOff(): void {
    const { backend, state } = this.#parts.checkout;
    if (state !== 'active' || backend === null) return;
    this.#down.farewell = {
      code: '57P01',
      message: 'this front door lost its lease: the transaction was cut off',
    };
    backend.destroy();
  }

  /** The backend is gone in the middle of this client's work: one clean error, never a silent repetition. */
  onServerClosed(): void {
    const { account, door, link, state, statements } = this.#parts;
    const wasIdle = account.betweenTransactions;
    const bound = state.pinned || account.inTransaction;
    const { farewell, inMessage } = this.#down;
    this.#letGo();
    if (inMessage) {
      // The client waits for the rest of a message: no error can be put there.
      door.errors.count('08006');
      this.#parts.end();
      return;
    }
    const error: WireError = {
      severity: bound ? 'FATAL' : 'ERROR',
      code: farewell?.code ?? '08006',
      message: farewell?.message ?? 'the connection to the cluster was lost',
      hint: wasIdle && bound ? 'Connect again.' : 'Whether the statement took effect is not known.',
    };
    if (bound) {
      this.#parts.fatal(error);
      return;
    }
    door.errors.count(error.code);
    const { out, open } = failOwed(account.replies, errorResponse(error), account.segmentOpen, (note) =>
      statements.failed(note, null),
    );
    if (open) account.skipping = true;
    account.segmentOpen = false;
    account.journal.clear();
    state.forgetTentative();
    link.writeAll(out);
  }

  #letGo(): void {
    const { account, checkout, link } = this.#parts;
    checkout.drop();
    this.uncount();
    account.letGo();
    this.#down.farewell = null;
    link.resume();
  }
}
