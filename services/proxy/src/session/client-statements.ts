/**
 * The prepared statements of one client: its own names for statements that all clients share, and its unnamed one, which lives
 * until its next Parse or simple query, on whatever backend.
 */
import type { Backend } from '../pool/backend.ts';
import type { Verdict } from './statement-effects.ts';
import type { Statement, StatementRegistry } from './statements.ts';

export interface Named {
  readonly statement: Statement;
  readonly verdict: Verdict | null;
  /** The server (or the proxy in its place) has said ParseComplete. */
  confirmed: boolean;
}

export interface Unnamed {
  /** The Parse message. */
  message: Buffer;
  readonly verdict: Verdict | null;
  /** Whether {@link message} is a copy of its own and not a piece of a read buffer. */
  owned: boolean;
}

/** Goes with a Parse that was sent: what to do when it is answered, refused or skipped. */
export interface ParseNote {
  /** null: the proxy's own Parse; '': the unnamed statement. */
  readonly name: string | null;
  readonly statement: Statement | null;
  readonly onBackend: boolean;
}

export class ClientStatements {
  readonly #registry: StatementRegistry;
  readonly #named = new Map<string, Named>();
  unnamed: Unnamed | null = null;
  /** The named statement that was bound last; null: the unnamed was. */
  lastBound: Statement | null = null;

  constructor(registry: StatementRegistry) {
    this.#registry = registry;
  }

  get(name: string): Named | undefined {
    return this.#named.get(name);
  }

  /** @param body of the Parse message behind the name; its text ends at `textEnd`. */
  define(name: string, body: Buffer, textEnd: number, verdict: Verdict | null): Statement {
    const statement = this.#registry.intern(body, textEnd);
    this.forget(name);
    this.#named.set(name, { statement, verdict, confirmed: false });
    return statement;
  }

  /** @returns whether there was one. */
  forget(name: string): boolean {
    const found = this.#named.get(name);
    if (found === undefined) return false;
    this.#named.delete(name);
    this.#registry.release(found.statement);
    return true;
  }

  forgetAll(): void {
    for (const { statement } of this.#named.values()) this.#registry.release(statement);
    this.#named.clear();
    this.unnamed = null;
  }

  confirm(note: ParseNote | undefined): void {
    const named = note?.statement == null || note.name === null ? undefined : this.#named.get(note.name);
    if (named !== undefined && named.statement === note?.statement) named.confirmed = true;
  }

  /** The Parse was refused, or skipped after an error. */
  failed(note: ParseNote | undefined, backend: Backend | null): void {
    if (note === undefined) return;
    const { statement, name } = note;
    if (statement === null) {
      this.unnamed = null;
      if (backend !== null) backend.unnamed = null;
      return;
    }
    if (note.onBackend) backend?.prepared.delete(statement);
    if (name !== null && this.#named.get(name)?.statement === statement) this.forget(name);
  }

  /** DDL changed a result type: PostgreSQL refuses the old plan for ever; the next use prepares it anew. */
  planOutdated(backend: Backend | null): void {
    const { lastBound } = this;
    if (backend === null || lastBound === null) return;
    backend.prepared.delete(lastBound);
    backend.stale.add(lastBound);
  }

  /** The read buffer the unnamed statement stands in is let go. */
  keepUnnamed(): void {
    const { unnamed } = this;
    if (unnamed === null || unnamed.owned) return;
    unnamed.message = Buffer.from(unnamed.message);
    unnamed.owned = true;
  }
}
