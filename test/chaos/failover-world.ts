/**
 * Two clusters, a bus, and the services themselves; without the control plane, whose part (writing what is asked for into the placement) the
 * test takes. Its tenants have applications, which come in through the proxy.
 */
import type { Placement } from '@drover/catalog';
import { type ConfigParts, deriveContextKey } from '@drover/config';
import { type TenantId, tenantId, tenantToken, until } from '@drover/core';
import { scramVerifier, signContext } from '@drover/pg';
import { newTenant, type TestNatsOptions, testPort } from '@drover/testkit';
import pg from 'pg';
import type { Service } from '../lib/services.ts';
import {
  DATABASE,
  EAST,
  merged,
  NAMES,
  type Name,
  type Sections,
  startClusters,
  TwoClusters,
  WEST,
} from '../lib/two-clusters.ts';

export { EAST, type Name, type Service, WEST };

const PASSWORD = 'secret-of-app';

export interface FailoverSettings {
  readonly nats?: TestNatsOptions;
  readonly postgres?: Readonly<Record<string, string>>;
  readonly transform?: ConfigParts['transform'];
  /** Behind `sql`, at west alone. */
  readonly west?: string;
}

export class FailoverWorld extends TwoClusters {
  /** `sql` makes the tables, in column mode: `tenant`. */
  static async start(
    sql: string,
    sections: Sections,
    settings: FailoverSettings = {},
  ): Promise<FailoverWorld> {
    // So that transactions of a few megabytes are large ones, which leave while they are in progress.
    const cdc = { stream_above_bytes: '2MiB' };
    const proxy = { port: await testPort(), tls: 'off' };
    const postgres = settings.postgres === undefined ? {} : { settings: settings.postgres };
    return new FailoverWorld(
      await startClusters({
        postgres: { east: postgres, west: postgres },
        ...(settings.nats === undefined ? {} : { nats: settings.nats }),
        sections: merged({ cdc, proxy }, sections),
        transform: settings.transform ?? [],
        makeDatabase: async (server, name) => {
          const root = await server.connect();
          await root.query(`CREATE DATABASE ${DATABASE}`);
          await root.end();
          const client = await server.connect(DATABASE);
          await client.query(name === 'west' ? `${sql};${settings.west ?? ''}` : sql);
          await client.end();
        },
      }),
    );
  }

  /** Whatever it may fail of: its cluster may be dead. */
  override end(service: Service): Promise<void> {
    return super.end(service).catch(() => undefined);
  }

  /** SIGKILL of the cluster's server. */
  async kill(name: Name): Promise<void> {
    this.servers[name].server.kill9();
    await this.servers[name].server.exited;
  }

  /** A tenant served by east, with a replica at west. */
  async tenant(name: string): Promise<TenantId> {
    const tenant = tenantId(name);
    await this.query('east', 'SELECT drover.open_tenant($1, 1)', [tenant]);
    await this.query('west', `SELECT drover.follow_tenant($1, 1, 'east', 'live', NULL, NULL, NULL)`, [
      tenant,
    ]);
    const users = { app: { verifier: scramVerifier(PASSWORD) } };
    await this.catalog.createTenant(...newTenant(tenant, { west: 'live', tenant: { users } }));
    return tenant;
  }

  async placement(tenant: TenantId): Promise<Placement> {
    const found = await this.catalog.getPlacement(tenant);
    if (found === null) throw new Error(`no placement of ${tenant}`);
    return found.value;
  }

  /** As the superuser. */
  async query<R extends pg.QueryResultRow>(name: Name, sql: string, params: unknown[] = []): Promise<R[]> {
    const client = await this.servers[name].connect(DATABASE);
    try {
      return (await client.query<R>(sql, params)).rows;
    } finally {
      await client.end();
    }
  }

  /** A session of the tenant, as the proxy makes it, past the proxy. */
  async session(name: Name, tenant: TenantId, under: number): Promise<pg.Client> {
    const client = await this.servers[name].connect(DATABASE, 'drover_tenant');
    const { n } = (await client.query('SELECT drover.attach() AS n')).rows[0] as { n: string };
    await client.query(`SELECT set_config('drover.context', $1, false)`, [
      signContext(deriveContextKey(this.config.security.secret), tenantToken(tenant), under, n),
    ]);
    return client;
  }

  /** A client of the tenant's application, through the proxy. */
  async client(tenant: TenantId): Promise<pg.Client> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: this.config.proxy.port,
      database: DATABASE,
      user: `${tenant}.app`,
      password: PASSWORD,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Clusters that accept a write of the tenant under the epoch they know. */
  async writable(tenant: TenantId): Promise<Name[]> {
    const out: Name[] = [];
    for (const name of NAMES) {
      const [row] = await this.query<{ epoch: number }>(
        name,
        'SELECT epoch::int AS epoch FROM drover.tenant WHERE tenant = $1',
        [tenant],
      );
      if (row === undefined) continue;
      const session = await this.session(name, tenant, row.epoch);
      try {
        await session.query('BEGIN');
        await session.query('INSERT INTO notes VALUES ($1, -1)', [tenant]);
        out.push(name);
      } catch (error) {
        if ((error as { code?: string }).code !== 'DR001') throw error;
      } finally {
        await session.end();
      }
    }
    return out;
  }

  async waitFor<T>(
    what: string,
    probe: () => Promise<T | undefined | false>,
    timeoutMs = 120_000,
  ): Promise<T> {
    return until(async () => (await probe()) || undefined, {
      everyMs: 50,
      timeoutMs,
      onTimeout: () => new Error(`not within ${timeoutMs} ms: ${what}`),
    });
  }
}
