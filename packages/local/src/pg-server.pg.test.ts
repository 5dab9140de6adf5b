/** Starting, stopping, killing and finding again: with every supported major. */

import { once } from 'node:events';
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { DroverError, type ErrorCode } from '@drover/core';
import { testFolder, watchProcess } from '@drover/testkit';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import type { PgMajor } from './pg-binaries.ts';
import { runningPostmaster } from './pg-pidfile.ts';
import { attachPostgres, type LocalPostgres, type PostgresOptions, startPostgres } from './pg-server.ts';
import { freePort } from './port.ts';
import { alive, childrenOf, processesIn } from './process-tree.ts';

const started: LocalPostgres[] = [];

afterEach(async () => {
  for (const server of started.splice(0)) {
    await server.stop('immediate');
    await server.killOrphans();
  }
});

async function start(
  over: Partial<PostgresOptions> = {},
): Promise<LocalPostgres & { options: PostgresOptions }> {
  const options: PostgresOptions = {
    dir: join(testFolder('local'), 'pg'),
    port: await freePort(),
    major: 18,
    superPassword: "pass'word\\ü",
    settings: { shared_buffers: '32MB', fsync: false },
    ...over,
  };
  const server = await startPostgres(options);
  started.push(server);
  watchProcess(server.pid, server.exited, 'SIGQUIT');
  return { ...server, options };
}

async function query(server: LocalPostgres, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: server.url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function failure(promise: Promise<unknown>, code: ErrorCode): Promise<DroverError> {
  const error: unknown = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof DroverError) || error.code !== code) throw error;
  return error;
}

describe.each([16, 17, 18] as PgMajor[])('PostgreSQL %i', (major) => {
  test('is set up for logical replication, and keeps its data over stop and start', async () => {
    const server = await start({ major });
    const names = [
      'server_version_num',
      'wal_level',
      'max_connections',
      'password_encryption',
      'server_encoding',
      'fsync',
    ];
    const rows = await query(
      server,
      `SELECT name, setting FROM pg_settings WHERE name IN ('${names.join("','")}')`,
    );
    const settings = Object.fromEntries(rows.map((row) => [row['name'], row['setting']]));
    expect(settings).toMatchObject({
      wal_level: 'logical',
      max_connections: '300',
      password_encryption: 'scram-sha-256',
      server_encoding: 'UTF8',
      fsync: 'off',
    });
    expect(Math.floor(Number(settings['server_version_num']) / 10_000)).toBe(major);
    const [order] = await query(
      server,
      "SELECT array_agg(x ORDER BY x)::text AS o FROM (VALUES ('b'), ('a'), ('B')) v (x)",
    );
    expect(order?.['o']).toBe('{B,a,b}');
    await query(server, 'CREATE TABLE kept AS SELECT 1 AS x');

    await server.stop();
    expect(await server.exited).toEqual({ code: 0, signal: null });
    await server.stop(); // twice is no error
    const again = await start({ ...server.options });
    expect(await query(again, 'SELECT x FROM kept')).toEqual([{ x: 1 }]);
  });

  test('killed: its orphans can be ended; it recovers what was committed', async () => {
    const server = await start({ major });
    await query(server, 'CREATE TABLE kept AS SELECT 1 AS x');
    const backends = childrenOf(server.pid);
    expect(backends.length).toBeGreaterThan(2);
    server.kill9();
    expect(await server.exited).toEqual({ code: null, signal: 'SIGKILL' });
    await server.killOrphans();
    expect(backends.filter(alive)).toEqual([]);
    expect(processesIn(server.dataDir)).toEqual([]);
    const again = await start({ ...server.options });
    expect(await query(again, 'SELECT x FROM kept')).toEqual([{ x: 1 }]);
  });
});

test('a start after a kill needs nobody to clean up first, even while a busy backend lives on', async () => {
  const server = await start();
  const busy = query(server, 'SELECT sum(i) FROM generate_series(1, 1000000000) i').catch(() => []);
  await expect
    .poll(() => query(server, "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT sum%'"))
    .toHaveLength(1);
  server.kill9();
  await server.exited;
  const again = await start({ ...server.options });
  expect(await query(again, 'SELECT 1 AS x')).toEqual([{ x: 1 }]);
  await busy;
});

test('a pid file whose process is another program by now does not stand in the way', async () => {
  const server = await start();
  await server.stop('immediate');
  await writeFile(
    join(server.dataDir, 'postmaster.pid'),
    `${process.pid}\n${server.dataDir}\n1\n${server.port}\n\n127.0.0.1\n1 1\nready\n`,
  );
  expect(await runningPostmaster(server.dataDir)).toBeNull();
  expect(await attachPostgres(server.options)).toBeNull();
  await start({ ...server.options });
});

test('a port in use is named; nothing is left running', async () => {
  const other: Server = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  const dir = join(testFolder('local'), 'pg');
  const error = await failure(start({ port, dir }), 'local.port_in_use');
  expect(error.message).toContain(String(port));
  expect(processesIn(join(dir, 'data'))).toEqual([]);
  other.close();
});

test('what keeps it from starting is shown with the last lines of its log', async () => {
  const dir = join(testFolder('local'), 'pg');
  const error = await failure(start({ dir, settings: { wal_level: 'nonsense' } }), 'local.failed');
  expect(error.message).toContain('invalid value for parameter "wal_level"');
  expect(processesIn(join(dir, 'data'))).toEqual([]);
});

test('a second start in the same folder is refused; attaching finds the first, which can be stopped by it', async () => {
  const server = await start();
  const error = await failure(startPostgres({ ...server.options, port: await freePort() }), 'local.failed');
  expect(error.message).toContain('already');
  const attached = await attachPostgres(server.options);
  expect(attached).toMatchObject({ pid: server.pid, port: server.port });
  expect(await query(attached!, 'SELECT 1 AS x')).toEqual([{ x: 1 }]);
  await attached!.stop();
  expect(await server.exited).toEqual({ code: 0, signal: null });
  expect(await attached!.exited).toBeDefined();
});

test('the data of another major, and another password, are said to be that', async () => {
  const server = await start({ major: 17 });
  await server.stop('immediate');
  const major = await failure(start({ ...server.options, major: 18 }), 'local.failed');
  expect(major.message).toContain('PostgreSQL 17, not 18');
  const password = await failure(start({ ...server.options, superPassword: 'other' }), 'local.failed');
  expect(password.message).toContain('password');
  expect(processesIn(server.dataDir)).toEqual([]);
});

test('an initdb that was interrupted is made anew', async () => {
  const dir = join(testFolder('local'), 'pg');
  await mkdir(join(dir, 'data'), { recursive: true });
  await writeFile(join(dir, 'initdb.unfinished'), '');
  await writeFile(join(dir, 'data', 'PG_VERSION'), '18\n');
  const server = await start({ dir });
  expect(await query(server, 'SELECT 1 AS x')).toEqual([{ x: 1 }]);
});

test('the settings of a start replace those of the one before; what an operator wrote stays', async () => {
  const server = await start({ settings: { work_mem: '5MB', fsync: false } });
  await server.stop();
  await appendFile(join(server.dataDir, 'postgresql.conf'), "maintenance_work_mem = '33MB'\n");
  expect(await readFile(join(server.dataDir, 'drover.conf'), 'utf8')).toContain('5MB');
  const again = await start({ ...server.options, settings: { fsync: false } });
  expect(await query(again, 'SHOW work_mem')).toEqual([{ work_mem: '4MB' }]);
  expect(await query(again, 'SHOW maintenance_work_mem')).toEqual([{ maintenance_work_mem: '33MB' }]);
  await rm(server.options.dir, { recursive: true, force: true }).catch(() => {});
});
