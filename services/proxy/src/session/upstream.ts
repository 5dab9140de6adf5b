/**
 * Client to server. Walks whole messages in place; untouched runs are forwarded as they are, in one write. Only messages that name
 * prepared statements (`prepared.ts`), or SQL that touches session state, are rewritten.
 */
import { query } from '../protocol/builders.ts';
import { FRONTEND } from '../protocol/message-types.ts';
import { scanSql } from '../protocol/sql-scan.ts';
import { ProtocolError, type SessionParts } from './parts.ts';
import { Prepared } from './prepared.ts';
import { ENTRY } from './replies.ts';
import { Splice } from './splice.ts';
import { type EffectsContext, judge, replacementOf } from './statement-effects.ts';
import { refusalSql } from './statement-messages.ts';

export class Upstream implements EffectsContext {
  readonly #parts: SessionParts;
  readonly #splice = new Splice();
  readonly #prepared: Prepared;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#prepared = new Prepared(parts, this.#splice, this);
  }

  hasStatement(name: string): boolean {
    return this.#parts.statements.get(name) !== undefined;
  }

  startupSetting(key: string): string | undefined {
    return this.#parts.state.settings.startupSetting(key);
  }

  /** Forwards `b`, which holds whole messages. @returns 'end' when the client has said good-bye. @throws ProtocolError */
  forward(b: Buffer): 'end' | 'more' {
    const { account } = this.#parts;
    const prepared = this.#prepared;
    const splice = this.#splice;
    const length = b.length;
    splice.begin(b);
    let segment = 0;
    let p = 0;
    while (p < length) {
      const type = b[p] ?? 0;
      const e = p + 1 + b.readUInt32BE(p + 1);
      if (account.skipping && type !== FRONTEND.sync && type !== FRONTEND.terminate) {
        splice.drop(p, e);
        p = e;
        continue;
      }
      switch (type) {
        case FRONTEND.query:
          this.#query(b, p, e);
          account.journal.push(segment === 0 && e === length ? b : b.subarray(segment, e), true);
          segment = e;
          break;
        case FRONTEND.sync:
          account.skipping = false;
          account.segmentOpen = false;
          if (!account.copyIn) account.owe(ENTRY.sync);
          account.journal.push(segment === 0 && e === length ? b : b.subarray(segment, e), true);
          segment = e;
          break;
        case FRONTEND.parse:
          account.segmentOpen = true;
          prepared.parse(b, p, e);
          break;
        case FRONTEND.bind:
          account.segmentOpen = true;
          prepared.bind(b, p, e);
          break;
        case FRONTEND.describe:
          account.segmentOpen = true;
          prepared.describe(b, p, e);
          break;
        case FRONTEND.close:
          account.segmentOpen = true;
          prepared.close(b, p, e);
          break;
        case FRONTEND.execute:
          account.segmentOpen = true;
          account.owe(ENTRY.execute, prepared.nextEffects);
          prepared.nextEffects = undefined;
          break;
        case FRONTEND.flush:
          break;
        case FRONTEND.copyData:
          account.journal.break();
          break;
        case FRONTEND.copyDone:
        case FRONTEND.copyFail:
          if (account.copyIn) account.copyIn = false;
          else if (!account.replies.empty) account.owe(ENTRY.copyEnd);
          break;
        case FRONTEND.functionCall:
          splice.put(p, e, query(refusalSql('0A000', NO_FUNCTION_CALL)));
          account.segmentOpen = false;
          account.owe(ENTRY.query);
          break;
        case FRONTEND.terminate:
          this.#send(splice.finish(p));
          return 'end';
        default:
          throw new ProtocolError(`invalid frontend message type ${type}`);
      }
      p = e;
    }
    if (segment < length) account.journal.push(segment === 0 ? b : b.subarray(segment), false);
    this.#send(splice.finish(length));
    return 'more';
  }

  #query(b: Buffer, p: number, e: number): void {
    const { account, statements, state, checkout } = this.#parts;
    const flags = scanSql(b, p + 5, e - 1);
    const verdict = flags === 0 ? null : judge(b.subarray(p + 5, Math.max(p + 5, e - 1)), flags, this);
    if (verdict !== null) {
      const sql = replacementOf(verdict);
      if (sql !== undefined) this.#splice.put(p, e, query(sql));
      state.note(verdict, checkout.backend);
    }
    statements.unnamed = null;
    account.segmentOpen = false;
    account.owe(ENTRY.query, verdict !== null && verdict.effects.length > 0 ? verdict.effects : undefined);
  }

  #send(bytes: Buffer | null): void {
    if (bytes === null) return;
    if (this.#parts.checkout.backend?.send(bytes) === false) this.#parts.link.pause();
  }
}

const NO_FUNCTION_CALL = 'function calls by message are not supported through the front door';
