/** PostgreSQL clusters and NATS of a benchmark, in a folder of their own that vanishes with this process. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Closer, must } from '@drover/core';
import { freePort, type LocalNats, type LocalPostgres, startNats, startPostgres } from '@drover/local';
import { watch } from '@drover/testkit/watchdog.ts';
import pg from 'pg';

export const SUPER_PASSWORD = 'bench';

/**
 * The same for every cluster. Autovacuum and timed checkpoints come when they come, once in this peer's measurement and once in
 * that one's: both are off, and done by hand between the measurements.
 */
const SETTINGS = {
  shared_buffers: '256MB',
  max_wal_size: '16GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
  // A disabled subscription may be started again at once.
  wal_retrieve_retry_interval: '100ms',
};

export interface BenchServer {
  readonly name: string;
  readonly server: LocalPostgres;
  readonly port: number;
  readonly database: string;
  /** A superuser's connection, closed with the servers. */
  connect(): Promise<pg.Client>;
}

export async function startServers(
  closer: Closer,
  folder: string,
  names: readonly string[],
  database: string,
): Promise<BenchServer[]> {
  const servers: BenchServer[] = [];
  for (const name of names) {
    const port = await freePort();
    const options = { dir: join(folder, name), port, major: 18 as const, superPassword: SUPER_PASSWORD };
    const server = watch(await startPostgres({ ...options, settings: SETTINGS }), 'SIGQUIT');
    closer.add({ close: () => server.stop('immediate') });
    const clients: pg.Client[] = [];
    closer.add({
      close: async () => {
        await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
      },
    });
    const connect = async (to: string): Promise<pg.Client> => {
      const client = new pg.Client({
        host: '127.0.0.1',
        port,
        user: 'postgres',
        password: SUPER_PASSWORD,
        database: to,
        application_name: 'bench',
      });
      client.on('error', () => undefined); // the next query tells
      await client.connect();
      clients.push(client);
      return client;
    };
    const admin = await connect('postgres');
    await admin.query(`CREATE DATABASE ${database}`);
    servers.push({ name, server, port, database, connect: () => connect(database) });
  }
  return servers;
}

export async function startBus(closer: Closer, folder: string): Promise<LocalNats> {
  const dir = join(folder, 'nats');
  mkdirSync(dir, { recursive: true });
  const nats = watch(
    await startNats({ dir, port: await freePort(), maxPayload: 8 * 1024 * 1024 }),
    'SIGKILL',
  );
  closer.add({ close: () => nats.stop('immediate') });
  return nats;
}

export function serverNamed(servers: readonly BenchServer[], name: string): BenchServer {
  return must(
    servers.find((server) => server.name === name),
    `cluster ${name}`,
  );
}
