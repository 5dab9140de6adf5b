/**
 * A pool whose every use ends in time. A cluster that is cut off does not refuse: it is silent, and TCP believes in it for minutes. The
 * controller must notice, tell, and go on with the other tenants meanwhile.
 */
import { DroverError } from '@drover/core';
import type { PgPool, Queryable } from '@drover/pg';

/** Longest silence of a cluster that is asked something small. */
const PATIENCE_MS = 5000;

/** A crash must not take back what the next step on record builds on, even where the cluster's default is `off`. */
const BEGIN_DURABLE = `BEGIN; SELECT pg_catalog.set_config('synchronous_commit', 'on', true)
  WHERE pg_catalog.current_setting('synchronous_commit') = 'off'`;

type Client = Parameters<Parameters<PgPool['transaction']>[0]>[0];

export class BoundedPool implements Queryable {
  readonly #pool: PgPool;
  readonly #patienceMs: number;

  constructor(pool: PgPool, patienceMs = PATIENCE_MS) {
    this.#pool = pool;
    this.#patienceMs = patienceMs;
  }

  /** @throws DroverError `pg.unreachable` when there is no answer in time; what was asked may still take effect */
  readonly query: Queryable['query'] = (text, params) =>
    this.#within(this.#pool.query(text, params), this.#patienceMs);

  /** One transaction, durable when it resolves; `waitMs` on top for the locks it waits for. @throws as {@link query} */
  transaction<T>(fn: (client: Client) => Promise<T>, waitMs = 0): Promise<T> {
    return this.#within(this.#pool.transaction(fn, BEGIN_DURABLE), this.#patienceMs + waitMs);
  }

  /** Reads in one snapshot. @throws as {@link query} */
  snapshot<T>(fn: (client: Client) => Promise<T>): Promise<T> {
    const begin = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY';
    return this.#within(this.#pool.transaction(fn, begin), this.#patienceMs);
  }

  async #within<T>(work: Promise<T>, ms: number): Promise<T> {
    const late = Promise.withResolvers<never>();
    const { host, port } = this.#pool.options;
    const timer = setTimeout(
      () => late.reject(new DroverError('pg.unreachable', `${host}:${port} did not answer within ${ms} ms`)),
      ms,
    );
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
