/**
 * East captured, west applying, and a bus whose storage can be lost: all of it, or what was written since a moment (as a server does that had not
 * fsynced when its power went). Writers go on all the while, straight to east.
 */
import { cpSync, rmSync } from 'node:fs';
import { sleep, type TenantId } from '@drover/core';
import { compareTables } from '@drover/testkit';
import type pg from 'pg';
import { FailoverWorld, type Service } from './failover-world.ts';

export const TABLES = `
CREATE TABLE public.notes (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id));
CREATE TABLE public.doc (tenant text NOT NULL, id int, n int NOT NULL, body text, PRIMARY KEY (tenant, id));`;

type Sections = Parameters<typeof FailoverWorld.start>[1];
type Settings = Parameters<typeof FailoverWorld.start>[2];

export class DurabilityWorld {
  readonly failover: FailoverWorld;
  readonly tenants: TenantId[] = [];

  private constructor(failover: FailoverWorld) {
    this.failover = failover;
  }

  static async start(tenants: number, sections: Sections, settings?: Settings): Promise<DurabilityWorld> {
    const world = new DurabilityWorld(await FailoverWorld.start(TABLES, sections, settings));
    await world.failover.run('cdc east', 'apply west');
    for (let i = 0; i < tenants; i++) world.tenants.push(await world.failover.tenant(`t${i}`));
    return world;
  }

  /** Inserts, updates and now and then a larger transaction, until stopped; tells how many were committed. */
  async writers(clients = 3): Promise<{ stop(): Promise<number> }> {
    const stop = new AbortController();
    let written = 0;
    let id = Math.floor(Math.random() * 1e9);
    const work = Array.from({ length: clients }, async () => {
      const client = await this.failover.servers.east.connect('app');
      try {
        for (let i = 0; !stop.signal.aborted; i++) {
          const tenant = this.tenants[Math.floor(Math.random() * this.tenants.length)];
          const rows = i % 40 === 0 ? 400 : 1 + Math.floor(Math.random() * 3);
          id += rows;
          const first = id;
          await client.query('BEGIN');
          await client.query(
            `INSERT INTO doc SELECT $1, g, 0, repeat(md5(g::text), 8) FROM generate_series($2::int, $3::int) g`,
            [tenant, first - rows + 1, first],
          );
          await client.query('UPDATE doc SET n = n + 1 WHERE tenant = $1 AND id > $2', [tenant, first - 50]);
          await client.query('COMMIT');
          written++;
          await sleep(4);
        }
      } finally {
        await client.end();
      }
    });
    return {
      stop: async () => {
        stop.abort();
        await Promise.all(work);
        return written;
      },
    };
  }

  get #store(): string {
    return this.failover.nats.server.storeDir;
  }

  /** The power goes, and with it all that the bus ever stored. */
  async loseStore(): Promise<void> {
    await this.failover.nats.kill9();
    rmSync(this.#store, { recursive: true, force: true });
    await this.failover.nats.restart();
  }

  /** What the bus holds now is what it will have when its power goes. */
  async remember(): Promise<string> {
    await this.failover.nats.server.stop();
    const copy = `${this.#store}.copy`;
    rmSync(copy, { recursive: true, force: true });
    cpSync(this.#store, copy, { recursive: true });
    await this.failover.nats.restart();
    return copy;
  }

  /** The power goes: what was stored since {@link remember} is gone. */
  async loseSince(copy: string): Promise<void> {
    await this.failover.nats.kill9();
    rmSync(this.#store, { recursive: true, force: true });
    cpSync(copy, this.#store, { recursive: true });
    await this.failover.nats.restart();
  }

  /** Fails unless the replica comes to hold exactly what the source holds. */
  async equal(tenants: readonly TenantId[] = this.tenants, timeoutMs = 60_000): Promise<void> {
    const [east, west] = await Promise.all([
      this.failover.servers.east.connect('app'),
      this.failover.servers.west.connect('app'),
    ]);
    const where = `tenant IN (${tenants.map((tenant) => `'${tenant}'`).join(', ')})`;
    const deadline = performance.now() + timeoutMs;
    try {
      for (;;) {
        const differences = await compareTables(east, west, ['doc', 'notes'], where);
        if (differences.length === 0) return;
        if (performance.now() > deadline)
          throw new Error(
            `${JSON.stringify(differences, (_, v) => (typeof v === 'string' ? v.slice(0, 60) : v)).slice(0, 1200)}\n${JSON.stringify(await this.feeds())}`,
          );
        await sleep(200);
      }
    } finally {
      await Promise.all([east.end(), west.end()]);
    }
  }

  feeds(): Promise<{ tenant: string; feed: string; reason: string | null }[]> {
    return this.failover.query('west', `SELECT tenant, feed, reason FROM drover.tenant ORDER BY tenant`);
  }

  ledger(): Promise<{ tenant: string; kind: string; reason: string }[]> {
    return this.failover.query(
      'west',
      `SELECT tenant, kind, reason FROM drover.ledger WHERE status = 'open' ORDER BY id`,
    );
  }

  /** Nothing is parked, nothing in the ledger. */
  async untouched(): Promise<{ feeds: string[]; ledger: unknown[] }> {
    const feeds = (await this.feeds()).map(({ feed }) => feed);
    return { feeds: [...new Set(feeds)], ledger: await this.ledger() };
  }

  async slot(): Promise<{ confirmed: bigint; retained: number; restart: bigint }> {
    const [row] = await this.failover.query<Record<'confirmed' | 'retained' | 'restart', string>>(
      'east',
      `SELECT (confirmed_flush_lsn - '0/0')::text AS confirmed, (restart_lsn - '0/0')::text AS restart,
              (pg_current_wal_lsn() - restart_lsn)::text AS retained
       FROM pg_replication_slots WHERE slot_name = 'drover_app'`,
    );
    return {
      confirmed: BigInt(row?.confirmed ?? 0),
      retained: Number(row?.retained),
      restart: BigInt(row?.restart ?? 0),
    };
  }

  /** Where the source's WAL ends. */
  async wal(): Promise<bigint> {
    const [row] = await this.failover.query<{ lsn: string }>(
      'east',
      `SELECT (pg_current_wal_lsn() - '0/0')::text AS lsn`,
    );
    return BigInt(row?.lsn ?? 0);
  }

  async readyz(service: Service): Promise<{ status: number; text: string }> {
    const response = await fetch(`${this.failover.urls.get(service)}/readyz`);
    return { status: response.status, text: await response.text() };
  }

  async metric(service: Service, name: string): Promise<number> {
    const text = await (await fetch(`${this.failover.urls.get(service)}/metrics`)).text();
    return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  }

  async client(name: 'east' | 'west'): Promise<pg.Client> {
    return this.failover.servers[name].connect('app');
  }

  close(): Promise<void> {
    return this.failover.close();
  }
}
