/**
 * A database as `drover setup` leaves it: the application's tables, Drover's schema, roles, policies, publication, slot.
 */
import { createHmac } from 'node:crypto';
import type { ClusterId } from '@drover/core';
import { connectPg, ROLE_NAMES, type RolePasswords, setupCluster, type Tagging } from '@drover/pg';
import { TEST_SECRET, type TestPostgres, testPassword } from './test-postgres.ts';

export interface PreparedOptions {
  readonly cluster: ClusterId;
  /** Makes the application's tables, run before the setup. */
  readonly sql?: string;
  /** Default: column `tenant`. */
  readonly tagging?: Partial<Tagging>;
  /** Use this database instead of a fresh one. */
  readonly database?: string;
  /** Replication origins of copies; default none. */
  readonly origins?: readonly string[];
  /** Schema changes are captured; default true. */
  readonly ddl?: boolean;
}

/** `HMAC-SHA256(secret, "context")`: signs tenant contexts in databases prepared here. */
export const TEST_CONTEXT_KEY: Buffer = createHmac('sha256', TEST_SECRET).update('context').digest();

/** Resolves to the database's name. The roles are the server's: all prepared databases of a server share them. */
export async function preparedDatabase(server: TestPostgres, options: PreparedOptions): Promise<string> {
  const database = options.database ?? (await server.createDatabase('prepared'));
  if (options.sql !== undefined) {
    const client = await server.connect(database);
    try {
      await client.query(options.sql);
    } finally {
      await client.end();
    }
  }
  await setupCluster({
    cluster: options.cluster,
    databases: [database],
    connect: (name) => connectPg(server.connection(name)),
    passwords: Object.fromEntries(ROLE_NAMES.map((role) => [role, testPassword(role)])) as RolePasswords,
    contextKey: TEST_CONTEXT_KEY,
    tagging: {
      mode: 'column',
      column: 'tenant',
      overrides: {},
      reference: [],
      exclude: [],
      schemaPrefix: 'tenant_',
      databasePrefix: 'tenant_',
      ...options.tagging,
    },
    origins: options.origins ?? [],
    ddl: options.ddl ?? true,
    failoverSlots: false,
  });
  return database;
}
