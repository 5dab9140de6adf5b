/** West follows east, and nothing else goes on: what is written at east is waited for at west. */
import { until } from '@drover/core';
import type pg from 'pg';
import type { inProcess } from './services.ts';
import { type Clusters, TwoClusters } from './two-clusters.ts';

const SETTLE_MS = 180_000;

/** The connections of a test. */
export interface Sessions {
  /** Where the application writes. */
  readonly source: pg.Client;
  /** As the superuser. */
  readonly target: pg.Client;
  /** As the superuser, at the source; may be `source`. */
  readonly root: pg.Client;
}

export class Replica extends TwoClusters implements Sessions {
  readonly source: pg.Client;
  readonly target: pg.Client;
  readonly root: pg.Client;

  constructor(clusters: Clusters, sessions: Sessions, start?: typeof inProcess) {
    super(clusters, start);
    this.source = sessions.source;
    this.target = sessions.target;
    this.root = sessions.root;
  }

  /** Served by east, followed by west from here on. */
  async tenant(...names: string[]): Promise<void> {
    for (const name of names) {
      const shared = name.startsWith('_');
      if (!shared) await this.root.query('SELECT drover.open_tenant($1, 1)', [name]);
      await this.target.query(`SELECT drover.follow_tenant($1, $2, 'east', 'live', NULL, NULL, NULL)`, [
        name,
        shared ? 0 : 1,
      ]);
    }
  }

  /** At the source, each by itself (several statements of one text are one transaction). */
  async write(...statements: string[]): Promise<void> {
    for (const sql of statements) {
      try {
        await this.source.query(sql);
      } catch (error) {
        await this.source.query('ROLLBACK').catch(() => undefined);
        throw new Error(`${(error as Error).message}: ${sql.slice(0, 500)}`, { cause: error });
      }
    }
  }

  /** Everything that has been committed at the source is applied, schema changes to their end, or its tenant stopped. */
  async settled(timeoutMs = SETTLE_MS): Promise<void> {
    const { partitions } = this.config.nats;
    const { rows } = await this.source.query<{ ms: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms',
    );
    const ms = (rows[0]?.ms ?? 0) + 1;
    let state: unknown;
    await until(
      async () => {
        const found = await this.target.query<{ passed: number; lanes: number; pending: number }>(
          `SELECT (SELECT count(*)::int FROM drover.stream_position WHERE extract(epoch FROM commit_time) * 1000 > $1) AS passed,
             (SELECT count(*)::int FROM drover.tenant WHERE feed = 'catchup') AS lanes,
             (SELECT count(*)::int FROM drover.ddl_step WHERE status = 'pending' AND reason IS NULL) AS pending,
             (SELECT json_agg(s.*) FROM drover.ddl_step s WHERE status <> 'done') AS steps`,
          [ms],
        );
        [state] = found.rows;
        const { passed = 0, lanes = 0, pending = 0 } = found.rows[0] ?? {};
        return (passed === partitions && lanes === 0 && pending === 0) || undefined;
      },
      { everyMs: 20, timeoutMs, onTimeout: () => new Error(`not settled: ${JSON.stringify(state)}`) },
    );
  }

  /** Tenants that stopped, with the reason. */
  async stopped(): Promise<{ tenant: string; reason: string }[]> {
    const { rows } = await this.target.query<{ tenant: string; reason: string }>(
      `SELECT tenant, reason FROM drover.tenant WHERE feed NOT IN ('live', 'catchup') ORDER BY tenant`,
    );
    return rows;
  }

  /** {@link settled}, and nobody was stopped. */
  async passed(): Promise<void> {
    await this.settled();
    const stopped = await this.stopped();
    if (stopped.length > 0) throw new Error(`stopped: ${JSON.stringify(stopped).slice(0, 2000)}`);
  }
}
