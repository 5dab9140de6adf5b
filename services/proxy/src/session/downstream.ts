/**
 * Server to client. Walks the server's messages, keeps account of what is owed, swallows what the proxy asked for itself and
 * forwards the rest as it came, in one write per read. Rows are forwarded piecewise, however large.
 */
import type { PgErrorSink } from '../metrics.ts';
import { BACKEND } from '../protocol/message-types.ts';
import type { ParseNote } from './client-statements.ts';
import { forged } from './local-replies.ts';
import type { SessionParts } from './parts.ts';
import { ENTRY, KIND, OWN, SWALLOW } from './replies.ts';
import { MOVED_IN_TRANSACTION, meaningOf } from './server-errors.ts';
import { Splice } from './splice.ts';
import type { Effect } from './statement-effects.ts';
import type { ToldParameters } from './told-parameters.ts';

const MESSAGE_MAX = 0x4000_0000;

export interface DownstreamParts extends SessionParts {
  readonly parameters: ToldParameters;
  readonly errors: PgErrorSink;
  /** ReadyForQuery, and nothing is owed any more. @param extra what else the server said */
  transactionOver(extra: Buffer | null): void;
  /** The transaction is to begin again elsewhere: nothing of it is to be seen here. */
  replay(): void;
}

export class Downstream {
  /** Why the server, or we, end the connection. */
  farewell: { readonly code: string; readonly message: string } | null = null;
  readonly #parts: DownstreamParts;
  readonly #splice = new Splice();
  /** Bytes of a forwarded message that are still to come. */
  #remaining = 0;
  #rest: Buffer | null = null;
  /** Where the reply to the head entry begins in this chunk. */
  #entryAt = 0;
  /** Some of the head entry's reply was forwarded in an earlier chunk. */
  #entryBegun = false;

  constructor(parts: DownstreamParts) {
    this.#parts = parts;
  }

  /** Whether the client was given only a part of a message. */
  get inMessage(): boolean {
    return this.#remaining > 0;
  }

  reset(): void {
    this.farewell = null;
    this.#remaining = 0;
    this.#rest = null;
    this.#entryBegun = false;
  }

  process(chunk: Buffer): void {
    const b = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = null;
    const length = b.length;
    const { account, link } = this.#parts;
    const { replies } = account;
    const splice = this.#splice;
    splice.begin(b);
    this.#entryAt = 0;
    let p = 0;
    if (this.#remaining > 0) {
      p = Math.min(this.#remaining, length);
      this.#remaining -= p;
    }
    while (p + 5 <= length) {
      const type = b[p] ?? 0;
      const size = b.readUInt32BE(p + 1);
      const end = p + 1 + size;
      if (size < 4 || size > MESSAGE_MAX) {
        this.#broken();
        return;
      }
      const hidden = (replies.head & (SWALLOW | OWN)) !== 0;
      if (end > length) {
        // Rows, copy data: forwarded as they come.
        if ((type === BACKEND.dataRow || type === BACKEND.copyData) && !hidden) {
          account.committal = true;
          this.#remaining = end - length;
          p = length;
        }
        break;
      }
      if (type === BACKEND.dataRow) {
        account.committal = true;
        if (hidden) splice.drop(p, end);
        p = end;
        continue;
      }
      if (type === BACKEND.ready) {
        if (hidden) splice.drop(p, end);
        this.#entryAnswered(end);
        p = end;
        if (!this.#ready(b[end - 1] ?? 0)) continue;
        // The transaction is over and nothing is owed: what follows in this chunk is not the client's.
        const out = splice.finish(p);
        if (out !== null) link.write(out);
        this.#parts.transactionOver(p < length ? b.subarray(p) : null);
        return;
      }
      if (type === BACKEND.error) {
        if (this.#error(b, p, end) === 'replay') return;
      } else {
        if (hidden && !isUnasked(type)) splice.drop(p, end);
        if (this.#answers(type, b, p, end)) this.#entryAnswered(end);
      }
      p = end;
    }
    if (p < length) this.#rest = b.subarray(p);
    this.#entryBegun = p > this.#entryAt || (this.#entryAt === 0 && this.#entryBegun);
    const out = splice.finish(p);
    if (out !== null) link.write(out);
  }

  #broken(): void {
    this.farewell = { code: '08P01', message: 'the server sent a message of impossible length' };
    this.#parts.checkout.backend?.destroy();
  }

  /** Takes note of a message. @returns whether with it the head entry is answered */
  #answers(type: number, b: Buffer, p: number, end: number): boolean {
    const { account, checkout, parameters } = this.#parts;
    const { replies } = account;
    switch (type) {
      case BACKEND.copyData:
      case BACKEND.copyOut:
        account.committal = true;
        return false;
      case BACKEND.parseComplete:
      case BACKEND.bindComplete:
      case BACKEND.closeComplete:
        return true;
      case BACKEND.rowDescription:
      case BACKEND.noData:
        return (replies.head & KIND) === ENTRY.describe;
      case BACKEND.commandComplete:
        return this.#commandComplete(b, p);
      case BACKEND.portalSuspended:
        account.committal = true;
        return true;
      case BACKEND.emptyQuery:
        return (replies.head & KIND) === ENTRY.execute;
      case BACKEND.copyIn:
        account.committal = true;
        account.journal.break();
        account.copyIn = !replies.startCopyIn();
        return false;
      case BACKEND.parameterStatus: {
        const changed = checkout.backend?.noteParameter(b, p, end) ?? null;
        if (changed !== null) parameters.changed(changed);
        return false;
      }
      default:
        return false;
    }
  }

  /** The head entry is answered, up to `end`; forged replies that come next in line are put in place. */
  #entryAnswered(end: number): void {
    this.#entryBegun = false;
    this.#entryAt = end;
    const { replies } = this.#parts.account;
    if (replies.empty) return;
    this.#answered();
    for (;;) {
      const code = replies.head;
      const kind = code & KIND;
      if (kind === ENTRY.copyEnd) {
        replies.shift();
        continue;
      }
      if (kind !== ENTRY.localParse && kind !== ENTRY.localClose) return;
      if ((code & (SWALLOW | OWN)) === 0) this.#splice.put(end, end, forged(kind));
      this.#answered();
    }
  }

  #answered(): void {
    const { account, statements, state } = this.#parts;
    const { replies } = account;
    const kind = replies.head & KIND;
    if (kind === ENTRY.parse || kind === ENTRY.localParse)
      statements.confirm(replies.payload as ParseNote | undefined);
    else if (kind === ENTRY.query) state.queried(replies.payload as readonly Effect[] | undefined);
    account.answered();
  }

  #ready(status: number): boolean {
    const { account, state, checkout } = this.#parts;
    const over = account.ready(status);
    if (!account.inTransaction) state.settle(checkout.backend);
    return over;
  }

  /** @returns whether the entry is answered: an Execute is, a Query may have more statements. */
  #commandComplete(b: Buffer, p: number): boolean {
    const { account, state } = this.#parts;
    const [c0, c1, c2] = [b[p + 5], b[p + 6], b[p + 7]];
    // BEGIN, START TRANSACTION, SET, RESET, SAVEPOINT have no effect another backend could not have.
    const harmless =
      c0 === 0x42 ||
      (c0 === 0x53 && (c1 === 0x54 || c1 === 0x41 || (c1 === 0x45 && c2 === 0x54))) ||
      (c0 === 0x52 && c1 === 0x45 && c2 === 0x53);
    if (!harmless) account.committal = true;
    state.completed(c0 === 0x52 && c1 === 0x4f);
    if ((account.replies.head & KIND) !== ENTRY.execute) return false;
    state.executed(account.replies.payload as readonly Effect[] | undefined);
    return true;
  }

  /** The ErrorResponse in `b[p, end)`. */
  #error(b: Buffer, p: number, end: number): 'replay' | 'told' {
    const { statements, checkout, errors } = this.#parts;
    const meaning = meaningOf(b, p, end, errors);
    switch (meaning.kind) {
      case 'farewell':
        this.farewell = meaning;
        this.#splice.drop(p, end);
        break;
      case 'moved':
        if (this.#mayReplay()) {
          this.#replay();
          return 'replay';
        }
        errors.count('40001');
        this.#splice.put(p, end, MOVED_IN_TRANSACTION);
        break;
      case 'plain':
        if (meaning.planOutdated) statements.planOutdated(checkout.backend);
    }
    this.#skipSegment();
    this.#entryAt = end;
    this.#entryBegun = false;
    return 'told';
  }

  /** Nothing has happened yet, and nothing of the head entry's reply was told. */
  #mayReplay(): boolean {
    const { account, state, checkout } = this.#parts;
    if (account.committal || state.pinned || !account.journal.replayable || checkout.backend === null)
      return false;
    return !(this.#entryBegun && this.#entryAt === 0);
  }

  /** What was answered before this entry is told, then all begins again elsewhere. */
  #replay(): void {
    const out = this.#splice.finish(this.#entryAt);
    if (out !== null) this.#parts.link.write(out);
    this.#parts.replay();
  }

  /** After an error the server skips to the next Sync: what was sent before it is not answered. */
  #skipSegment(): void {
    const { account, statements, state, checkout } = this.#parts;
    const { replies } = account;
    const inQuery = (replies.head & KIND) === ENTRY.query;
    state.failed(inQuery);
    if (inQuery || replies.empty) return;
    account.copyIn = false;
    while (!replies.empty) {
      const kind = replies.head & KIND;
      if (kind === ENTRY.sync) return;
      if (kind === ENTRY.parse || kind === ENTRY.localParse)
        statements.failed(replies.payload as ParseNote | undefined, checkout.backend);
      replies.shift();
    }
    account.skipping = true;
  }
}

/** Messages that answer nothing and are always the client's. */
function isUnasked(type: number): boolean {
  return type === BACKEND.parameterStatus || type === BACKEND.notice || type === BACKEND.notification;
}
