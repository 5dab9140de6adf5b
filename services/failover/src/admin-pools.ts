/** Connections to every cluster as `drover_admin`, made when first needed, none of which is waited for without end. */
import { type Config, roleConnection } from '@drover/config';
import { type Closeable, type ClusterId, must, sleep } from '@drover/core';
import { PgPool } from '@drover/pg';
import { BoundedPool } from './moves/bounded-pool.ts';
import type { Clusters } from './moves/steps.ts';

const CONNECT_TIMEOUT_MS = 2000;
/** What connections get to end when the service does. */
const CLOSE_MS = 500;

export class AdminPools implements Clusters, Closeable {
  readonly #config: Config;
  readonly #pools = new Map<string, { bounded: BoundedPool; pool: PgPool }>();

  constructor(config: Config) {
    this.#config = config;
  }

  pool(cluster: ClusterId, database: string): BoundedPool {
    const key = `${cluster}/${database}`;
    let found = this.#pools.get(key);
    if (found === undefined) {
      const target = must(
        this.#config.clusters.find((c) => c.name === cluster),
        `cluster ${cluster} in the configuration`,
      );
      const pool = new PgPool({
        ...roleConnection(target, 'drover_admin', this.#config.security.secret, database),
        applicationName: 'drover failover',
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        max: 8,
      });
      found = { pool, bounded: new BoundedPool(pool) };
      this.#pools.set(key, found);
    }
    return found.bounded;
  }

  async close(): Promise<void> {
    // A client that waits for a silent cluster is not waited for.
    const ended = Promise.all([...this.#pools.values()].map(({ pool }) => pool.close()));
    const enough = new AbortController();
    await Promise.race([ended, sleep(CLOSE_MS, enough.signal)]);
    enough.abort();
  }
}
