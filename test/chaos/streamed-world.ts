/**
 * East captured, west applying, with a decoder that has room for next to nothing: every transaction of some size comes before it has committed.
 * Capture and apply are processes of their own, which can be killed, also by themselves at a step.
 */
import { sleep, type TenantId } from '@drover/core';
import { compareTables } from '@drover/testkit';
import type pg from 'pg';
import { type Process, spawned } from '../lib/processes.ts';
import { merged, type Sections } from '../lib/two-clusters.ts';
import { FailoverWorld } from './failover-world.ts';

const TABLES = `
CREATE TABLE public.doc (tenant text NOT NULL, id int, n int NOT NULL DEFAULT 0, body text, PRIMARY KEY (tenant, id));
ALTER TABLE public.doc ALTER body SET STORAGE external;
CREATE TABLE public.line (tenant text NOT NULL, text text);
ALTER TABLE public.line REPLICA IDENTITY FULL;`;

const SERVICES = { cdc: 'cdc east', apply: 'apply west' } as const;
export type ServiceName = keyof typeof SERVICES;

export class StreamedWorld {
  readonly failover: FailoverWorld;
  source: pg.Client;
  target: pg.Client;
  readonly tenants: TenantId[] = [];
  readonly #processes = new Map<ServiceName, Process>();

  private constructor(failover: FailoverWorld, source: pg.Client, target: pg.Client) {
    this.failover = failover;
    this.source = source;
    this.target = target;
  }

  static async start(
    tenants: number,
    options: {
      readonly sections?: Sections;
      readonly postgres?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<StreamedWorld> {
    const cdc = { heartbeat: '100ms', stream_above_bytes: '64KiB' };
    const sections = merged({ cdc }, options.sections ?? {});
    const { postgres } = options;
    const failover = await FailoverWorld.start(TABLES, sections, postgres === undefined ? {} : { postgres });
    const source = await failover.servers.east.connect('app');
    const target = await failover.servers.west.connect('app');
    for (const client of [source, target]) client.on('error', () => undefined);
    const world = new StreamedWorld(failover, source, target);
    for (let i = 0; i < tenants; i++) world.tenants.push(await failover.tenant(`t${i}`));
    return world;
  }

  /** `step`: where it kills itself, the `nth` time it comes there. */
  async run(name: ServiceName, step = '', nth = 1): Promise<void> {
    const running = spawned(SERVICES[name], this.failover.config, { step, nth });
    this.#processes.set(name, running);
    await running.ready;
  }

  async both(): Promise<void> {
    await Promise.all([this.run('cdc'), this.run('apply')]);
  }

  /** Resolves when it has ended by itself. */
  async died(name: ServiceName): Promise<void> {
    const running = this.#processes.get(name);
    this.#processes.delete(name);
    await running?.exited;
  }

  async kill(name: ServiceName): Promise<void> {
    await this.#processes.get(name)?.kill();
    this.#processes.delete(name);
  }

  pid(name: ServiceName): number {
    return this.#processes.get(name)?.pid ?? 0;
  }

  async metric(name: ServiceName, metric: string): Promise<number> {
    const text = await (await fetch(`${this.#processes.get(name)?.metricsUrl}/metrics`)).text();
    const found = text.matchAll(new RegExp(`^${metric}(?:\\{[^}]*\\})? (\\S+)`, 'gm'));
    return [...found].reduce((sum, match) => sum + Number(match[1]), 0);
  }

  /** No transaction in progress, and no rows on either side. */
  async empty(): Promise<void> {
    await this.source.query('ROLLBACK');
    await this.source.query('DELETE FROM doc; DELETE FROM line');
    await this.equal();
  }

  /** Waits until the replica holds what the source holds, then until every tenant is live. @throws what differs */
  async equal(timeoutMs = 180_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const differences = await compareTables(this.source, this.target, ['doc', 'line']).catch(
        (error: unknown) => {
          if (!isUndefinedColumn(error)) throw error;
          return ['its columns change while they are read'];
        },
      );
      const { rows } = await this.target.query<{ tenant: string; feed: string; reason: string | null }>(
        `SELECT tenant, feed, reason FROM drover.tenant WHERE feed <> 'live'`,
      );
      if (differences.length === 0 && rows.length === 0) break;
      if (performance.now() > deadline) {
        const told = JSON.stringify({ differences, rows }, (_, v) =>
          typeof v === 'string' ? v.slice(0, 80) : v,
        );
        throw new Error(`the replica does not come to hold what the source holds: ${told.slice(0, 2000)}`);
      }
      await sleep(100);
    }
    const { rows: ledger } = await this.target.query('SELECT tenant, kind, reason FROM drover.ledger');
    if (ledger.length > 0) throw new Error(`the ledger is not empty: ${JSON.stringify(ledger)}`);
  }

  async waitFor(what: string, probe: () => Promise<boolean>, timeoutMs = 120_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await probe())) {
      if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
      await sleep(20);
    }
  }

  /** Target transactions that were kept open for one at the source. */
  async keptOpen(): Promise<number> {
    const { rows } = await this.target.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name LIKE 'drover apply drover__streamed%' AND backend_xid IS NOT NULL`,
    );
    return rows[0]?.n ?? 0;
  }

  /** SIGKILL of its postmaster; it is back when this resolves. */
  async restartTarget(): Promise<void> {
    this.target = await this.#restart('west', this.target);
  }

  async restartSource(): Promise<void> {
    this.source = await this.#restart('east', this.source);
  }

  async #restart(name: 'east' | 'west', client: pg.Client): Promise<pg.Client> {
    await this.failover.kill(name);
    await client.end().catch(() => undefined);
    await this.failover.servers[name].restart();
    const again = await this.failover.servers[name].connect('app');
    again.on('error', () => undefined);
    return again;
  }

  async count(where = 'true', of: pg.Client = this.target): Promise<number> {
    const { rows } = await of.query<{ n: number }>(`SELECT count(*)::int AS n FROM doc WHERE ${where}`);
    return rows[0]?.n ?? 0;
  }

  async close(): Promise<void> {
    for (const running of this.#processes.values()) {
      const timer = setTimeout(() => void running.kill(), 10_000);
      await running.stop();
      clearTimeout(timer);
    }
    await Promise.all([this.source.end(), this.target.end()].map((p) => p.catch(() => undefined)));
    await this.failover.close();
  }
}

const isUndefinedColumn = (error: unknown): boolean => (error as { code?: unknown }).code === '42703';
