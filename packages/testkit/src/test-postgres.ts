/**
 * Real PostgreSQL for tests: one server per test process, major version and settings, started when first asked for;
 * every test makes databases of its own in it. It ends with the process (see `watchdog.ts`).
 */
import { createHmac, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DroverError } from '@drover/core';
import { type LocalPostgres, type PgMajor, type PgSettings, startPostgres } from '@drover/local';
import { renderSettings } from '@drover/local/pg-settings.ts';
import pg from 'pg';
import { testPort } from './test-port.ts';
import { testFolder, watch } from './watchdog.ts';

/** The secret that passwords of tests' roles are derived from. */
export const TEST_SECRET = 'a secret of thirty-two characters or more';
const SUPER_PASSWORD = 'test-super';

/** `base64url(HMAC-SHA256(secret, "role:" + role))`, as Drover derives the passwords of its roles. */
export function testPassword(role: string): string {
  return createHmac('sha256', TEST_SECRET).update(`role:${role}`).digest('base64url');
}

export interface TestPostgresOptions {
  /** Default 18. */
  readonly major?: PgMajor;
  /** On top of small settings without fsync. */
  readonly settings?: PgSettings;
}

/** What a connection needs; as @drover/pg's ConnectOptions. */
export interface TestConnection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly ssl: false;
}

export interface TestPostgres {
  readonly major: PgMajor;
  readonly port: number;
  /** The server at the moment: another one after {@link restart}. */
  readonly server: LocalPostgres;
  /** A fresh database; returns its name. */
  createDatabase(prefix?: string): Promise<string>;
  /** A login role whose password is {@link testPassword}; `attributes` as in CREATE ROLE. Servers are shared: name it uniquely. */
  createUser(name?: string, attributes?: string): Promise<string>;
  /** As `user`, default the superuser; every other role is taken to have {@link testPassword}. */
  connection(database?: string, user?: string): TestConnection;
  /** A connected client. It is the test's to end; what it left open is closed when the server ends. */
  connect(database?: string, user?: string): Promise<pg.Client>;
  /** For servers of a test's own: stops (or leaves stopped) and starts again on the same data and port. */
  restart(settings?: PgSettings): Promise<void>;
  stop(): Promise<void>;
}

const shared = new Map<string, Promise<TestPostgres>>();

/** The shared server of this test process. Do not stop, kill or reconfigure it: take {@link ownPostgres} for that. */
export function testPostgres(options: TestPostgresOptions = {}): Promise<TestPostgres> {
  const key = `${options.major ?? 18} ${renderSettings(options.settings ?? {})}`;
  let server = shared.get(key);
  if (server === undefined) {
    server = ownPostgres(options);
    shared.set(key, server);
  }
  return server;
}

/** A server of the test's own, to be stopped, killed and restarted. */
export async function ownPostgres(options: TestPostgresOptions = {}): Promise<TestPostgres> {
  const major = options.major ?? 18;
  const dir = join(testFolder(`pg${major}`), 'pg');
  let server = await start(dir, major, await testPort(), options.settings ?? {}, 5);
  const port = server.port;
  const connection = (database = 'postgres', user = 'postgres'): TestConnection => ({
    host: '127.0.0.1',
    port,
    user,
    password: user === 'postgres' ? SUPER_PASSWORD : testPassword(user),
    database,
    ssl: false,
  });
  const connect = async (database?: string, user?: string): Promise<pg.Client> => {
    const client = new pg.Client({ ...connection(database, user), connectionTimeoutMillis: 60_000 });
    client.on('error', () => {}); // a server that is killed under it is no surprise in a test
    await client.connect();
    return client;
  };
  const asSuper = async (sql: string): Promise<void> => {
    const client = await connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  return {
    major,
    port,
    get server() {
      return server;
    },
    async createDatabase(prefix = 'test') {
      const name = unique(prefix);
      await asSuper(`CREATE DATABASE ${pg.escapeIdentifier(name)} STRATEGY file_copy`);
      return name;
    },
    async createUser(name = unique('user'), attributes = '') {
      const password = pg.escapeLiteral(testPassword(name));
      await asSuper(`CREATE ROLE ${pg.escapeIdentifier(name)} LOGIN PASSWORD ${password} ${attributes}`);
      return name;
    },
    connection,
    connect,
    async restart(settings = options.settings ?? {}) {
      await server.stop();
      await server.killOrphans();
      server = await start(dir, major, port, settings, 0);
    },
    stop: () => server.stop('immediate'),
  };
}

async function start(
  dir: string,
  major: PgMajor,
  port: number,
  settings: PgSettings,
  otherPorts: number,
): Promise<LocalPostgres> {
  try {
    const server = await startPostgres({
      dir,
      port,
      major,
      superPassword: SUPER_PASSWORD,
      settings: {
        fsync: false,
        full_page_writes: false,
        shared_buffers: '32MB',
        autovacuum_naptime: '10min',
        max_wal_size: '256MB',
        log_min_messages: 'warning',
        ...settings,
      },
    });
    return watch(server, 'SIGQUIT');
  } catch (error) {
    const taken = error instanceof DroverError && error.code === 'local.port_in_use';
    if (!taken || otherPorts === 0) throw error;
    return start(dir, major, await testPort(), settings, otherPorts - 1); // somebody took it since we looked
  }
}

export function unique(prefix: string): string {
  return `${prefix}_${randomBytes(5).toString('hex')}`;
}
