/**
 * The time during which this process holds the cluster's lease: one publisher per partition, one reader per database, and what
 * they tell others. Readers end before publishers, and any of them that must not go on ends all.
 */
import type { SealingKeys } from '@drover/block';
import { type Bus, openPublisher, type Publisher } from '@drover/bus';
import { type ClusterConfig, type Config, roleConnection } from '@drover/config';
import { Closer, DroverError, sleep } from '@drover/core';
import type { Telemetry } from '@drover/telemetry';
import type { PublishRules } from './capture/ruled.ts';
import type { Pace } from './capture/school.ts';
import type { CdcMetrics } from './metrics.ts';
import { DatabaseReader, type ReaderStatus } from './reader/database-reader.ts';
import type { Failpoint } from './reader/pump.ts';
import { QueryProbe } from './reader/query-probe.ts';
import type { ReplicaPositions } from './watch/replica-positions.ts';

export interface SessionOptions {
  readonly config: Config;
  readonly cluster: ClusterConfig;
  readonly bus: Bus;
  readonly telemetry: Telemetry;
  readonly metrics: CdcMetrics;
  /** Null: what the bus has acknowledged is confirmed. */
  readonly replicas: ReplicaPositions | null;
  /** Of sealed tenants. */
  readonly keys: SealingKeys;
  /** Null: everything is published as it is. */
  readonly rules: PublishRules | null;
  readonly failpoint?: (name: Failpoint) => void;
  readonly partBytes?: number;
  readonly pace?: Pace;
  /** Once, when every database is being read. */
  readonly onStreaming: () => void;
}

export interface SessionStatus {
  readonly databases: readonly ReaderStatus[];
  readonly partitions: readonly {
    readonly partition: number;
    readonly state: string;
    /** Why it is not `ready`. */
    readonly reason: string | null;
  }[];
}

const OBSERVE_EVERY_MS = 500;

export class Session {
  readonly #options: SessionOptions;
  #publishers: readonly Publisher[] = [];
  #readers: readonly DatabaseReader[] = [];

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** Resolves when the signal aborts. @throws what makes going on unsafe */
  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const stopAll = () => stop.abort();
    signal.addEventListener('abort', stopAll, { once: true });
    if (signal.aborted) stopAll();
    const closer = new Closer();
    try {
      await this.#open(closer);
      const parts = [...this.#readers.map((reader) => reader.run(stop.signal)), this.#observe(stop.signal)];
      for (const part of parts) part.finally(stopAll).catch(() => {}); // reported below
      const outcomes = await Promise.allSettled(parts);
      const failed = outcomes.find((outcome) => outcome.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    } finally {
      signal.removeEventListener('abort', stopAll);
      await closer.close();
    }
  }

  get status(): SessionStatus {
    return {
      databases: this.#readers.map((reader) => reader.status),
      partitions: this.#publishers.map((publisher, partition) => {
        const { state, reason } = publisher.status();
        return { partition, state, reason };
      }),
    };
  }

  /** Who keeps the database's slot from being confirmed as far as the bus has acknowledged. */
  heldBy(database: string): string | null {
    return this.#readers.find((reader) => reader.database === database)?.heldBy ?? null;
  }

  /** Null when everything works, otherwise the first thing that does not. */
  get trouble(): string | null {
    const { databases, partitions } = this.status;
    if (databases.length === 0) return 'opening the streams';
    const reader = databases.find((database) => database.state !== 'streaming');
    if (reader !== undefined) {
      const code = reader.code === null ? '' : `${reader.code}: `;
      return `database ${reader.database}: ${code}${reader.reason ?? reader.state}`;
    }
    const stuck = partitions.find(({ state }) => state !== 'ready');
    if (stuck === undefined) return null;
    const advice =
      stuck.state === 'full' ? '; raise [nats] max_bytes and run `drover setup`, or free space' : '';
    return `partition ${stuck.partition}: the bus is ${stuck.state}: ${stuck.reason ?? 'no reason given'}${advice}`;
  }

  async #open(closer: Closer): Promise<void> {
    const { config, cluster, bus, telemetry, metrics, replicas, keys, rules } = this.#options;
    const { failpoint, partBytes, pace } = this.#options;
    const publishers: Publisher[] = [];
    for (let partition = 0; partition < config.nats.partitions; partition++) {
      publishers.push(
        closer.add(await openPublisher(bus, { cluster: cluster.name, partition }).catch(unreachable)),
      );
    }
    this.#publishers = publishers;
    const waiting = new Set(cluster.databases);
    this.#readers = cluster.databases.map(
      (database) =>
        new DatabaseReader({
          config,
          cluster: cluster.name,
          database,
          connect: roleConnection(cluster, 'drover_cdc', config.security.secret, database),
          bus,
          publishers,
          heldBytes: Math.floor(config.cdc.inFlightBytes / cluster.databases.length),
          log: telemetry.log,
          metrics,
          replicas,
          keys,
          rules,
          tracer: telemetry.tracer,
          ...(failpoint === undefined ? {} : { failpoint }),
          ...(partBytes === undefined ? {} : { partBytes }),
          ...(pace === undefined ? {} : { pace }),
          onStreaming: () => {
            if (waiting.delete(database) && waiting.size === 0) this.#options.onStreaming();
          },
        }),
    );
  }

  #streamSignal(): 'ok' | 'fail' | 'unknown' {
    if (this.#readers.some((reader) => reader.healthy)) return 'ok';
    return this.#readers.some((reader) => reader.waitsForKey) ? 'unknown' : 'fail';
  }

  /** Says twice a second whether the cluster answers, to whoever decides about failover. */
  async #observe(signal: AbortSignal): Promise<void> {
    const { cluster, bus, config } = this.#options;
    const observer = `cdc-${cluster.name}`;
    const probe = new QueryProbe(roleConnection(cluster, 'drover_cdc', config.security.secret));
    try {
      while (!signal.aborted) {
        const query = (await probe.ask(signal)) ? 'ok' : 'fail';
        const stream = this.#streamSignal();
        const observation = {
          observer,
          kind: 'cdc',
          cluster: cluster.name,
          at: Date.now(),
          signals: { stream, query },
        };
        if (!bus.nc.isClosed()) bus.nc.publish(`drover.health.${observer}`, JSON.stringify(observation));
        await sleep(OBSERVE_EVERY_MS, signal);
      }
    } finally {
      await probe.close();
    }
  }
}

/** What NATS throws when it does not answer has many names and one meaning. */
export function unreachable(cause: unknown): never {
  if (cause instanceof DroverError) throw cause;
  throw new DroverError('bus.unreachable', 'JetStream does not answer', { cause });
}
