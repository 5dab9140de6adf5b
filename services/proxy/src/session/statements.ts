/**
 * Prepared statements shared by all clients: each distinct text with its parameter types has one server-side name, known to every
 * backend that has been told. A client's own names are a map of its session. Bounded; names are never used twice.
 */
import { randomBytes } from 'node:crypto';
import { scanSql } from '../protocol/sql-scan.ts';

export interface Statement {
  readonly serverName: string;
  /** The whole Parse message with the server-side name. */
  readonly parse: Buffer;
  /** FLAG bits of its text. */
  readonly flags: number;
  /** Clients' names that point here. */
  users: number;
}

/**
 * A name nobody can guess: a tenant's SQL could EXECUTE or EXPLAIN what another tenant has left on a shared backend, and the constants in
 * a statement's text are the other's (I6).
 */
export function secretStatementName(): string {
  return `_drover_${randomBytes(12).toString('base64url')}`;
}

/** Statements kept although no client names them any more. */
const UNUSED_MAX = 5000;

export class StatementRegistry {
  readonly #byKey = new Map<string, Statement>();
  readonly #keys = new Map<Statement, string>();
  readonly #unused = new Set<Statement>();

  get size(): number {
    return this.#byKey.size;
  }

  /** @param body what follows the name in a Parse message: query, types. The text behind `textEnd` (its NUL) is not SQL. */
  intern(body: Buffer, textEnd: number): Statement {
    const key = body.toString('latin1');
    let found = this.#byKey.get(key);
    if (found === undefined) {
      const serverName = secretStatementName();
      const parse = Buffer.allocUnsafe(5 + serverName.length + 1 + body.length);
      parse[0] = 0x50;
      parse.writeUInt32BE(parse.length - 1, 1);
      parse.write(serverName, 5, 'latin1');
      parse[5 + serverName.length] = 0;
      body.copy(parse, 5 + serverName.length + 1);
      found = { serverName, parse, flags: scanSql(body, 0, textEnd), users: 0 };
      this.#byKey.set(key, found);
      this.#keys.set(found, key);
    }
    this.#unused.delete(found);
    found.users++;
    return found;
  }

  release(statement: Statement): void {
    statement.users--;
    if (statement.users > 0 || !this.#keys.has(statement)) return;
    this.#unused.add(statement);
    if (this.#unused.size <= UNUSED_MAX) return;
    const [oldest] = this.#unused;
    if (oldest !== undefined) this.forget(oldest);
  }

  /** The next Parse of this text gets a new name: after DDL, PostgreSQL refuses to run the old plan for ever (0A000). */
  forget(statement: Statement): void {
    const key = this.#keys.get(statement);
    if (key !== undefined && this.#byKey.get(key) === statement) this.#byKey.delete(key);
    this.#keys.delete(statement);
    this.#unused.delete(statement);
  }
}

/** Statements a backend has been told of, oldest use first. */
export class PreparedSet {
  readonly #known = new Set<Statement>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  has(statement: Statement): boolean {
    return this.#known.has(statement);
  }

  delete(statement: Statement): void {
    this.#known.delete(statement);
  }

  /** @returns the statement that must be closed on the server to stay within the bound, if any. */
  add(statement: Statement): Statement | undefined {
    this.#known.add(statement);
    if (this.#known.size <= this.#max) return undefined;
    const [oldest] = this.#known;
    if (oldest === undefined || oldest === statement) return undefined;
    this.#known.delete(oldest);
    return oldest;
  }
}
