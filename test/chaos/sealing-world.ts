/**
 * One partition, two tenants: `vault` is sealed, `shop` is not. East captured, west applying, and a file of master keys that the test can change
 * between two starts of a service.
 */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sealedUnder } from '@drover/block';
import { callRpc, consume, streamName } from '@drover/bus';
import { KeyBucket, KeyRing, KeyStore, MasterKeys, newMasterKey } from '@drover/catalog';
import type { TenantId } from '@drover/core';
import { DurabilityWorld } from './durability-world.ts';
import { EAST, type Service } from './failover-world.ts';

export const RIGHT = newMasterKey(1);

export class SealingWorld {
  readonly world: DurabilityWorld;
  readonly file: string;
  readonly bucket: KeyBucket;
  readonly store: KeyStore;
  readonly vault: TenantId;
  readonly shop: TenantId;

  private constructor(world: DurabilityWorld, file: string, bucket: KeyBucket) {
    this.world = world;
    this.file = file;
    this.bucket = bucket;
    this.store = new KeyStore(bucket, MasterKeys.at({ file }));
    const [vault, shop] = world.tenants;
    if (vault === undefined || shop === undefined) throw new Error('two tenants are needed');
    this.vault = vault;
    this.shop = shop;
  }

  static async start(cdc: Readonly<Record<string, unknown>> = {}): Promise<SealingWorld> {
    const file = join(mkdtempSync(join(tmpdir(), 'drover-test-keys-')), 'master.keys');
    writeFileSync(file, RIGHT);
    const world = await DurabilityWorld.start(2, {
      security: { master_key: { file } },
      nats: { partitions: 1 },
      cdc: { heartbeat: 200, compression: 'none', ...cdc }, // so that what is not sealed can be read in the stream
    });
    // Few and large rows make a large transaction, too, if PostgreSQL leaves them as they are.
    await world.failover.query('east', 'ALTER TABLE doc ALTER COLUMN body SET STORAGE EXTERNAL');
    return new SealingWorld(world, file, await KeyBucket.open(world.failover.bus, { replicas: 1 }));
  }

  /** What services that start from now on find. */
  master(line: string): void {
    writeFileSync(this.file, line);
  }

  /** The reader has seen all that was done to keys. */
  async known(): Promise<void> {
    const newest = await this.bucket.records.newest();
    await this.world.failover.waitFor('the reader knows', async () => {
      const status = await callRpc(this.world.failover.bus, 'cdc.east.status', {}, { timeoutMs: 20_000 });
      return (status as { keysRevision: number }).keysRevision >= newest;
    });
  }

  async seal(): Promise<void> {
    await this.store.seal(this.vault);
    await this.known();
  }

  ring(): Promise<KeyRing> {
    return KeyRing.open(this.world.failover.bus, { replicas: 1, master: MasterKeys.at({ file: this.file }) });
  }

  /** One transaction of each, or one of both. */
  async write(
    marker: string,
    ids: { readonly from: number; readonly to: number },
    together = false,
  ): Promise<void> {
    // Beyond what the world's writers write.
    const sql = `INSERT INTO doc SELECT $1, 1000000000 + g, 0, $4 FROM generate_series($2::int, $3::int) g`;
    const client = await this.world.client('east');
    try {
      if (together) await client.query('BEGIN');
      for (const tenant of [this.vault, this.shop])
        await client.query(sql, [tenant, ids.from, ids.to, `${marker} of ${tenant}`]);
      if (together) await client.query('COMMIT');
    } finally {
      await client.end();
    }
  }

  /** Blocks of a tenant as they are in the stream. */
  async stored(tenant: TenantId): Promise<Buffer[]> {
    const { bus } = this.world.failover;
    const last = (await bus.jsm.streams.info(streamName(EAST, 0))).state.last_seq;
    const stop = new AbortController();
    const found: Buffer[] = [];
    for await (const m of consume(bus, { cluster: EAST, partition: 0, startSeq: 1, signal: stop.signal })) {
      if (m.token === tenant) found.push(m.data);
      if (m.seq >= last) break;
    }
    stop.abort();
    return found;
  }

  async keyIds(): Promise<number[]> {
    return [...new Set((await this.stored(this.vault)).map((block) => sealedUnder(block)?.keyId ?? -1))];
  }

  /** Both clusters hold the same rows; by sums made at the servers, so that the services in this process are not held up by comparing. */
  async equal(tenants: readonly TenantId[] = [this.vault, this.shop]): Promise<void> {
    const sums = async (name: 'east' | 'west') =>
      JSON.stringify(
        await this.world.failover.query(
          name,
          `SELECT tenant, count(*)::int AS rows, sum(pg_catalog.hashtextextended(doc::text, 0)::numeric)::text AS sum FROM doc
           WHERE tenant = ANY ($1) GROUP BY tenant ORDER BY tenant`,
          [tenants],
        ),
      );
    let seen = '';
    await this.world.failover
      .waitFor(
        'equal',
        async () => {
          const [east, west] = await Promise.all([sums('east'), sums('west')]);
          seen = `${east} ${west} ${JSON.stringify(await this.world.feeds())}`;
          return east === west;
        },
        180_000,
      )
      .catch((cause: unknown) => {
        throw new Error(seen, { cause });
      });
  }

  /** Does it stand anywhere in the files of the nats-server? */
  onDisk(text: string): boolean {
    const dir = this.world.failover.nats.server.storeDir;
    const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    return files.some((entry) => {
      try {
        return readFileSync(join(entry.parentPath, entry.name)).includes(text);
      } catch {
        return false; // the server has removed it meanwhile
      }
    });
  }

  async again(...services: Service[]): Promise<void> {
    for (const service of services) await this.world.failover.end(service);
    await this.world.failover.run(...services);
  }

  async parked(tenant: TenantId, why: RegExp): Promise<void> {
    const isSo = async () =>
      (await this.world.feeds()).some(
        (row) => row.tenant === tenant && row.feed === 'parked' && why.test(row.reason ?? ''),
      );
    await this.world.failover.waitFor(`${tenant} is parked: ${why}`, isSo, 180_000);
  }

  /** Copied as `drover tenant replicate --anew` has it copied. */
  async copyAnew(tenant: TenantId): Promise<void> {
    await this.world.failover.catalog.changePlacement(tenant, (p) => ({
      ...p,
      replicas: { ...p.replicas, west: { state: 'copying', since: new Date().toISOString() } },
    }));
  }

  close(): Promise<void> {
    return this.world.close();
  }
}
