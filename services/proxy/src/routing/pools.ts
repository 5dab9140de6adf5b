/**
 * One pool per cluster and database, made when first needed. All tenants of a database share it, whatever keeps them apart: their rows or
 * schemas by the policies that read the signed context, their databases by having pools of their own.
 */
import type { Placement } from '@drover/catalog';
import { type Config, roleConnection } from '@drover/config';
import { ROLES } from '@drover/pg';
import { Pool } from '../pool/pool.ts';

export class Pools {
  readonly #config: Config;
  readonly #log: (message: string, fields: Record<string, unknown>) => void;
  readonly #pools = new Map<string, Pool>();

  constructor(config: Config, log: (message: string, fields: Record<string, unknown>) => void) {
    this.#config = config;
    this.#log = log;
  }

  all(): IterableIterator<Pool> {
    return this.#pools.values();
  }

  /** The pool that serves the placement; undefined when its cluster is not in the configuration. */
  of(placement: Placement): Pool | undefined {
    const cluster = this.#config.clusters.find((c) => c.name === placement.primary);
    if (cluster === undefined) return undefined;
    const name = `${cluster.name}/${placement.database}`;
    let pool = this.#pools.get(name);
    if (pool === undefined) {
      pool = new Pool({
        name,
        target: roleConnection(cluster, ROLES.tenant, this.#config.security.secret, placement.database),
        max: this.#config.proxy.poolSize,
        log: this.#log,
      });
      this.#pools.set(name, pool);
    }
    return pool;
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
  }
}
