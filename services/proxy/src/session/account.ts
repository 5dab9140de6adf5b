/**
 * The account between a client and its backend: what was sent and is not answered yet, where the client is in its segment and its
 * transaction, and whether all of it could begin again on another backend. Pure.
 */
import { Journal } from './journal.ts';
import { ENTRY, OWN, Replies, SWALLOW } from './replies.ts';

/** Transaction status in ReadyForQuery: outside a transaction. */
export const IDLE = 0x49;

export class Account {
  readonly replies = new Replies();
  readonly journal = new Journal();
  /** Messages of the client are dropped until its next Sync. */
  skipping = false;
  copyIn = false;
  /** Extended-protocol messages were sent whose Sync has not come yet. */
  segmentOpen = false;
  /** The transaction has shown or done something: it cannot begin again elsewhere. */
  committal = false;
  /** What is sent now was sent before, to a backend that refused it. */
  replaying = false;
  #status = IDLE;
  /** Replies of this transaction that the client has been given. */
  #delivered = 0;
  /** Replies that the client has been given already, the first time round. */
  #replaySkip = 0;

  /** The server holds nothing of the client's. */
  get betweenTransactions(): boolean {
    return this.replies.empty && this.#status === IDLE && !this.segmentOpen && !this.copyIn;
  }

  get inTransaction(): boolean {
    return this.#status !== IDLE || this.copyIn;
  }

  /** Replies of a first attempt were given that the second has not caught up with. */
  get halfReplayed(): boolean {
    return this.#replaySkip > 0;
  }

  /** A transaction begins on a backend. */
  begin(): void {
    this.#status = IDLE;
    this.committal = false;
    this.#delivered = 0;
  }

  /** A message of the client was sent that will be answered. */
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

  /** The proxy answers at once, with nothing owed before. @returns whether the client is to hear it: not when it has heard it before */
  answerNow(): boolean {
    this.#delivered++;
    if (this.#replaySkip === 0) return true;
    this.#replaySkip--;
    return false;
  }

  /** The head of what is owed was answered. */
  answered(): void {
    if ((this.replies.head & OWN) === 0) this.#delivered++;
    this.replies.shift();
  }

  /** ReadyForQuery. @returns whether the server holds nothing of the client's any more */
  ready(status: number): boolean {
    this.#status = status;
    this.copyIn = false;
    if (status !== IDLE) {
      this.journal.ready();
      return false;
    }
    const last = this.replies.empty && !this.segmentOpen;
    this.journal.readyIdle(last);
    this.#delivered = 0;
    this.committal = false;
    return last;
  }

  /** Begins again what the client has sent: its messages in order. Replies already given are not given twice. */
  replay(): Buffer[] {
    this.#replaySkip = this.#delivered;
    this.replaying = true;
    this.replies.clear();
    this.segmentOpen = false;
    this.skipping = false;
    return this.journal.drain();
  }

  /** The backend is gone. */
  letGo(): void {
    this.#status = IDLE;
    this.copyIn = false;
  }
}
