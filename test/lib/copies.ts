/** Copies from east to west that the test carries out itself, in its own process, so that it can stop them anywhere. */
import { roleConnection } from '@drover/config';
import type { ClusterId, TenantId } from '@drover/core';
import { PgPool } from '@drover/pg';
import { createLogger } from '@drover/telemetry';
import { type CopyContext, copyTenant } from '../../services/migration/src/copy/copy-tenant.ts';
import { type Clusters, WEST } from './two-clusters.ts';

export class Copies {
  readonly #world: Pick<Clusters, 'bus' | 'catalog' | 'config'>;
  readonly #pools = new Map<string, PgPool>();

  constructor(world: Pick<Clusters, 'bus' | 'catalog' | 'config'>) {
    this.#world = world;
  }

  copy(tenant: TenantId, more: Partial<CopyContext> = {}): Promise<void> {
    const { bus, catalog, config } = this.#world;
    const poolOf = (role: 'drover_admin' | 'drover_apply') => (cluster: ClusterId, database: string) =>
      this.#pool(role, cluster, database);
    const context: CopyContext = {
      bus,
      catalog,
      log: createLogger({ service: 'test', level: 'error' }),
      tagging: config.tagging,
      partitions: config.nats.partitions,
      chunkRows: config.migration.chunkRows,
      admin: poolOf('drover_admin'),
      apply: poolOf('drover_apply'),
      signal: new AbortController().signal,
      onRows: () => undefined,
      ...more,
    };
    return copyTenant(context, tenant, WEST, 0);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.close()));
  }

  #pool(role: 'drover_admin' | 'drover_apply', cluster: ClusterId, database: string): PgPool {
    const key = `${role}/${cluster}`;
    const found = this.#pools.get(key);
    if (found !== undefined) return found;
    const { clusters, security } = this.#world.config;
    const entry = clusters.find((c) => c.name === cluster);
    if (entry === undefined) throw new Error(`no cluster ${cluster}`);
    const pool = new PgPool({ ...roleConnection(entry, role, security.secret, database), max: 4 });
    this.#pools.set(key, pool);
    return pool;
  }
}
