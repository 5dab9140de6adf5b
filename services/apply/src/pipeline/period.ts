/** What runs while the lease of a target cluster is held: its pipelines and look-outs, and what they know about their tenants. */
import { availableParallelism } from 'node:os';
import { KnownRelations } from '@drover/block';
import { type Bus, publishEvent, readProfileMessage } from '@drover/bus';
import { type ClusterConfig, type Config, roleConnection } from '@drover/config';
import { formatLsn, must, type TenantId, Turns } from '@drover/core';
import { originName, PgPool } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { Rule } from '@drover/transform';
import type { BatchResult } from '../apply/batch.ts';
import { ProfileCache, ProfileFetcher } from '../changes/profiles.ts';
import { TargetRules } from '../changes/target-rules.ts';
import { type FetchedKeys, KeyFetcher } from '../changes/unseal.ts';
import { Board } from '../ddl/board.ts';
import type { ApplyMetrics, TenantLag } from '../metrics.ts';
import { StreamedSlots } from '../streamed/slots.ts';
import { UpdateTurns } from '../target/update-turns.ts';
import { reportDurable } from './durable.ts';
import { Feeds } from './feeds.ts';
import { lagSeconds } from './freshness.ts';
import { Pipeline } from './pipeline.ts';
import { reopenSealed } from './reopen.ts';

/** Large batches of updates at once in a database: half of the cores, the others decode and prepare. */
const UPDATES_AT_ONCE = Math.max(1, availableParallelism() >> 1);
/** Tenants in catch-up named in the state of a pipeline; all are counted. */
const LANES_TOLD_MAX = 100;
/** What a person can read; the whole stands in the ledger. */
const REASON_LENGTH_MAX = 1000;

export interface PeriodOptions {
  readonly config: Config;
  readonly target: ClusterConfig;
  readonly bus: Bus;
  readonly log: Logger;
  readonly metrics: ApplyMetrics;
  /** Of sealed tenants. */
  readonly keys: FetchedKeys & { isSealed(tenant: TenantId): boolean };
  readonly rules: readonly Rule[];
  readonly tierOf: (tenant: TenantId) => string | undefined;
  /** A tenant's share of the work beside others. */
  readonly weightOf: (tenant: string) => number;
  /** Called after each committed transaction. */
  readonly traced: (result: BatchResult, seconds: number) => void;
  readonly failpoint: ((step: string) => Promise<void> | void) | undefined;
}

export class Period {
  readonly #options: PeriodOptions;
  readonly #pipelines: Pipeline[] = [];
  readonly #slots = new StreamedSlots();
  readonly #unsealing: KeyFetcher;
  readonly #turns = new Turns({ atOnce: Math.max(2, availableParallelism()) });
  readonly #feeds = new Map<string, Feeds>();

  constructor(options: PeriodOptions) {
    this.#options = options;
    this.#unsealing = new KeyFetcher(options.keys);
    for (const database of options.target.databases) this.#add(database);
  }

  /** Why some pipeline does not run, or null. */
  get error(): string | null {
    return this.#pipelines.find((p) => p.error !== null)?.error ?? null;
  }

  get pipelines(): number {
    return this.#pipelines.length;
  }

  /** Until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const parts = [...this.#feeds.values(), ...this.#pipelines].map((part) => part.run(signal));
    await Promise.all([...parts, ...this.#reports(signal)]);
  }

  /** Nobody waits for them where the bus alone decides what a source may forget. */
  #reports(signal: AbortSignal): Promise<void>[] {
    const { config, target, bus, log } = this.#options;
    if (config.nats.durability !== 'applied') return [];
    return target.databases.map(async (database) => {
      const connect = roleConnection(target, 'drover_apply', config.security.secret, database);
      const pool = new PgPool({ ...connect, applicationName: 'drover apply durable', max: 1 });
      const pipelines = this.#pipelines.filter(({ deps }) => deps.database === database);
      const { partitions } = config.nats;
      try {
        await reportDurable(
          { bus, cluster: target.name, database, partitions, pool, pipelines, log },
          signal,
        );
      } finally {
        await pool.close();
      }
    });
  }

  nudge(): void {
    for (const feeds of this.#feeds.values()) feeds.nudge();
  }

  /** Of every tenant, or of one. */
  async lag(tenant?: string): Promise<TenantLag[]> {
    const all: TenantLag[] = [];
    for (const [database, feeds] of this.#feeds) {
      for (const state of await feeds.states(tenant)) {
        if (state.role !== 'replica') continue;
        const pipeline = this.#pipelines.find((p) => p.feeds(database, state));
        all.push({
          tenant: state.tenant,
          source: state.source,
          epoch: state.epoch,
          feed: state.feed,
          lagSeconds: lagSeconds({
            nowMs: Date.now(),
            feed: state.feed,
            commitTimeMs: state.commitTimeMs,
            heartbeatMs: pipeline?.freshness.heartbeatMs ?? 0,
          }),
          commitLsn: state.commitLsn === null ? null : formatLsn(state.commitLsn),
          pending: pipeline?.pending ?? 0,
          reason: state.reason?.slice(0, REASON_LENGTH_MAX) ?? null,
        });
      }
    }
    return all;
  }

  /** Of each pipeline. */
  status(): readonly unknown[] {
    return this.#pipelines.map((p) => ({
      source: p.deps.source,
      partition: p.deps.partition,
      database: p.deps.database,
      streamSeq: p.position,
      pending: p.pending,
      heartbeatAt: p.freshness.heartbeatMs === 0 ? null : new Date(p.freshness.heartbeatMs).toISOString(),
      lanes: p.lanes.slice(0, LANES_TOLD_MAX),
      waiting: p.lanes.length,
      error: p.error,
    }));
  }

  #add(database: string): void {
    const { config, target, bus, log, metrics, keys, weightOf } = this.#options;
    const { traced, failpoint } = this.#options;
    const { nats, apply } = config;
    const cluster = target.name;
    const connect = roleConnection(target, 'drover_apply', config.security.secret, database);
    const feeds = new Feeds({
      connect,
      partitions: nats.partitions,
      log,
      reopen: (pool) => reopenSealed(pool, keys, log),
      wantLane: (source, partition, tenant) => {
        const isFor = ({ deps: d }: Pipeline): boolean =>
          d.source === source && d.partition === partition && d.database === database;
        this.#pipelines.find(isFor)?.wantLane(tenant);
      },
    });
    this.#feeds.set(database, feeds);
    const { tagging, security } = config;
    const { rules: all, tierOf } = this.#options;
    const rules = TargetRules.of({ rules: all, secret: security.secret, tagging, database, cluster, tierOf });
    const updateTurns = Array.from({ length: UPDATES_AT_ONCE }, (_, key) => new UpdateTurns(key));
    for (const { name: source } of config.clusters) {
      if (source === cluster) continue;
      const board = new Board(nats.partitions);
      const profiles = new ProfileCache();
      for (let partition = 0; partition < nats.partitions; partition++) {
        const origin = originName(source, partition);
        this.#pipelines.push(
          new Pipeline({
            bus,
            log: log.child({ source, partition, database }),
            cluster,
            source,
            partition,
            partitions: nats.partitions,
            database,
            connect,
            // Origins are the whole server's: those of further databases carry the database's name.
            origin: database === target.databases[0] ? origin : `${origin}_${database}`,
            board,
            slots: this.#slots,
            unsealing: this.#unsealing,
            profiling: new ProfileFetcher({
              cache: profiles,
              partition,
              database,
              read: (seq) => readProfileMessage(bus, { cluster: source, partition }, seq),
              unsealing: this.#unsealing,
              fetched: () => metrics.fetchedProfile(source),
            }),
            relations: new KnownRelations(),
            rules,
            turns: this.#turns,
            updateTurns: must(updateTurns[partition % updateTurns.length], 'turns'),
            weightOf,
            batchBytes: apply.batchBytes,
            lingerMs: apply.lingerMs,
            durability: nats.durability,
            stream: { replicas: nats.replicas, maxBytes: nats.maxBytes, maxAgeMs: nats.maxAgeMs },
            applied: (result, seconds) => {
              metrics.applied(source, result, seconds);
              traced(result, seconds);
              for (const { tenant, reason } of result.parked) {
                // Events are kept, and errors may quote values.
                const told = keys.isSealed(tenant as TenantId) ? reason.replace(/:.*/s, '') : reason;
                publishEvent(bus, 'apply.parked', { cluster, source, tenant, reason: told });
              }
            },
            paused: (pause) => feeds.paused(pause),
            ...(failpoint === undefined ? {} : { failpoint }),
          }),
        );
      }
    }
  }
}
