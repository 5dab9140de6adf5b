/** For tests of this package: a database set up as `drover setup` would, with the sessions that the roles open. */

import { clusterId, tenantId, tenantToken, epoch as toEpoch } from '@drover/core';
import { type TestPostgres, testPassword } from '@drover/testkit';
import type pg from 'pg';
import { connectPg } from '../connect.ts';
import { type DroverRole, ROLE_NAMES } from '../schema/roles.ts';
import { signContext } from '../schema/sign-context.ts';
import type { Tagging } from '../tagging.ts';
import type { RolePasswords } from './roles.ts';
import { type SetupOptions, setupCluster } from './setup-cluster.ts';

export const CONTEXT_KEY = Buffer.alloc(32, 7);

export const PASSWORDS = Object.fromEntries(ROLE_NAMES.map((role) => [role, testPassword(role)])) as Record<
  DroverRole,
  string
> satisfies RolePasswords;

export const columnTagging = (column: string, more: Partial<Tagging> = {}): Tagging => ({
  mode: 'column',
  column,
  overrides: {},
  reference: [],
  exclude: [],
  schemaPrefix: 'tenant_',
  databasePrefix: 'tenant_',
  ...more,
});

export interface Fixture {
  readonly server: TestPostgres;
  readonly database: string;
  /** Superuser. */
  readonly root: pg.Client;
  readonly admin: pg.Client;
  connect(user: string): Promise<pg.Client>;
  /** An attached session of drover_tenant; without a tenant it has no context. */
  tenant(name?: string, epoch?: number): Promise<TenantSession>;
  setup(more?: Partial<SetupOptions>): ReturnType<typeof setupCluster>;
  close(): Promise<void>;
}

export interface TenantSession {
  readonly client: pg.Client;
  readonly number: string;
  become(name: string, epoch: number): Promise<void>;
}

/** `sql` creates the tables, then the database is set up. */
export async function fixture(
  server: TestPostgres,
  options: { sql?: string; tagging?: Tagging; setup?: boolean } = {},
): Promise<Fixture> {
  const database = await server.createDatabase('drv');
  const open: pg.Client[] = [];
  const connect = async (user: string): Promise<pg.Client> => {
    const client = await connectPg(server.connection(database, user));
    open.push(client);
    return client;
  };
  const root = await connect('postgres');
  if (options.sql !== undefined) await root.query(options.sql);
  const setup = (more: Partial<SetupOptions> = {}) =>
    setupCluster({
      cluster: clusterId('east'),
      databases: [database],
      connect: (name) => connectPg(server.connection(name, 'postgres')),
      passwords: PASSWORDS,
      contextKey: CONTEXT_KEY,
      tagging: options.tagging ?? columnTagging('tenant'),
      origins: [],
      ...more,
    });
  if (options.setup !== false) await setup();
  const admin = options.setup === false ? root : await connect('drover_admin');
  return {
    server,
    database,
    root,
    admin,
    connect,
    setup,
    async tenant(name, epoch = 1) {
      const client = await connect('drover_tenant');
      const number = (await client.query('SELECT drover.attach() AS n')).rows[0].n as string;
      const become = async (tenant: string, under: number): Promise<void> => {
        const token = tenantToken(tenantId(tenant));
        await client.query(`SELECT set_config('drover.context', $1, false)`, [
          signContext(CONTEXT_KEY, token, toEpoch(under), number),
        ]);
      };
      if (name !== undefined) await become(name, epoch);
      return { client, number, become };
    },
    async close() {
      await Promise.all(open.map((client) => client.end()));
      const last = await connectPg(server.connection('postgres'));
      await last.query(
        `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '${database}'`,
      );
      await last.query(`DROP DATABASE "${database}" WITH (FORCE)`);
      await last.end();
    },
  };
}

/** The SQLSTATE a statement fails with, or null. */
export async function sqlStateOf(work: Promise<unknown>): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
