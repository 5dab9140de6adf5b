/**
 * East captured, west applying, and a bus whose storage can be lost: all of it, or what was written since a moment (as a server does that had not
 * fsynced when its power went). Writers go on all the while, straight to east.
 */
import { cpSync, rmSync } from 'node:fs';
import { streamState } from '@drover/bus';
import { sleep, type TenantId } from '@drover/core';
import { compareTables } from '@drover/testkit';
import type pg from 'pg';
import type { Sections } from '../lib/two-clusters.ts';
import { EAST, type FailoverSettings, FailoverWorld, type Service } from './failover-world.ts';

export const TABLES = `
CREATE TABLE public.notes (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id));
CREATE TABLE public.doc (tenant text NOT NULL, id int, n int NOT NULL, body text, PRIMARY KEY (tenant, id));`;

export interface Writers {
  /** Until so many more transactions have been committed. */
  more(n: number): Promise<void>;
  /** How many were committed in all. */
  stop(): Promise<number>;
}

export class DurabilityWorld {
  readonly failover: FailoverWorld;
  readonly tenants: TenantId[] = [];
  /** Ids only grow, so that an update of the newest rows is one of a few, however often there were writers before. */
  #id = 0;

  private constructor(failover: FailoverWorld) {
    this.failover = failover;
  }

  static async start(
    tenants: number,
    sections: Sections,
    settings?: FailoverSettings,
  ): Promise<DurabilityWorld> {
    const world = new DurabilityWorld(await FailoverWorld.start(TABLES, sections, settings));
    await world.failover.run('cdc east', 'apply west');
    for (let i = 0; i < tenants; i++) world.tenants.push(await world.failover.tenant(`t${i}`));
    return world;
  }

  /** Inserts, updates and now and then a larger transaction, until stopped. */
  async writers(clients = 3, tenants: readonly TenantId[] = this.tenants): Promise<Writers> {
    const stop = new AbortController();
    let written = 0;
    const work = Array.from({ length: clients }, async () => {
      const client = await this.failover.servers.east.connect('app');
      try {
        for (let i = 0; !stop.signal.aborted; i++) {
          const tenant = tenants[Math.floor(Math.random() * tenants.length)];
          const rows = i % 40 === 0 ? 400 : 1 + Math.floor(Math.random() * 3);
          this.#id += rows;
          const last = this.#id;
          await client.query('BEGIN');
          await client.query(
            `INSERT INTO doc SELECT $1, g, 0, repeat(md5(g::text), 8) FROM generate_series($2::int, $3::int) g`,
            [tenant, last - rows + 1, last],
          );
          await client.query('UPDATE doc SET n = n + 1 WHERE tenant = $1 AND id > $2 AND id <= $3', [
            tenant,
            last - 50,
            last,
          ]);
          await client.query('COMMIT');
          written++;
          await sleep(4);
        }
      } finally {
        await client.end();
      }
    });
    return {
      more: async (n) => {
        const goal = written + n;
        await this.failover.waitFor(`${n} transactions`, async () => written >= goal);
      },
      stop: async () => {
        stop.abort();
        await Promise.all(work);
        return written;
      },
    };
  }

  /** What is asked of a server that is away is answered, if at all, seconds later. */
  async #restart(): Promise<void> {
    await this.failover.nats.restart();
    await this.failover.bus.connected();
  }

  get #store(): string {
    return this.failover.nats.server.storeDir;
  }

  /** The power goes, and with it all that the bus ever stored. */
  async loseStore(): Promise<void> {
    await this.failover.nats.kill9();
    rmSync(this.#store, { recursive: true, force: true });
    await this.#restart();
  }

  /** What the bus holds now is what it will have when its power goes. */
  async remember(): Promise<string> {
    await this.failover.nats.server.stop();
    const copy = `${this.#store}.copy`;
    rmSync(copy, { recursive: true, force: true });
    cpSync(this.#store, copy, { recursive: true });
    await this.#restart();
    return copy;
  }

  /** The power goes: what was stored since {@link remember} is gone. */
  async loseSince(copy: string): Promise<void> {
    await this.failover.nats.kill9();
    rmSync(this.#store, { recursive: true, force: true });
    cpSync(copy, this.#store, { recursive: true });
    await this.#restart();
  }

  /** The last sequence of each partition's stream. */
  async ends(): Promise<number[]> {
    const states = [0, 1].map((partition) => streamState(this.failover.bus, EAST, partition));
    return (await Promise.all(states)).map((state) => state?.lastSeq ?? 0);
  }

  /** Until every stream goes beyond. */
  async beyond(ends: readonly number[], by = 0): Promise<void> {
    await this.failover.waitFor('written beyond', async () =>
      (await this.ends()).every((end, i) => end > (ends[i] ?? 0) + by),
    );
  }

  /** Fails unless the replica comes to hold exactly what the source holds. */
  async equal(tenants: readonly TenantId[] = this.tenants, timeoutMs = 180_000): Promise<void> {
    const clients = [await this.client('east'), await this.client('west')] as const;
    const [east, west] = clients;
    const where = `tenant IN (${tenants.map((tenant) => `'${tenant}'`).join(', ')})`;
    // The services live in this process: what is compared again and again is worked out by PostgreSQL.
    const digest = async (client: pg.Client) => {
      const sums = ['doc', 'notes'].map(
        (t) =>
          `(SELECT count(*) || ' ' || sum(hashtextextended(t::text, 0)) FROM ${t} t WHERE ${where}) AS ${t}`,
      );
      return JSON.stringify((await client.query(`SELECT ${sums.join(', ')}`)).rows);
    };
    const deadline = performance.now() + timeoutMs;
    try {
      while (performance.now() < deadline) {
        const [a, b] = await Promise.all(clients.map(digest));
        if (a === b) break;
        await sleep(100);
      }
      const differences = await compareTables(east, west, ['doc', 'notes'], where);
      if (differences.length === 0) return;
      const short = (_: string, value: unknown) => (typeof value === 'string' ? value.slice(0, 60) : value);
      throw new Error(
        `${JSON.stringify(differences, short).slice(0, 1200)}\n${JSON.stringify(await this.feeds())}`,
      );
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

  /** How the tenants are fed once none of them catches up any more, and what stands in the ledger. */
  async untouched(): Promise<{ feeds: string[]; ledger: unknown[] }> {
    const feeds = await this.failover.waitFor('nobody catches up', async () => {
      const found = new Set((await this.feeds()).map(({ feed }) => feed));
      return !found.has('catchup') && [...found];
    });
    return { feeds, ledger: await this.ledger() };
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
    const response = await fetch(`${this.failover.metricsUrl(service)}/readyz`);
    return { status: response.status, text: await response.text() };
  }

  async metric(service: Service, name: string): Promise<number> {
    const text = await (await fetch(`${this.failover.metricsUrl(service)}/metrics`)).text();
    return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  }

  async client(name: 'east' | 'west'): Promise<pg.Client> {
    return this.failover.servers[name].connect('app');
  }

  close(): Promise<void> {
    return this.failover.close();
  }
}
