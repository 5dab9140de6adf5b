/**
 * Server to client. Walks the server's messages, keeps account of what is owed, swallows what the proxy asked for itself and
 * forwards the rest as it came, in one write per read. Rows are forwarded piecewise, however large.
 */
import { errorResponse } from '../protocol/builders.ts';
import { errorFields } from '../protocol/fields.ts';
import type { ParseNote } from './client-statements.ts';
import { ENTRY, KIND, OWN, SWALLOW } from './replies.ts';
import type { Session } from './session.ts';
import type { Effect } from './statement-effects.ts';

const STALE_EPOCH = 'DR001';
const MESSAGE_MAX = 0x4000_0000;

export class Downstream {
  /** Bytes of a forwarded message that are still to come. */
  remaining = 0;
  #rest: Buffer | null = null;
  /** Some of the head entry's reply was forwarded in an earlier chunk. */
  #entryBegun = false;

  /** Whether the client was given only a part of a message. */
  get inMessage(): boolean {
    return this.remaining > 0;
  }

  reset(): void {
    this.remaining = 0;
    this.#rest = null;
    this.#entryBegun = false;
  }

  process(s: Session, chunk: Buffer): void {
    let b = chunk;
    if (this.#rest !== null) {
      b = Buffer.concat([this.#rest, chunk]);
      this.#rest = null;
    }
    const length = b.length;
    const { replies } = s;
    const out: Buffer[] = [];
    let from = 0;
    let p = 0;
    /** Where the reply to the head entry begins in this chunk. */
    let entryAt = 0;
    if (this.remaining > 0) {
      p = Math.min(this.remaining, length);
      this.remaining -= p;
    }
    while (p + 5 <= length) {
      const type = b[p] ?? 0;
      const size = b.readUInt32BE(p + 1);
      const end = p + 1 + size;
      if (size < 4 || size > MESSAGE_MAX) {
        s.serverBroken('the server sent a message of impossible length');
        return;
      }
      const hidden = (replies.head & (SWALLOW | OWN)) !== 0;
      if (end > length) {
        // Rows, copy data: forwarded as they come.
        if ((type === 0x44 || type === 0x64) && !hidden) {
          s.committal = true;
          this.remaining = end - length;
          p = length;
        }
        break;
      }
      let swallow = hidden;
      let done = false;
      switch (type) {
        case 0x44: // DataRow
        case 0x64: // CopyData
          s.committal = true;
          break;
        case 0x31: // ParseComplete
          done = true;
          break;
        case 0x32: // BindComplete
        case 0x33: // CloseComplete
          done = true;
          break;
        case 0x54: // RowDescription
        case 0x6e: // NoData
          done = (replies.head & KIND) === ENTRY.describe;
          break;
        case 0x43: // CommandComplete
          done = this.#commandComplete(s, b, p);
          break;
        case 0x73: // PortalSuspended
          s.committal = true;
          done = true;
          break;
        case 0x49: // EmptyQueryResponse
          done = (replies.head & KIND) === ENTRY.execute;
          break;
        case 0x47: // CopyInResponse
          s.committal = true;
          s.journal.break();
          s.copyIn = !replies.startCopyIn();
          break;
        case 0x48: // CopyOutResponse
          s.committal = true;
          break;
        case 0x53: // ParameterStatus
          s.parameterChanged(b, p, end);
          swallow = false;
          break;
        case 0x4e: // NoticeResponse
        case 0x41: // NotificationResponse
          swallow = false;
          break;
        case 0x45: {
          swallow = false;
          const instead = this.#error(s, b, p, end, () => {
            // Nothing happened yet: forward what was answered before this entry, then begin again elsewhere.
            if (this.#entryBegun && entryAt === 0) return false;
            if (entryAt > from) out.push(b.subarray(from, entryAt));
            return true;
          });
          if (instead === 'replay') {
            if (out.length > 0) s.link.writeAll(out);
            s.replay();
            return;
          }
          if (instead !== null) {
            if (p > from) out.push(b.subarray(from, p));
            if (instead.length > 0) out.push(instead);
            from = end;
          }
          this.#skipSegment(s);
          entryAt = end;
          this.#entryBegun = false;
          break;
        }
        case 0x5a: {
          // ReadyForQuery
          if (swallow) {
            if (p > from) out.push(b.subarray(from, p));
            from = end;
            swallow = false;
          }
          this.#finishEntry(s, b, p, end, out, from);
          from = this.#from;
          entryAt = end;
          p = end;
          if (s.ready(b[end - 1] ?? 0)) {
            // The transaction is over and nothing is owed: what follows in this chunk is not the client's.
            if (p > from) out.push(b.subarray(from, p));
            s.link.writeAll(out);
            s.free(p < length ? b.subarray(p) : null);
            return;
          }
          continue;
        }
        default:
          break;
      }
      if (swallow) {
        if (p > from) out.push(b.subarray(from, p));
        from = end;
      }
      if (done) {
        this.#finishEntry(s, b, p, end, out, from);
        from = this.#from;
        entryAt = end;
      }
      p = end;
    }
    if (p < length) this.#rest = b.subarray(p);
    this.#entryBegun = p > entryAt || (entryAt === 0 && this.#entryBegun);
    if (p > from) out.push(b.subarray(from, p));
    if (out.length > 0) s.link.writeAll(out);
  }

  #from = 0;

  /** The head entry is answered; forged replies that come next in line are put in place. */
  #finishEntry(s: Session, b: Buffer, _p: number, end: number, out: Buffer[], from: number): void {
    this.#entryBegun = false;
    this.#from = from;
    const { replies } = s;
    if (replies.empty) return;
    s.answered();
    for (;;) {
      const code = replies.head;
      const kind = code & KIND;
      if (kind === ENTRY.copyEnd) {
        replies.shift();
        continue;
      }
      if (kind !== ENTRY.localParse && kind !== ENTRY.localClose) return;
      if ((code & (SWALLOW | OWN)) === 0) {
        if (end > this.#from) out.push(b.subarray(this.#from, end));
        this.#from = end;
        out.push(s.forged(kind));
      }
      s.answered();
    }
  }

  /** @returns whether the entry is answered: an Execute is, a Query may have more statements. */
  #commandComplete(s: Session, b: Buffer, p: number): boolean {
    const [c0, c1, c2] = [b[p + 5], b[p + 6], b[p + 7]];
    // BEGIN, START TRANSACTION, SET, RESET, SAVEPOINT have no effect another backend could not have.
    const harmless =
      c0 === 0x42 ||
      (c0 === 0x53 && (c1 === 0x54 || c1 === 0x41 || (c1 === 0x45 && c2 === 0x54))) ||
      (c0 === 0x52 && c1 === 0x45 && c2 === 0x53);
    if (!harmless) s.committal = true;
    if (s.tentative.length > 0) s.rolledBack = c0 === 0x52 && c1 === 0x4f;
    if ((s.replies.head & KIND) !== ENTRY.execute) return false;
    const effects = s.replies.payload as readonly Effect[] | undefined;
    if (effects !== undefined) s.tentative.push(...effects);
    return true;
  }

  /** @returns null: forward as it is; 'replay'; or bytes to send instead (none for a FATAL error, which is told when the connection ends). */
  #error(s: Session, b: Buffer, p: number, end: number, mayReplay: () => boolean): Buffer | 'replay' | null {
    const fields = errorFields(b, p, end);
    if (fields.severity === 'FATAL' || fields.severity === 'PANIC') {
      s.serverFarewell = { code: fields.code, message: fields.message };
      return Buffer.alloc(0);
    }
    if (fields.code === STALE_EPOCH) {
      if (s.mayReplay() && mayReplay()) return 'replay';
      s.door.errors.count('40001');
      return errorResponse({
        severity: 'ERROR',
        code: '40001',
        message: 'the tenant moved to another cluster during this transaction',
        hint: 'Retry the transaction.',
      });
    }
    s.door.errors.count(fields.code);
    if (fields.code === '0A000' && s.lastBound !== null && /cached plan/.test(fields.message))
      s.planOutdated();
    return null;
  }

  /** After an error the server skips to the next Sync: what was sent before it is not answered. */
  #skipSegment(s: Session): void {
    const { replies } = s;
    s.tentative.length = 0;
    if ((replies.head & KIND) === ENTRY.query) {
      s.queryFailed = true;
      return;
    }
    if (replies.empty) return;
    s.copyIn = false;
    while (!replies.empty) {
      const kind = replies.head & KIND;
      if (kind === ENTRY.sync) return;
      if (kind === ENTRY.parse || kind === ENTRY.localParse)
        s.parseFailed(replies.payload as ParseNote | undefined);
      replies.shift();
    }
    s.skipping = true;
  }
}
