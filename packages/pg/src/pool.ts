/**
 * A bounded pool of ordinary connections. Guarantees: a client comes back clean or is thrown away (never with an
 * open transaction), waiting for a client is bounded, and lost connections surface as `pg.unreachable`.
 */
import { type Closeable, DroverError } from '@drover/core';
import pg from 'pg';
import {
  type ConnectOptions,
  clientConfig,
  connectError,
  type Queryable,
  statementError,
} from './connect.ts';

export interface PoolOptions extends ConnectOptions {
  /** Connections at most; default 4. */
  readonly max?: number;
  /** An unused connection is closed after this; default 30 s. */
  readonly idleTimeoutMs?: number;
}

export class PgPool implements Queryable, Closeable {
  readonly options: PoolOptions;
  readonly #pool: pg.Pool;
  #closing: Promise<void> | undefined;

  constructor(options: PoolOptions) {
    this.options = options;
    this.#pool = new pg.Pool({
      ...clientConfig(options),
      max: options.max ?? 4,
      idleTimeoutMillis: options.idleTimeoutMs ?? 30_000,
    });
    // An idle connection was lost: the pool has removed it already.
    this.#pool.on('error', () => {});
    // The server's last words may come after the client was thrown away; nobody listening would end the process.
    this.#pool.on('connect', (client) => client.on('error', () => {}));
  }

  query<R extends pg.QueryResultRow = Record<string, unknown>>(
    text: string,
    params: unknown[] = [],
  ): Promise<pg.QueryResult<R>> {
    return this.withClient((client) => client.query<R>(text, params));
  }

  /** Runs `fn` on one connection, which must not be used after it. */
  async withClient<T>(fn: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#checkout();
    let failure: unknown;
    const onError = (error: Error) => {
      failure = error;
    };
    client.on('error', onError);
    try {
      return await fn(client);
    } catch (error) {
      const mapped = statementError(error, this.options);
      if (mapped !== error) failure = mapped;
      throw mapped;
    } finally {
      client.removeListener('error', onError);
      client.release(failure !== undefined || client.getTransactionStatus() !== 'I');
    }
  }

  /**
   * Runs `fn` between BEGIN and COMMIT, or ROLLBACK when it throws. `begin` may name an isolation level.
   * @throws DroverError `pg.unreachable` also when the connection broke during COMMIT: whether it committed is then unknown.
   */
  transaction<T>(fn: (client: pg.PoolClient) => Promise<T>, begin = 'BEGIN'): Promise<T> {
    return this.withClient(async (client) => {
      await client.query(begin);
      let result: T;
      try {
        result = await fn(client);
      } catch (error) {
        // When ROLLBACK fails too, the connection is bad: release() sees its status and throws it away.
        await client.query('ROLLBACK').catch(() => {});
        throw error;
      }
      const end = await client.query('COMMIT');
      // COMMIT of a failed transaction answers ROLLBACK, without an error (manual, COMMIT).
      if (end.command !== 'COMMIT') {
        throw new DroverError(
          'internal.assertion',
          'a failed transaction was committed; a statement error was swallowed',
        );
      }
      return result;
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#pool.end();
    return this.#closing;
  }

  async #checkout(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw connectError(error, this.options);
    }
  }
}
