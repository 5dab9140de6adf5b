/**
 * Reads one database for as long as the signal lasts. What goes wrong with the source is told (state, log, metric) and tried
 * again; what makes going on unsafe ends the service: a fenced publisher, a broken invariant, a database never set up.
 *
 * Lanes and the groups in flight outlive a connection: after a reconnect the marks tell what the source sends again.
 *
 * Longer than our files are: it wires the parts of one reading and outlives each of them; what they decide stands in files of their own beside it.
 */

import { randomBytes } from 'node:crypto';
import type { Relation } from '@drover/block';
import { Packer, Sealer, type SealingKeys } from '@drover/block';
import { type Bus, type OutMessage, type Publisher, publishEvent } from '@drover/bus';
import type { Config } from '@drover/config';
import {
  assert,
  Backoff,
  type ClusterId,
  cancelled,
  DroverError,
  describeError,
  formatLsn,
  isCancelled,
  LSN_ZERO,
  type Lsn,
  maxLsn,
  sleep,
  type TenantId,
} from '@drover/core';
import {
  type ConnectOptions,
  connectPg,
  discard,
  PUBLICATION,
  type Queryable,
  type ReplicationStream,
  readTables,
  slotName,
  startReplication,
  type TableInfo,
} from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import { Assembler } from '../capture/assembler.ts';
import type { Group } from '../capture/lane.ts';
import { Profiles } from '../capture/profiles.ts';
import { checkIdentity, checkSameSystem, type SourceFacts } from '../capture/resume.ts';
import { type PublishRules, RuledRows } from '../capture/ruled.ts';
import { RuledMemory } from '../capture/ruled-memory.ts';
import type { Pace } from '../capture/school.ts';
import { NotStreamed } from '../capture/streamed.ts';
import type { UnassignedReason } from '../capture/tenant-directory.ts';
import type { CdcMetrics } from '../metrics.ts';
import { type StoredMark, writeRecord } from '../watch/reader-record.ts';
import type { Bound, Lineage, ReplicaPositions } from '../watch/replica-positions.ts';
import { FormChoice } from './form-choice.ts';
import { KeyWait, sealedTenantOf } from './key-wait.ts';
import { ThreadLearner } from './learner.ts';
import { openLanes } from './open-lanes.ts';
import { inTime } from './patience.ts';
import { type Failpoint, type LaneFeed, Pump } from './pump.ts';
import { sourceError } from './source-error.ts';
import { type Facts, readFacts } from './source-facts.ts';
import { beat } from './source-loops.ts';
import { type Tracer, traceGroup } from './trace.ts';
import { checkHistory, checkSlot } from './validate.ts';

export interface DatabaseReaderOptions {
  readonly config: Config;
  readonly cluster: ClusterId;
  readonly database: string;
  readonly connect: ConnectOptions;
  readonly bus: Bus;
  /** One per partition, in order. */
  readonly publishers: readonly Publisher[];
  readonly heldBytes: number;
  readonly log: Logger;
  readonly metrics: CdcMetrics;
  /** Null: no span is made. */
  readonly tracer: Tracer | null;
  /** Null: what the bus has acknowledged is confirmed. */
  readonly replicas: ReplicaPositions | null;
  readonly keys: SealingKeys;
  /** Null: everything is published as it is. */
  readonly rules: PublishRules | null;
  readonly failpoint?: (name: Failpoint) => void;
  readonly partBytes?: number;
  readonly pace?: Pace;
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
  /** Who keeps the slot from being confirmed as far as the bus has acknowledged; null: nobody. */
  readonly heldBy: string | null;
  /** Tenants whose rows are withheld, because their keys cannot be had. */
  readonly keyless: readonly string[];
}

const RETRY_RESYNC_MS = 3000;
/** A piece is written at the replica in one go, which costs some milliseconds whatever is in it: it has this share of what is streamed at least. */
const STREAMED_PIECES = 64;
const LAST_WORDS_MS = 1000;
const KEYLESS_TOLD_MAX = 100;

export class DatabaseReader {
  readonly #options: DatabaseReaderOptions;
  readonly #labels: { readonly cluster: string; readonly database: string };
  readonly #log: Logger;
  readonly #backoff = new Backoff(200, 3000);
  readonly #told = new Set<string>();
  #state: ReaderState = 'connecting';
  #error: DroverError | null = null;
  #feeds: readonly LaneFeed[] = [];
  /** Of the slot that the lanes are of. */
  #lineage: Lineage | null = null;
  readonly #packer: Packer;
  readonly #sealer: Sealer;
  readonly #learner: ThreadLearner;
  readonly #profiles: Profiles;
  #packed = { rawBytes: 0, faults: 0, sealed: 0, profiled: 0, unlearnt: 0 };
  #pump: Pump | null = null;
  #everStreamed = false;
  #lastHeartbeatMs = 0;
  /** What the newest record of this reader in the source covers: nothing beyond it is confirmed. */
  #recorded: Lsn = LSN_ZERO;
  /** Transactions come whole until this commit is confirmed; see {@link NotStreamed}. */
  #wholeUntil: Lsn | null = null;
  /** Lives as long as the reader: what is learnt is never forgotten. */
  readonly #ruled = new RuledMemory();
  readonly #form = new FormChoice();
  readonly #keyWait: KeyWait;
  /** Of this stream's paused seconds, what the metric has. */
  #pausedCounted = 0;

  constructor(options: DatabaseReaderOptions) {
    this.#options = options;
    this.#sealer = new Sealer(options.keys);
    this.#learner = new ThreadLearner(options.database);
    this.#profiles = new Profiles({
      learner: this.#learner,
      nowMs: () => performance.now(),
      maxAgeMs: options.config.nats.maxAgeMs,
      flows: (partition) => options.publishers[partition]?.state() === 'ready',
      ...(options.pace === undefined ? {} : { pace: options.pace }),
    });
    this.#packer = new Packer(options.config.cdc.compression, this.#sealer, this.#profiles);
    this.#labels = { cluster: options.cluster, database: options.database };
    this.#log = options.log.child(this.#labels);
    this.#keyWait = new KeyWait({
      keys: options.keys,
      patienceMs: options.config.cdc.keyPatienceMs,
      log: this.#log,
      onCount: (tenants) => options.metrics.keyMissing.set(tenants, this.#labels),
    });
  }

  /** Resolves when the signal aborts. @throws what makes going on unsafe */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        this.#options.metrics.streaming.set(0, this.#labels);
        try {
          await this.#stream(signal);
          if (!signal.aborted) throw new DroverError('pg.unreachable', 'the replication stream ended');
        } catch (caught) {
          if (signal.aborted || isCancelled(caught)) return;
          const error = sourceError(caught, this.#options.connect);
          if (error instanceof NotStreamed) {
            this.#wholeUntil = error.until;
            const until = error.until === null ? null : formatLsn(error.until);
            this.#log.info('the source is read anew', { streaming: until === null, until });
            continue;
          }
          if (this.#form.learns(error)) continue;
          if (this.#isFatal(error)) throw error;
          if (await this.#keyAgain(error, signal)) continue;
          await sleep(this.#failed(error as DroverError), signal); // anything else is fatal
        }
      }
    } finally {
      this.#state = 'stopped';
      this.#pump = null;
      await this.#learner.close();
    }
  }

  /** The stream is up and the heartbeats written to the source come back on it (a pause for the bus's sake counts as up). */
  get healthy(): boolean {
    if (this.#state !== 'streaming') return false;
    const patienceMs = Math.max(3000, 3 * this.#options.config.cdc.heartbeatMs);
    return this.#pump?.paused === true || performance.now() - this.#lastHeartbeatMs < patienceMs;
  }

  /** It cannot say how the source is: it stands still for a key. */
  get waitsForKey(): boolean {
    return this.#state === 'failed' && this.#error?.code === 'key.unavailable';
  }

  get status(): ReaderStatus {
    const pump = this.#pump;
    return {
      database: this.#options.database,
      state: this.#state,
      reason: this.#error === null ? null : describeError(this.#error),
      code: this.#error?.code ?? null,
      generation: this.#lineage?.generation ?? null,
      confirmedLsn: pump === null ? null : formatLsn(pump.confirmed),
      heldBytes: pump?.heldBytes ?? 0,
      inFlightBytes: pump?.inFlightBytes ?? 0,
      paused: pump?.paused ?? false,
      heldBy: this.heldBy,
      keyless: [...this.#keyWait.withheld].slice(0, KEYLESS_TOLD_MAX),
    };
  }

  get database(): string {
    return this.#options.database;
  }

  get heldBy(): string | null {
    const pump = this.#pump;
    const bound = this.#bound();
    if (pump === null || bound === undefined) return null;
    return bound.lsn === null || bound.lsn < pump.acknowledged ? bound.heldBy : null;
  }

  #bound(): Bound | undefined {
    const { replicas, database } = this.#options;
    const lineage = this.#lineage;
    return lineage === null ? undefined : replicas?.bound(database, lineage);
  }

  #isFatal(error: unknown): boolean {
    if (!(error instanceof DroverError)) return true;
    if (error.code === 'bus.lost') return true; // the publisher is dead, and whoever opens another must look again
    if (error.disposition !== 'fatal') return false;
    return !(this.#everStreamed && error.code.startsWith('pg.'));
  }

  /** True: a tenant's key was missing, and is there or not waited for any more, or the signal has aborted. */
  async #keyAgain(error: unknown, signal: AbortSignal): Promise<boolean> {
    const tenant = sealedTenantOf(error);
    if (tenant === null) return false;
    this.#failed(error as DroverError); // told once: only its reason may change
    await this.#keyWait.wait(tenant, signal, (now) => this.#failed(now));
    return true;
  }

  /** Tells it, once per kind, and returns how long to wait. */
  #failed(error: DroverError): number {
    if (this.#error?.code !== error.code) {
      const fields = { error: describeError(error), code: error.code, ...error.facts };
      if (error.disposition === 'resync') this.#log.error('reader stopped until an operator acts', fields);
      else if (error.code === 'key.unavailable')
        this.#log.error('reader waits for the key of a tenant', fields);
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
    let record = async () => {};
    let beats = Promise.resolve();
    let offBound: (() => void) | undefined;
    try {
      const facts = await readFacts(client, database, cluster);
      const form = this.#form.of(facts);
      const { chunkBytes, streamAboveBytes } = config.cdc;
      stream = await startReplication({
        connect: { ...connect, applicationName: 'drover cdc' },
        slot: slotName(database),
        publication: PUBLICATION,
        startLsn: LSN_ZERO,
        protoVersion: 2,
        ...(this.#wholeUntil === null ? { decodeBytes: Math.min(chunkBytes, streamAboveBytes) } : {}),
        messages: true,
        origin: 'none',
        binary: form === 'binary',
        ...(facts.record === null ? {} : { knownTimeline: facts.record.timeline }),
        signal: here.signal,
      });
      const tables = await this.#recall(client);
      const pump = await this.#prepare(stream, facts, tables);
      if (signal.aborted) throw cancelled();
      const open = this.#feeds.flatMap(({ lane }) => lane.marks.incomplete ?? []);
      this.#form.require(form, facts, open);
      this.#streaming();
      offBound = this.#options.replicas?.onChange(() => pump.boundMoved());
      const { timeline } = stream;
      record = async () => {
        // Whatever was acknowledged by now is stored up to what the record names: a loss of it will be found out.
        const { acknowledged } = pump;
        const written = { ...facts.lineage, timeline, streams: this.#stored(facts), form };
        const walLsn = await writeRecord(client, written);
        await this.#ruled.write(client);
        this.#recorded = acknowledged < walLsn ? acknowledged : walLsn;
        pump.boundMoved();
      };
      beats = beat(client, config.cdc.heartbeatMs, here.signal, async (lsn, atMs) => {
        pump.sourceAt(lsn, atMs);
        if (this.#wholeUntil !== null && pump.confirmed > this.#wholeUntil) throw new NotStreamed(null);
        await this.#form.look(client, form, pump.confirmed);
        this.#observe(pump);
        this.#keyWait.look();
        await record();
      });
      // The first to end ends the other: a broken side connection is as good a reason to start over as a broken stream.
      await Promise.race([pump.run(), beats]).finally(stopHere);
    } finally {
      signal.removeEventListener('abort', stopHere);
      stopHere();
      offBound?.();
      await stream?.close();
      if (signal.aborted) await inTime(record(), LAST_WORDS_MS).catch(() => {}); // the last confirmation is in it
      await discard(client); // may be half open
      await Promise.allSettled([beats]);
    }
  }

  /** Tables as they are now; none where there are no rules. */
  async #recall(client: Queryable): Promise<readonly TableInfo[]> {
    if (this.#options.rules === null) return [];
    await this.#ruled.read(client);
    return readTables(client);
  }

  async #prepare(stream: ReplicationStream, facts: Facts, tables: readonly TableInfo[]): Promise<Pump> {
    const { config, database, metrics } = this.#options;
    const { systemId } = stream;
    const source: SourceFacts = { ...facts, database, systemId, confirmedLsn: stream.slot.confirmedFlush };
    checkIdentity(source);
    checkSameSystem(this.#lineage, source);
    checkSlot(source, stream.slot, facts.record);
    if (this.#lineage?.generation !== source.generation || this.#feeds.length === 0)
      await this.#openLanes(source, facts);
    checkHistory({
      database,
      timeline: stream.timeline,
      knownTimeline: facts.record?.timeline ?? null,
      branchedAt: stream.branchedAt,
      walEnd: facts.walEnd,
      published: this.#feeds.reduce((max, { lane }) => maxLsn(max, lane.marks.highest), LSN_ZERO),
    });
    const attempt = randomBytes(6).toString('hex');
    const plan = { tagging: config.tagging, database, types: facts.types };
    const given = this.#options.rules;
    const rules = given === null ? null : new RuledRows({ ...given, ...plan, memory: this.#ruled });
    rules?.seed(tables);
    for (const { lane } of this.#feeds) {
      lane.discard();
      lane.attempt = attempt;
    }
    let pump: Pump | null = null;
    const assembler = new Assembler({
      lanes: this.#feeds.map((feed) => feed.lane),
      attempt,
      leastBytes: config.cdc.streamAboveBytes / STREAMED_PIECES,
      epochs: facts.epochs,
      plan: { ...plan, rules },
      events: {
        onCut: (lane) => pump?.cut(lane),
        onUnassigned: (reason, relation, why) => this.#unassigned(reason, relation, why),
        onWithheld: (tenant, table, why) => this.#withheld(tenant, table, why),
        onMessage: (message) => {
          if (message.kind === 'heartbeat') this.#lastHeartbeatMs = performance.now();
          if (message.kind === 'ddl')
            this.#log.info('schema change', { command: message.tag, tables: message.tables.slice(0, 10) });
        },
      },
      keyless: this.#keyWait.withheld,
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
      bound: () => {
        if (this.#ruled.dirty && pump !== null) return pump.confirmed;
        const bound = this.#bound();
        // A crash right after a confirmation that no record knows of would make the slot look like another one.
        if (bound === undefined) return this.#recorded;
        return bound.lsn === null || bound.lsn < this.#recorded ? bound.lsn : this.#recorded;
      },
    });
    this.#pump = pump;
    this.#pausedCounted = 0;
    return pump;
  }

  #countPacked(): void {
    const { metrics } = this.#options;
    const { rawBytes, faults, lastFault } = this.#packer;
    const { sealed } = this.#sealer;
    metrics.rawBytes.add(rawBytes - this.#packed.rawBytes, this.#labels);
    metrics.faults.add(faults - this.#packed.faults, this.#labels);
    metrics.sealed.add(sealed - this.#packed.sealed, this.#labels);
    if (faults > this.#packed.faults)
      this.#log.error('a fault in the encoding as columns', { error: describeError(lastFault) });
    const { blocks: profiled, faults: unlearnt } = this.#profiles.counts;
    metrics.profiled.add(profiled - this.#packed.profiled, this.#labels);
    metrics.profiles.set(this.#profiles.active, this.#labels);
    if (unlearnt > this.#packed.unlearnt)
      this.#log.error('a fault in the encoding by profiles', {
        error: describeError(this.#profiles.lastFault),
      });
    metrics.profileFaults.add(unlearnt - this.#packed.unlearnt, this.#labels);
    this.#packed = { rawBytes, faults, sealed, profiled, unlearnt };
  }

  async #openLanes(source: SourceFacts, { record }: Facts): Promise<void> {
    const { publishers, tracer, config } = this.#options;
    const first = this.#lineage === null;
    const { durability } = config.nats;
    const ours = { log: this.#log, packer: this.#packer, profiles: this.#profiles };
    const opened = await openLanes({ ...this.#options, ...ours, durability, first, record }, source);
    this.#feeds = opened.map(({ lane, fed }) => {
      const publisher = publishers[lane.partition];
      assert(publisher !== undefined, 'a publisher for each partition');
      lane.assigned = () => publisher.assigned;
      const publish = (group: Group): Promise<void> => {
        const send = (m: readonly OutMessage[]) => publisher.publishGroup(m, group.safeLsn, group.anew);
        return tracer === null ? send(group.messages) : traceGroup(tracer, group, send);
      };
      return { lane, inFlight: [], fed, oldestAtMs: 0, notify: () => {}, publish };
    });
    this.#lineage = { systemId: source.systemId, generation: source.generation };
  }

  /** Of each stream the newest message that it has acknowledged: this process's, or what is recorded of the one before. */
  #stored({ record, lineage }: Facts): Map<number, StoredMark> {
    const streams = new Map(record?.generation === lineage.generation ? record.streams : []);
    for (const [partition, { created, name, stored }] of this.#options.publishers.entries())
      if (stored !== null) streams.set(partition, { created, seq: stored, publisher: name });
    return streams;
  }

  #streaming(): void {
    if (!this.#everStreamed || this.#error !== null) {
      this.#log.info('reading', { generation: this.#lineage?.generation });
      this.#tell('streaming', { generation: this.#lineage?.generation });
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

  #observe(pump: Pump): void {
    const { metrics } = this.#options;
    const bound = this.#bound();
    const behind = bound === undefined ? 0n : pump.acknowledged - (bound.lsn ?? pump.confirmed);
    metrics.replicaLag.set(Math.max(0, Number(behind)), this.#labels);
    metrics.held.set(pump.heldBytes + pump.waitingBytes, this.#labels);
    metrics.inFlight.set(pump.inFlightBytes, this.#labels);
    const { pausedSeconds } = pump;
    metrics.paused.add(Math.max(0, pausedSeconds - this.#pausedCounted), this.#labels);
    this.#pausedCounted = pausedSeconds;
  }

  #withheld(tenant: TenantId, table: string, why: string): void {
    this.#options.metrics.withheld.add(1, this.#labels);
    const key = `withheld ${table} ${why}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    this.#log.error('rows are withheld: a rule of [[transform]] cannot be carried out', {
      tenant,
      table,
      why,
    });
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
