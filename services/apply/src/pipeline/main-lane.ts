/**
 * The loop over what a partition's stream brings, in order: batches of blocks, and between them what stands alone: the beginning of another
 * slot's blocks, or of those that come again, a change of the schema, the commit of a transaction whose rows have come before.
 */
import { streamName } from '@drover/bus';
import { type Lsn, sleep } from '@drover/core';
import type { BatchResult, Target } from '../apply/batch.ts';
import { Executor } from '../apply/executor.ts';
import { KnownTenants } from '../apply/known-tenants.ts';
import { type Entry, headerOf } from '../changes/entry.ts';
import { type DdlEntry, ddlOf } from '../ddl/message.ts';
import { resultOf } from '../ddl/result.ts';
import { DdlRunner } from '../ddl/runner.ts';
import { crowderOf } from '../fair/crowding.ts';
import { demote, withoutLanes } from '../fair/passing.ts';
import { type StreamedGroups, togetherOf } from '../streamed/groups.ts';
import type { TargetCatalog } from '../target/catalog.ts';
import type { Session } from '../target/session.ts';
import { countUntilBegin } from './begin-anew.ts';
import type { PipelineDeps } from './deps.ts';
import type { EntryQueue } from './entry-queue.ts';
import type { Gate } from './gate.ts';
import { countKnown, enterLineage, type Lineage } from './lineage.ts';
import type { LostStream } from './lost.ts';
import type { Progress } from './progress.ts';
import { readStart, type Start } from './start.ts';

/** Batches of this size or more say that there is more to come: then a short pause makes the next one larger. */
const BUSY_BYTES = 256 * 1024;
/** So much waits, and it is looked at who is waiting. */
const CROWD_BYTES = 1024 * 1024;
/** How often what waits is looked through for somebody who crowds the others out. */
const CROWD_MS = 100;

export interface MainLaneOptions {
  readonly deps: PipelineDeps;
  readonly session: Session;
  readonly catalog: TargetCatalog;
  readonly progress: Progress;
  readonly groups: StreamedGroups;
  readonly lost: LostStream;
  readonly start: Start;
  /** The tenant needs a lane of its own. */
  readonly wantLane: (tenant: string) => void;
  readonly hasLane: (tenant: string) => boolean;
  readonly signal: AbortSignal;
}

export class MainLane {
  readonly #options: MainLaneOptions;
  readonly #deps: PipelineDeps;
  readonly #progress: Progress;
  readonly #session: Session;
  readonly #start: Start;
  readonly #known = new KnownTenants();
  readonly #executor: Executor;
  readonly #ddl: DdlRunner;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: MainLaneOptions) {
    const { deps, session, catalog, progress, groups, start, signal } = options;
    const { cluster, source, partition, partitions, failpoint, board, log } = deps;
    this.#options = options;
    this.#deps = deps;
    this.#progress = progress;
    this.#session = session;
    this.#start = start;
    const stream = streamName(source, partition);
    const known = this.#known;
    const target: Target = { cluster, source, partition, stream, session, catalog, known, failpoint };
    const onBlocked = (): boolean => groups.abandon('the main lane waits for a lock');
    this.#executor = new Executor(target, { lane: 'main', log, signal, onBlocked });
    this.#ddl = new DdlRunner(target, { partitions, board, log, signal });
  }

  /** Until the signal aborts, or the queue has ended. @throws what is nobody's failure */
  async run(queue: EntryQueue, gate: Gate): Promise<void> {
    const { signal } = this.#options;
    const { batchBytes, lingerMs } = this.#deps;
    gate.onRequest = () => queue.poke();
    let busy = false;
    let { lineage } = this.#start;
    let begun = 0;
    try {
      while (!signal.aborted) {
        await gate.pass();
        if (gate.wanted) continue;
        if (!(await queue.wait(signal))) {
          if (queue.ended) return;
          continue;
        }
        if (busy && queue.bytes < batchBytes && lingerMs > 0) await sleep(lingerMs, signal);
        if (queue.bytes >= Math.min(batchBytes, CROWD_BYTES)) await this.#uncrowd(queue);
        let entries = queue.take(batchBytes);
        busy = entries.reduce((sum, entry) => sum + entry.size, 0) >= BUSY_BYTES;
        while (entries.length > 0) {
          const known = Math.min(countKnown(entries, lineage), countUntilBegin(entries, begun));
          const first = entries[0];
          if (known === 0 && first?.begin != null && first.seq !== begun) {
            begun = first.seq;
            lineage = await this.#begin(lineage, first, first.begin);
            continue;
          }
          if (known === 0 && first !== undefined) {
            lineage = await this.#enter(lineage, first);
            continue;
          }
          const change = first === undefined ? null : ddlOf(first);
          if (first !== undefined && change !== null) {
            await this.#change(first, change);
            if (change.others) await this.#batch([first]);
            entries = entries.slice(1);
            continue;
          }
          const together = first === undefined ? null : togetherOf(first);
          if (first !== undefined && together !== null && (await this.#together(first, together))) {
            entries = entries.slice(1);
            continue;
          }
          const next = entries.findIndex(
            (entry, i) => ddlOf(entry) !== null || (i > 0 && togetherOf(entry) !== null),
          );
          const count = next < 0 ? known : Math.min(known, next);
          await this.#batch(entries.slice(0, count));
          await this.#passed(entries.slice(0, count));
          entries = entries.slice(count);
        }
      }
    } finally {
      gate.close();
    }
  }

  /** Whoever crowds the others out goes on in a lane of its own. */
  async #uncrowd(queue: EntryQueue): Promise<void> {
    const { source, partition, partitions, weightOf, log } = this.#deps;
    const { groups, hasLane, wantLane } = this.#options;
    const now = performance.now();
    if (now - this.#lookedAtMs < CROWD_MS) return;
    this.#lookedAtMs = now;
    const seen = queue.waiting.filter(({ tenant }) => !hasLane(tenant));
    const tenant = crowderOf(seen, weightOf);
    // Its rows of a transaction in progress are being written; that would begin anew.
    if (tenant === null || groups.writes(tenant)) return;
    const { position } = this.#progress;
    const place = { source, partition, partitions, stream: streamName(source, partition) };
    if (!(await demote(this.#session, place, tenant, position))) return;
    log.info('a tenant with much to do leaves the main lane', { tenant, seq: position });
    wantLane(tenant);
  }

  async #batch(entries: readonly Entry[]): Promise<void> {
    const last = entries.at(-1);
    if (last === undefined) return;
    const started = performance.now();
    const { turns, source } = this.#deps;
    const rest = await withoutLanes(this.#session, { source }, entries, this.#options.hasLane);
    const bytes = rest.reduce((sum, { size }) => sum + size, 0);
    const position = this.#progress.at(last, this.#start.created);
    const results = await turns.live(bytes, () => this.#executor.run(rest, position));
    this.#progress.passed(last);
    const parts = results.flatMap((result) => result.parts ?? []);
    this.#options.groups.passed(parts, last.seq);
    this.#mark(entries);
    const seconds = (performance.now() - started) / 1000;
    for (const result of results) this.#settle(result, seconds / results.length);
  }

  /** A transaction has committed whose rows may stand in the target already. True: they are committed, and the position with them. */
  async #together(entry: Entry, header: Parameters<StreamedGroups['commit']>[1]): Promise<boolean> {
    const { groups } = this.#options;
    const started = performance.now();
    const position = this.#progress.at(entry, this.#start.created);
    const result = await groups.commit(entry, header, { lane: 'main', position });
    if (result === null) return false;
    this.#known.forget(); // their rows were written on another connection
    this.#progress.passed(entry);
    this.#mark([entry]);
    groups.passed([], entry.seq);
    this.#settle(result, (performance.now() - started) / 1000);
    return true;
  }

  /** A change of the schema stands between what is applied and what follows. */
  async #change(entry: Entry, change: DdlEntry): Promise<void> {
    const started = performance.now();
    this.#options.groups.abandon('the schema changes');
    this.#known.forget();
    const parked = await this.#ddl.run(entry, change, this.#progress.at(entry, this.#start.created));
    this.#progress.passed(entry);
    this.#mark([entry]);
    this.#deps.applied(resultOf(parked), (performance.now() - started) / 1000);
  }

  /** What the source may forget now, as far as the main lane goes. */
  #mark(entries: readonly Entry[]): void {
    if (this.#deps.durability !== 'applied') return;
    for (const { block, firstSeq, safeLsn } of entries)
      if (block !== null) this.#progress.marks.note(firstSeq, safeLsn);
  }

  async #passed(entries: readonly Entry[]): Promise<void> {
    const header = headerOf(entries.findLast((entry) => entry.kind === 'heartbeat') ?? NOTHING);
    if (header !== undefined)
      await this.#ddl.passed({ generation: header.generation, lsn: header.lastLsn, end: true });
  }

  /** The blocks of another slot begin. */
  async #enter(known: Lineage | null, entry: Entry): Promise<Lineage> {
    const { source, partition, partitions, log } = this.#deps;
    const { lineage, parked, reason } = await enterLineage(this.#session, {
      source,
      partition,
      partitions,
      stream: streamName(source, partition),
      created: this.#start.created,
      position: this.#progress.position,
      known,
      entry,
    });
    this.#progress.marks.clear();
    if (parked.length > 0) {
      log.error('the source began anew: tenants are parked until they are copied anew', {
        tenants: parked,
        reason,
      });
    }
    return lineage;
  }

  /** The stream says that it has lost what was before. */
  async #begin(lineage: Lineage | null, entry: Entry, lsn: Lsn): Promise<Lineage> {
    // What is applied has moved on since.
    const now = await readStart(this.#deps, this.#session, this.#progress.freshness);
    const start = { ...now, created: this.#start.created, lineage };
    await this.#options.lost.beginAnew(this.#session, start, { entry, lsn });
    const { systemId = '', generation = 0 } = headerOf(entry) ?? {};
    return { systemId, generation };
  }

  #settle(result: BatchResult, seconds: number): void {
    const { applied, paused, log } = this.#deps;
    applied(result, seconds);
    for (const tenant of result.demoted) this.#options.wantLane(tenant);
    for (const pause of result.paused) paused(pause);
    for (const { tenant, reason } of result.held) log.info('a tenant is held', { tenant, reason });
  }
}

const NOTHING = { block: null } as Entry; // only its block is looked at
