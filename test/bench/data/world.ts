/**
 * One source, `east`, and two replicas of it that begin alike: `west` is fed by Drover, `north` by PostgreSQL itself. Both read the
 * same WAL of the same load.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Closer } from '@drover/core';
import { followTenant, openTenant, slotName } from '@drover/pg';
import { testFolder } from '@drover/testkit';
import type pg from 'pg';
import { type ConfigInput, writeConfig } from '../lib/config-file.ts';
import { SUPER_PASSWORD, serverNamed, startBus, startServers } from '../lib/servers.ts';
import { runVerb } from '../lib/service.ts';
import { droverPeer, nativePeer, type Peer } from './peer.ts';
import { TENANTS, tenantName } from './tables.ts';

const DATABASE = 'app';

export interface ReplicationWorld {
  readonly folder: string;
  readonly database: string;
  readonly source: pg.Client;
  readonly sourcePort: number;
  readonly natsUrl: string;
  /** One more superuser's connection. */
  connect(cluster: 'east' | 'west' | 'north'): Promise<pg.Client>;
  readonly drover: Peer;
  readonly native: Peer;
  close(): Promise<void>;
}

export interface WorldInput {
  /** Run on each cluster before anything is set up. */
  readonly schema: string;
  readonly tables: readonly string[];
  /** Run on the replicas only. */
  readonly replicaSchema?: string;
  readonly profileTo: string | undefined;
  /** Registered; default {@link TENANTS}. */
  readonly tenants?: number;
  /** Of the configuration, beside addresses. */
  readonly sections?: ConfigInput['sections'];
  readonly say: (line: string) => void;
}

export async function startReplicationWorld(input: WorldInput): Promise<ReplicationWorld> {
  const closer = new Closer();
  try {
    const folder = testFolder('bench');
    // Not at the end of the process alone: the next benchmark needs the room.
    closer.add({ close: () => rm(folder, { recursive: true, force: true }) });
    input.say(`starting three clusters and NATS in ${folder}`);
    const servers = await startServers(closer, folder, ['east', 'west', 'north'], DATABASE);
    const nats = await startBus(closer, folder);
    const clients = await Promise.all(servers.map((server) => server.connect()));
    input.say('filling them alike');
    await Promise.all(
      clients.map(async (client, i) => {
        await client.query('SET synchronous_commit = off');
        await client.query(input.schema);
        if (i > 0 && input.replicaSchema !== undefined) await client.query(input.replicaSchema);
        await client.query('VACUUM (ANALYZE)');
      }),
    );
    const [source, west, north] = clients as [pg.Client, pg.Client, pg.Client];
    const clusters = [serverNamed(servers, 'east'), serverNamed(servers, 'west')];
    const config = writeConfig({
      folder,
      nats,
      clusters,
      ...(input.sections === undefined ? {} : { sections: input.sections }),
    });
    const place = {
      folder,
      configFile: config.file ?? join(folder, 'drover.toml'),
      profileTo: input.profileTo,
    };
    await runVerb(place, 'setup');
    // Nobody reads the replica here: its own slot would keep all of its WAL, tens of GB in a long run.
    await west.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
    await followAll(source, west, input.tenants ?? TENANTS);
    const sourceServer = serverNamed(servers, 'east');
    const native = await nativePeer({
      source,
      replica: north,
      connection: `host=127.0.0.1 port=${sourceServer.port} dbname=${DATABASE} user=postgres password=${SUPER_PASSWORD}`,
      tables: input.tables,
    });
    const drover = droverPeer({ source, slot: slotName(DATABASE), replica: west, place, nats });
    closer.add(drover);
    return {
      folder,
      database: DATABASE,
      source,
      sourcePort: sourceServer.port,
      natsUrl: nats.url,
      connect: (cluster) => serverNamed(servers, cluster).connect(),
      drover,
      native,
      close: () => closer.close(),
    };
  } catch (error) {
    await closer.close();
    throw error;
  }
}

/** Every tenant is served by east and followed by west, as `drover tenant create` leaves it. */
async function followAll(source: pg.Client, replica: pg.Client, tenants: number): Promise<void> {
  for (const client of [source, replica]) await client.query('BEGIN');
  for (let i = 0; i < tenants; i++) {
    const tenant = tenantName(i);
    await openTenant(source, { tenant, epoch: 1 });
    await followTenant(replica, { tenant, epoch: 1, source: 'east', feed: 'live' });
  }
  for (const client of [source, replica]) await client.query('COMMIT');
}
