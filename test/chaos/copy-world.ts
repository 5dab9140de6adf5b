/**
 * A source and a target with the real capture and apply between them, tenants that write all the while, and copies of them that the test
 * carries out itself so that it can stop them anywhere.
 */
import { sleep, type TenantId, tenantId } from '@drover/core';
import { compareTables, newTenant } from '@drover/testkit';
import type pg from 'pg';
import type { CopyContext } from '../../services/migration/src/copy/copy-tenant.ts';
import { untilConfirmed } from '../lib/confirmed.ts';
import { Copies } from '../lib/copies.ts';
import { FailoverWorld } from './failover-world.ts';

/** `doc.body` is stored out of line, and an update that leaves it alone does not send it. */
export const TABLES = `
CREATE TABLE public.notes (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id));
CREATE TABLE public.doc (tenant text NOT NULL, id int, n int, body text, PRIMARY KEY (tenant, id));
ALTER TABLE public.doc ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE public.log (tenant text NOT NULL, line text, n int);
ALTER TABLE public.log REPLICA IDENTITY FULL;`;
export const ROWS = 600;
export const CHUNK = 50;
/** Keys of `doc`: the copy goes through them upwards, writers hit all of them. */
const KEYS = 4000;

export class CopyWorld {
  readonly failover: FailoverWorld;
  readonly #copies: Copies;

  private constructor(failover: FailoverWorld) {
    this.failover = failover;
    this.#copies = new Copies(failover);
  }

  static async start(): Promise<CopyWorld> {
    const world = await FailoverWorld.start(TABLES, { migration: { chunk_rows: CHUNK } });
    await world.run('cdc east', 'apply west');
    return new CopyWorld(world);
  }

  /** Served by east with {@link ROWS} rows in each table, those of `doc` of 3 kB; its replica at west is to be copied. */
  async tenant(name: string): Promise<TenantId> {
    const tenant = tenantId(name);
    const { failover: world } = this;
    await world.query('east', 'SELECT drover.open_tenant($1, 1)', [tenant]);
    await world.query(
      'east',
      `INSERT INTO doc SELECT $1, i * ${Math.floor(KEYS / ROWS)}, 0, repeat(md5($1 || i), 94) FROM generate_series(1, ${ROWS}) i`,
      [tenant],
    );
    await world.query(
      'east',
      `INSERT INTO log SELECT $1, 'line ' || i, i FROM generate_series(1, ${ROWS}) i`,
      [tenant],
    );
    await world.catalog.createTenant(...newTenant(tenant, { west: 'copying' }));
    return tenant;
  }

  /** Until the stream has what east has written so far. */
  published(): Promise<void> {
    const { failover: world } = this;
    return untilConfirmed(
      (sql, params = []) => world.query('east', sql, [...params]),
      (what, probe) => world.waitFor(what, probe),
    );
  }

  /** The copy, in this process. */
  copy(tenant: TenantId, more?: Partial<CopyContext>): Promise<void> {
    return this.#copies.copy(tenant, more);
  }

  async stateOf(tenant: TenantId): Promise<string | undefined> {
    return (await this.failover.placement(tenant)).replicas['west']?.state;
  }

  async record(tenant: TenantId): Promise<{ state: string; attempt: number; rows: number } | undefined> {
    const found = await this.failover.query<{
      state: string;
      attempt: number;
      progress: Record<string, { rows?: number }>;
    }>('west', 'SELECT state, attempt, progress FROM drover.copy WHERE tenant = $1', [tenant]);
    const row = found[0];
    if (row === undefined) return undefined;
    const rows = Object.values(row.progress).reduce((sum, table) => sum + (table.rows ?? 0), 0);
    return { state: row.state, attempt: row.attempt, rows };
  }

  /** Fails unless the replica comes to hold exactly what the source holds, with nothing parked and nothing in the ledger. */
  async expectEqual(tenant: TenantId): Promise<void> {
    const { failover: world } = this;
    const [east, west] = [await world.servers.east.connect('app'), await world.servers.west.connect('app')];
    let seen = '';
    const deadline = performance.now() + 120_000;
    try {
      for (;;) {
        const differences = await compareTables(east, west, ['doc', 'log', 'notes'], `tenant = '${tenant}'`);
        if (differences.length === 0) break;
        seen = JSON.stringify(differences, (_, v) => (typeof v === 'string' ? v.slice(0, 60) : v)).slice(
          0,
          1500,
        );
        if (performance.now() > deadline) {
          const rows = await west.query(
            'SELECT feed, reason, stream_seq, commit_lsn, lenient_until FROM drover.tenant WHERE tenant = $1',
            [tenant],
          );
          throw new Error(`the replica of ${tenant} (${JSON.stringify(rows.rows[0])}) differs: ${seen}`);
        }
        await sleep(100);
      }
    } finally {
      await Promise.all([east.end(), west.end()]);
    }
    const ledger = await world.query(
      'west',
      `SELECT kind, reason FROM drover.ledger WHERE tenant = $1 AND status = 'open'`,
      [tenant],
    );
    if (ledger.length > 0) throw new Error(`the ledger has ${JSON.stringify(ledger)}`);
  }

  /** A client that inserts, updates, deletes and changes keys, some of it in longer transactions, until stopped. */
  async writer(tenant: TenantId, seed: number): Promise<Writer> {
    return new Writer(await this.failover.session('east', tenant, 1), tenant, seed);
  }

  async close(): Promise<void> {
    await this.#copies.close();
    await this.failover.close();
  }
}

export class Writer {
  /** Statements that changed a row. */
  changes = 0;
  readonly #client: pg.Client;
  readonly #tenant: TenantId;
  readonly #running: Promise<void>;
  #state: number;
  #stopped = false;

  constructor(client: pg.Client, tenant: TenantId, seed: number) {
    this.#client = client;
    this.#tenant = tenant;
    this.#state = seed;
    this.#running = this.#run();
    this.#running.catch(() => undefined); // seen by stop()
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    try {
      await this.#running;
    } finally {
      await this.#client.end();
    }
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const together = this.#below(4) === 0 ? 1 + this.#below(8) : 1;
      await this.#client.query('BEGIN');
      for (let i = 0; i < together; i++) await this.#change();
      await this.#client.query(this.#below(12) === 0 ? 'ROLLBACK' : 'COMMIT');
      await sleep(2);
    }
  }

  async #change(): Promise<void> {
    const [key, other, n] = [this.#below(KEYS), this.#below(KEYS), this.#below(1e9)];
    const near = `(SELECT id FROM doc WHERE tenant = $1 AND id >= $2::int ORDER BY id LIMIT 1)`;
    const kinds: readonly (readonly [string, unknown[]])[] = [
      [
        `INSERT INTO doc VALUES ($1, $2::int, $3::int, repeat(md5($3::int::text), 94)) ON CONFLICT DO NOTHING`,
        [key, n],
      ],
      [`UPDATE doc SET n = $3::int WHERE tenant = $1 AND id = ${near}`, [key, n]],
      [`UPDATE doc SET body = repeat(md5($3::int::text), 94) WHERE tenant = $1 AND id = ${near}`, [key, n]],
      // The value stays where it is and is not sent.
      [
        `UPDATE doc SET id = $3::int WHERE tenant = $1 AND id = ${near} AND NOT EXISTS (SELECT FROM doc WHERE tenant = $1 AND id = $3::int)`,
        [key, other],
      ],
      [`DELETE FROM doc WHERE tenant = $1 AND id = ${near}`, [key]],
      [`INSERT INTO log VALUES ($1, 'added ' || $2::int, $2::int)`, [n]],
      [
        `UPDATE log SET line = 'changed ' || $3::int WHERE tenant = $1 AND n = $2::int`,
        [1 + this.#below(ROWS), n],
      ],
      [`DELETE FROM log WHERE tenant = $1 AND n = $2::int`, [1 + this.#below(ROWS)]],
    ];
    const [sql, params] = kinds[this.#below(kinds.length)] ?? ['SELECT', []];
    const { rowCount } = await this.#client.query(sql, [this.#tenant, ...params]);
    this.changes += rowCount ?? 0;
  }

  /** A linear congruential generator (Numerical Recipes): the same seed, the same writes. */
  #below(n: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * n);
  }
}
