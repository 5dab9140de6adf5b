/**
 * Parse, Bind, Describe and Close of a client: its names become the server's, and what its backend has not been told yet is
 * prepared there first, unseen by the client.
 */
import type { Backend } from '../pool/backend.ts';
import { cstringEnd } from '../protocol/assembler.ts';
import { CLOSE_COMPLETE, closeStatement, PARSE_COMPLETE } from '../protocol/builders.ts';
import { scanSql } from '../protocol/sql-scan.ts';
import type { ParseNote } from './client-statements.ts';
import { ProtocolError, type SessionParts } from './parts.ts';
import { ENTRY } from './replies.ts';
import type { Splice } from './splice.ts';
import { type Effect, type EffectsContext, judge, replacementOf, type Verdict } from './statement-effects.ts';
import { bindHead, describeStatement, parseWithText } from './statement-messages.ts';
import type { Statement } from './statements.ts';

const STATEMENT = 0x53;

export class Prepared {
  /** What the statement bound last does to the session, for its Execute. */
  nextEffects: readonly Effect[] | undefined;
  readonly #parts: SessionParts;
  readonly #splice: Splice;
  readonly #context: EffectsContext;

  constructor(parts: SessionParts, splice: Splice, context: EffectsContext) {
    this.#parts = parts;
    this.#splice = splice;
    this.#context = context;
  }

  get #backend(): Backend | null {
    return this.#parts.checkout.backend;
  }

  /** The Parse in `b[p, e)`. @throws ProtocolError */
  parse(b: Buffer, p: number, e: number): void {
    const nameEnd = cstringEnd(b, p + 5, e);
    const textEnd = nameEnd === -1 ? -1 : cstringEnd(b, nameEnd + 1, e);
    if (textEnd === -1) throw new ProtocolError('invalid Parse message');
    const flags = scanSql(b, nameEnd + 1, textEnd);
    const verdict = flags === 0 ? null : judge(b.subarray(nameEnd + 1, textEnd), flags, this.#context);
    const sql = verdict === null ? undefined : replacementOf(verdict);
    const other = sql === undefined ? null : parseWithText(b, textEnd, e, sql);
    if (nameEnd === p + 5) {
      this.#parseUnnamed(b, p, e, verdict, other);
      return;
    }
    const name = b.toString('utf8', p + 5, nameEnd);
    const { account, statements } = this.#parts;
    const existing = statements.get(name);
    if (existing?.confirmed === true && !account.replaying) {
      // The name is taken: PostgreSQL itself says so (42P05) when it is asked for the same name again.
      this.#ensureNamed(existing.statement, p);
      this.#splice.put(p, e, existing.statement.parse);
      account.owe(ENTRY.parse);
      return;
    }
    const body = other === null ? b.subarray(nameEnd + 1, e) : other.subarray(6);
    const length = sql === undefined ? textEnd - nameEnd - 1 : Buffer.byteLength(sql);
    this.#parseNamed(p, e, name, statements.define(name, body, length, verdict));
  }

  #parseUnnamed(b: Buffer, p: number, e: number, verdict: Verdict | null, other: Buffer | null): void {
    const { account, statements } = this.#parts;
    if (other !== null) this.#splice.put(p, e, other);
    statements.unnamed = { message: other ?? b.subarray(p, e), verdict, owned: other !== null };
    if (this.#backend !== null) this.#backend.unnamed = statements.unnamed;
    account.owe(ENTRY.parse, { name: '', statement: null, onBackend: false } satisfies ParseNote);
  }

  #parseNamed(p: number, e: number, name: string, statement: Statement): void {
    const { account, statements, link } = this.#parts;
    const known = this.#backend?.prepared.has(statement) === true;
    const note: ParseNote = { name, statement, onBackend: !known };
    if (!known) {
      this.#makeRoom(statement, p);
      this.#splice.put(p, e, statement.parse);
      account.owe(ENTRY.parse, note);
      return;
    }
    this.#splice.drop(p, e);
    if (!account.replies.empty) account.owe(ENTRY.localParse, note);
    else {
      statements.confirm(note);
      if (account.answerNow()) link.write(PARSE_COMPLETE);
    }
  }

  /** The Bind in `b[p, e)`. @throws ProtocolError */
  bind(b: Buffer, p: number, e: number): void {
    const portalEnd = cstringEnd(b, p + 5, e);
    const nameEnd = portalEnd === -1 ? -1 : cstringEnd(b, portalEnd + 1, e);
    if (nameEnd === -1) throw new ProtocolError('invalid Bind message');
    const { account, statements, state } = this.#parts;
    if (nameEnd === portalEnd + 1) this.#useUnnamed(p, statements.unnamed?.verdict ?? null);
    else {
      const named = statements.get(b.toString('utf8', portalEnd + 1, nameEnd));
      if (named !== undefined) {
        const { statement, verdict } = named;
        this.#ensureNamed(statement, p);
        if (verdict !== null) state.note(verdict, this.#backend);
        this.nextEffects = verdict?.effects;
        statements.lastBound = statement;
        this.#splice.put(p, nameEnd + 1, bindHead(b, p, e, { portalEnd, nameEnd }, statement.serverName));
      }
    }
    account.owe(ENTRY.bind);
  }

  /** The Describe in `b[p, e)`. @throws ProtocolError */
  describe(b: Buffer, p: number, e: number): void {
    const nameEnd = nameEndOf(b, p, e);
    if (b[p + 5] === STATEMENT) {
      if (nameEnd === p + 6) this.#useUnnamed(p, null);
      else {
        const named = this.#parts.statements.get(b.toString('utf8', p + 6, nameEnd));
        if (named !== undefined) {
          this.#ensureNamed(named.statement, p);
          this.#splice.put(p, e, describeStatement(named.statement.serverName));
        }
      }
    }
    this.#parts.account.owe(ENTRY.describe);
  }

  /** The Close in `b[p, e)`. @throws ProtocolError */
  close(b: Buffer, p: number, e: number): void {
    const nameEnd = nameEndOf(b, p, e);
    const { account, statements, link } = this.#parts;
    const isStatement = b[p + 5] === STATEMENT;
    if (isStatement && nameEnd > p + 6 && statements.forget(b.toString('utf8', p + 6, nameEnd))) {
      this.#splice.drop(p, e);
      if (!account.replies.empty) account.owe(ENTRY.localClose);
      else if (account.answerNow()) link.write(CLOSE_COMPLETE);
      return;
    }
    if (isStatement && nameEnd === p + 6) statements.unnamed = null;
    account.owe(ENTRY.close);
  }

  /** Room for one more statement on the backend, and a stale one of the same name out of the way. */
  #makeRoom(statement: Statement, p: number): void {
    const backend = this.#backend;
    if (backend === null) return;
    const evicted = backend.prepared.add(statement);
    if (evicted !== undefined) this.#closeOnBackend(evicted, p);
    if (backend.stale.delete(statement)) this.#closeOnBackend(statement, p);
  }

  #closeOnBackend(statement: Statement, p: number): void {
    this.#splice.put(p, p, closeStatement(statement.serverName));
    this.#parts.account.oweOwn(ENTRY.close);
  }

  #ensureNamed(statement: Statement, p: number): void {
    if (this.#backend === null || this.#backend.prepared.has(statement)) return;
    this.#makeRoom(statement, p);
    this.#splice.put(p, p, statement.parse);
    const note: ParseNote = { name: null, statement, onBackend: true };
    this.#parts.account.oweOwn(ENTRY.parse, note);
  }

  #useUnnamed(p: number, verdict: Verdict | null): void {
    const { account, statements, state } = this.#parts;
    const backend = this.#backend;
    const { unnamed } = statements;
    if (verdict !== null) state.note(verdict, backend);
    this.nextEffects = verdict?.effects;
    statements.lastBound = null;
    if (backend === null || unnamed === null || backend.unnamed === unnamed) return;
    this.#splice.put(p, p, unnamed.message);
    backend.unnamed = unnamed;
    account.oweOwn(ENTRY.parse, { name: '', statement: null, onBackend: false } satisfies ParseNote);
  }
}

function nameEndOf(b: Buffer, p: number, e: number): number {
  const nameEnd = cstringEnd(b, p + 6, e);
  if (nameEnd === -1) throw new ProtocolError('invalid Describe or Close message');
  return nameEnd;
}
