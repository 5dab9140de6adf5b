/** One pool per (cluster, database, role), made when first needed. */
import type { Placement } from '@drover/catalog';
import { type Config, roleConnection } from '@drover/config';
import { type TenantId, tenantToken } from '@drover/core';
import { quoteIdent, ROLES } from '@drover/pg';
import { Pool } from '../pool/pool.ts';
import type { TenantRecord } from './tenant-book.ts';

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

  /** The pool that serves the tenant where it is placed, and SQL that goes in front of the client's settings. */
  of(record: TenantRecord, placement: Placement): { pool: Pool; settings: string } | undefined {
    const cluster = this.#config.clusters.find((c) => c.name === placement.primary);
    if (cluster === undefined) return undefined;
    const schema = record.isolation === 'schema';
    const role = schema ? `drover_t_${tenantToken(record.tenant as TenantId)}` : ROLES.tenant;
    const name = `${cluster.name}/${placement.database}/${role}`;
    let pool = this.#pools.get(name);
    if (pool === undefined) {
      pool = new Pool({
        name,
        target: roleConnection(cluster, role, this.#config.security.secret, placement.database),
        max: this.#config.proxy.poolSize,
        log: this.#log,
      });
      this.#pools.set(name, pool);
    }
    const home = this.#config.tagging.schemaPrefix + record.tenant;
    return { pool, settings: schema ? `SET search_path TO ${quoteIdent(home)}` : '' };
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
  }
}
