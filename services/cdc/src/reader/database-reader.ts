/**
 * Reads one database for as long as the signal lasts. What goes wrong with the source is told (state, log, metric) and tried
 * again; what makes going on unsafe ends the service: a fenced publisher, a broken invariant, a database never set up.
 *
 * Lanes and the groups in flight outlive a connection: after a reconnect the marks tell what the source sends again.
 */

import { Packer, type Relation } from '@drover/block';
import { type Bus, type Publisher, publishEvent, streamName, streamState } from '@drover/bus';
import type { Config } from '@drover/config';
import {
  Backoff,
  type ClusterId,
  cancelled,
  DroverError,
  describeError,
  formatLsn,
  isCancelled,
  LSN_ZERO,
  sleep,
} from '@drover/core';
import {
  type ConnectOptions,
  connectPg,
  PUBLICATION,
  type ReplicationStream,
  slotName,
  startReplication,
} from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import { Assembler } from '../capture/assembler.ts';
import { type Group, Lane } from '../capture/lane.ts';
import {
  checkIdentity,
  checkStream,
  type FoundMarks,
  resumeFrom,
  type SourceFacts,
} from '../capture/resume.ts';
import type { UnassignedReason } from '../capture/tenant-directory.ts';
import type { CdcMetrics } from '../metrics.ts';
import { readDatabaseMarks } from './found-marks.ts';
import { type Failpoint, type LaneFeed, Pump } from './pump.ts';
import { type Facts, readFacts } from './source-facts.ts';
import { beat, type SlotHealth, watchSlot } from './source-loops.ts';
import { type Tracer, traceGroup } from './trace.ts';

export interface DatabaseReaderOptions {
  readonly config: Config;
  readonly cluster: ClusterId;
  readonly database: string;
  readonly connect: ConnectOptions;
  readonly bus: Bus;
  /** One per partition, in order. */
  readonly publishers: readonly Publisher[];
  /** Other databases publish to the same streams. */
  readonly shared: boolean;
  readonly heldBytes: number;
  readonly log: Logger;
  readonly metrics: CdcMetrics;
  readonly tracer: Tracer;
  readonly failpoint?: (name: Failpoint) => void;
  readonly partBytes?: number;
  /** Called each time the stream is up. */
  readonly onStreaming?: () => void;
}

export type ReaderState = 'connecting' | 'streaming' | 'failed' | 'stopped';

export interface ReaderStatus {
  readonly database: string;
  readonly state: ReaderState;
  /** Why it is not streaming. */
  readonly reason: string | null;
  readonly code: string | null;
  readonly generation: number | null;
  readonly confirmedLsn: string | null;
  readonly heldBytes: number;
  readonly inFlightBytes: number;
  readonly paused: boolean;
  readonly slot: SlotHealth | null;
}

const RETRY_RESYNC_MS = 3000;

export class DatabaseReader {
  readonly #options: DatabaseReaderOptions;
  readonly #labels: { readonly cluster: string; readonly database: string };
  readonly #log: Logger;
  readonly #backoff = new Backoff(200, 3000);
  readonly #told = new Set<string>();
  #state: ReaderState = 'connecting';
  #error: DroverError | null = null;
  #feeds: readonly LaneFeed[] = [];
  #generation: number | null = null;
  readonly #packer: Packer;
  #packed = { rawBytes: 0, faults: 0 };
  #pump: Pump | null = null;
  #slot: SlotHealth | null = null;
  #everStreamed = false;
  #lastHeartbeatMs = 0;
  /** Of this stream's paused seconds, what the metric has. */
  #pausedCounted = 0;

  constructor(options: DatabaseReaderOptions) {
    this.#options = options;
    this.#packer = new Packer(options.config.cdc.compression);
    this.#labels = { cluster: options.cluster, database: options.database };
    this.#log = options.log.child(this.#labels);
  }

  /** Resolves when the signal aborts. @throws what makes going on unsafe */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        this.#options.metrics.streaming.set(0, this.#labels);
        try {
          await this.#stream(signal);
          if (!signal.aborted) throw new DroverError('pg.unreachable', 'the replication stream ended');
        } catch (error) {
          if (signal.aborted || isCancelled(error)) return;
          if (this.#isFatal(error)) throw error;
          await sleep(this.#failed(error as DroverError), signal); // anything else is fatal
        }
      }
    } finally {
      this.#state = 'stopped';
      this.#pump = null;
    }
  }

  /** The stream is up and the heartbeats written to the source come back on it (a pause for the bus's sake counts as up). */
  get healthy(): boolean {
    if (this.#state !== 'streaming') return false;
    const patienceMs = Math.max(3000, 3 * this.#options.config.cdc.heartbeatMs);
    return this.#pump?.paused === true || performance.now() - this.#lastHeartbeatMs < patienceMs;
  }

  get status(): ReaderStatus {
    const pump = this.#pump;
    return {
      database: this.#options.database,
      state: this.#state,
      reason: this.#error === null ? null : describeError(this.#error),
      code: this.#error?.code ?? null,
      generation: this.#generation,
      confirmedLsn: pump === null ? null : formatLsn(pump.confirmed),
      heldBytes: pump?.heldBytes ?? 0,
      inFlightBytes: pump?.inFlightBytes ?? 0,
      paused: pump?.paused ?? false,
      slot: this.#slot,
    };
  }

  #isFatal(error: unknown): boolean {
    if (!(error instanceof DroverError)) return true;
    if (error.disposition !== 'fatal') return false;
    return !(this.#everStreamed && error.code.startsWith('pg.'));
  }

  /** Tells it, once per kind, and returns how long to wait. */
  #failed(error: DroverError): number {
    if (this.#error?.code !== error.code) {
      const fields = { error: describeError(error), code: error.code, ...error.facts };
      if (error.disposition === 'resync') this.#log.error('reader stopped until an operator acts', fields);
      else this.#log.warn('reader lost its source', fields);
      this.#tell('failed', fields);
    }
    this.#state = 'failed';
    this.#error = error;
    this.#pump = null;
    return error.disposition === 'resync' ? RETRY_RESYNC_MS : this.#backoff.nextMs();
  }

  async #stream(signal: AbortSignal): Promise<void> {
    const { connect, cluster, database, config } = this.#options;
    const here = new AbortController();
    const stopHere = () => here.abort();
    signal.addEventListener('abort', stopHere, { once: true });
    const client = await connectPg({ ...connect, applicationName: 'drover cdc', statementTimeoutMs: 10_000 });
    let stream: ReplicationStream | null = null;
    try {
      const facts = await readFacts(client, database, cluster);
      stream = await startReplication({
        connect: { ...connect, applicationName: 'drover cdc' },
        slot: slotName(database),
        publication: PUBLICATION,
        startLsn: LSN_ZERO,
        protoVersion: 1,
        messages: true,
        origin: 'none',
        binary: true,
        signal: here.signal,
      });
      const pump = await this.#prepare(stream, facts);
      if (signal.aborted) throw cancelled();
      this.#streaming();
      const loops = [
        beat(client, config.cdc.heartbeatMs, here.signal, (lsn, atMs) => pump.sourceAt(lsn, atMs)),
        watchSlot(client, slotName(database), here.signal, (health) => this.#observe(health)),
      ];
      // The first to end ends the others: a broken side connection is as good a reason to start over as a broken stream.
      await Promise.race([pump.run(), ...loops]).finally(stopHere);
      await Promise.allSettled(loops);
    } finally {
      signal.removeEventListener('abort', stopHere);
      stopHere();
      await stream?.close();
      await client.end().catch(() => {});
    }
  }

  async #prepare(stream: ReplicationStream, facts: Facts): Promise<Pump> {
    const { config, database, metrics } = this.#options;
    const { systemId } = stream;
    const source: SourceFacts = { ...facts, database, systemId, confirmedLsn: stream.slot.confirmedFlush };
    checkIdentity(source);
    if (this.#generation !== source.generation || this.#feeds.length === 0) await this.#openLanes(source);
    for (const { lane } of this.#feeds) lane.discard();
    let pump: Pump | null = null;
    const assembler = new Assembler({
      lanes: this.#feeds.map((feed) => feed.lane),
      epochs: facts.epochs,
      plan: { tagging: config.tagging, database, types: facts.types },
      events: {
        onCut: (lane) => pump?.cut(lane),
        onUnassigned: (reason, relation, why) => this.#unassigned(reason, relation, why),
        onMessage: (message) => {
          if (message.kind === 'heartbeat') this.#lastHeartbeatMs = performance.now();
        },
      },
      ...(this.#options.partBytes === undefined ? {} : { partBytes: this.#options.partBytes }),
    });
    const counted = { rows: 0, transactions: 0, resent: 0, moves: 0 };
    pump = new Pump({
      stream,
      assembler,
      feeds: this.#feeds,
      limits: { ...config.cdc, heldBytes: this.#options.heldBytes },
      nowMs: () => performance.now(),
      ...(this.#options.failpoint === undefined ? {} : { failpoint: this.#options.failpoint }),
      onAck: (group, seconds) => {
        metrics.blocks.add(group.messages.length, this.#labels);
        metrics.bytes.add(group.bytes, this.#labels);
        metrics.ackSeconds.record(seconds, this.#labels);
        this.#countPacked();
        for (const key of ['rows', 'transactions', 'resent', 'moves'] as const) {
          metrics[key].add(assembler.counts[key] - counted[key], this.#labels);
          counted[key] = assembler.counts[key];
        }
      },
    });
    this.#pump = pump;
    this.#pausedCounted = 0;
    return pump;
  }

  #countPacked(): void {
    const { metrics } = this.#options;
    const { rawBytes, faults, lastFault } = this.#packer;
    metrics.rawBytes.add(rawBytes - this.#packed.rawBytes, this.#labels);
    metrics.faults.add(faults - this.#packed.faults, this.#labels);
    if (faults > this.#packed.faults)
      this.#log.error('a fault in the encoding as columns', { error: describeError(lastFault) });
    this.#packed = { rawBytes, faults };
  }

  async #openLanes(source: SourceFacts): Promise<void> {
    const { publishers, cluster, database, bus, shared, tracer } = this.#options;
    const first = this.#generation === null;
    const feeds: LaneFeed[] = [];
    for (const [partition, publisher] of publishers.entries()) {
      let found: FoundMarks | null = null;
      if (first)
        found = shared ? await readDatabaseMarks(bus, { cluster, partition, database }) : publisher.resume;
      const lastSeq = (await streamState(bus, cluster, partition))?.lastSeq ?? 0;
      if (first) checkStream({ name: streamName(cluster, partition), lastSeq }, source);
      const identity = {
        source: cluster,
        database,
        systemId: source.systemId,
        generation: source.generation,
      };
      const lane = new Lane(partition, identity, resumeFrom(found, source), this.#packer);
      const publish = (group: Group) =>
        traceGroup(tracer, group, (m) => publisher.publishGroup(m, group.safeLsn));
      feeds.push({ lane, inFlight: [], fed: lastSeq > 0, oldestAtMs: 0, notify: () => {}, publish });
    }
    this.#feeds = feeds;
    this.#generation = source.generation;
  }

  #streaming(): void {
    if (!this.#everStreamed || this.#error !== null) {
      this.#log.info('reading', { generation: this.#generation });
      this.#tell('streaming', { generation: this.#generation });
    }
    this.#everStreamed = true;
    this.#error = null;
    this.#state = 'streaming';
    this.#lastHeartbeatMs = performance.now();
    this.#backoff.reset();
    this.#options.metrics.streaming.set(1, this.#labels);
    this.#options.onStreaming?.();
  }

  #tell(state: ReaderState, fields: Readonly<Record<string, unknown>>): void {
    const { bus } = this.#options;
    if (!bus.nc.isClosed()) publishEvent(bus, 'cdc.reader', { ...this.#labels, state, ...fields });
  }

  #observe(health: SlotHealth): void {
    this.#slot = health;
    const { metrics } = this.#options;
    metrics.confirmedLag.set(health.confirmedLagBytes, this.#labels);
    metrics.retained.set(health.retainedBytes, this.#labels);
    metrics.safeWal.set(health.safeWalBytes ?? -1, this.#labels);
    metrics.held.set(this.#pump?.heldBytes ?? 0, this.#labels);
    metrics.inFlight.set(this.#pump?.inFlightBytes ?? 0, this.#labels);
    const pausedSeconds = this.#pump?.pausedSeconds ?? 0;
    metrics.paused.add(Math.max(0, pausedSeconds - this.#pausedCounted), this.#labels);
    this.#pausedCounted = pausedSeconds;
  }

  #unassigned(reason: UnassignedReason, relation: Relation, why: string): void {
    this.#options.metrics.unassigned.add(1, { ...this.#labels, reason });
    const table = `${relation.schema}.${relation.name}`;
    const key = `${reason} ${table}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    this.#log[reason === 'null_tenant' ? 'warn' : 'error']('change without a tenant', { table, reason, why });
  }
}
