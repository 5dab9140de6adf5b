/**
 * Sorts the changes of one database into the lanes' blocks: finds each row's tenant, keeps a tenant's share of a
 * transaction together, cuts shares that are too large. Nothing is allocated per row. Pure: it is driven by parsed messages
 * and drives nothing but the lanes; a lane that must be published at once, between commits, is handed to `onCut`.
 *
 * Where a large transaction is cut depends on its rows alone (never on time, memory or what was sent before): a new
 * reader cuts at the same places, so that (commit LSN, part) names the same rows for ever.
 *
 * Longer than our files are: one visitor, whose methods all move the state of the transaction at hand. What has state of its own stands beside it
 * (lane.ts, streamed.ts, ruled.ts, ddl.ts, tenant-directory.ts).
 */
import type { BlockWriter, Relation } from '@drover/block';
import { assert, epoch, LSN_ZERO, type Lsn, type TenantId, UNASSIGNED } from '@drover/core';
import { type PgoutputVisitor, WITHHELD_PREFIX } from '@drover/pg';
import { learnTypes, writeDdl, writeMark } from './ddl.ts';
import type { EpochMap } from './epoch-map.ts';
import { HEARTBEAT_TOKEN, type Lane, OpenTenant, type TransactionAt } from './lane.ts';
import { hasUnchanged, mergeUnchanged } from './merge-tuple.ts';
import { type DroverMessage, parseDroverMessage } from './messages.ts';
import type { PlanContext, RelationPlan } from './relation-plan.ts';
import type { Outcome, RuledRows } from './ruled.ts';
import { StreamedTransactions } from './streamed.ts';
import { TenantDirectory, type UnassignedReason } from './tenant-directory.ts';

export interface AssemblerEvents {
  /** The transaction at hand was cut into parts in this lane: publish the lane now. */
  onCut(lane: Lane): void;
  /** Called per row: whoever listens counts, and logs once. */
  onUnassigned(reason: UnassignedReason, relation: Relation, why: string): void;
  onMessage?(message: DroverMessage, lsn: Lsn): void;
  /** Once a tenant and transaction: rows were not published, because a rule could not be carried out. */
  onWithheld?(tenant: TenantId, table: string, why: string): void;
}

export interface AssemblerOptions {
  /** One per partition, in order. */
  readonly lanes: readonly Lane[];
  readonly epochs: EpochMap;
  readonly plan: PlanContext;
  readonly events: AssemblerEvents;
  /** Tuple bytes of one transaction in one lane after which it is cut. Changing it changes where transactions are cut. */
  readonly partBytes?: number;
  /** Of transactions in progress: less of one in a lane stays when a chunk ends; default 0. */
  readonly leastBytes?: number;
  /** Of transactions in progress: pieces of no more tenants are not collected. */
  readonly fewTenants?: number;
  /** Name of this reading of the source; no two have the same. */
  readonly attempt?: string;
  /** Tenants whose rows are withheld. May shrink at any time. */
  readonly keyless?: ReadonlySet<TenantId>;
}

export interface AssemblerCounts {
  rows: number;
  transactions: number;
  /** Rows left out because the stream has them. */
  resent: number;
  moves: number;
}

/** Part of the resume contract (see above), hence not configurable. */
export const PART_BYTES = 4 * 1024 * 1024;
/** Of transactions in progress nothing is resumed, so smaller pieces do: what others wait for behind one is short. */
const STREAMED_PART_BYTES = 1024 * 1024;
/** What a row costs beside its tuple, so that many empty rows are cut too. */
const ROW_BYTES = 16;

export class Assembler implements PgoutputVisitor {
  readonly counts: AssemblerCounts = { rows: 0, transactions: 0, resent: 0, moves: 0 };
  readonly #epochs: EpochMap;
  readonly #directory: TenantDirectory;
  readonly #events: AssemblerEvents;
  readonly #partBytes: number;
  readonly #heartbeats: readonly OpenTenant[];
  readonly #at = { commitLsn: LSN_ZERO, commitTimeUs: 0n, xid: 0 };
  readonly #types: PlanContext['types'];
  readonly #streamed: StreamedTransactions;
  readonly #rules: RuledRows | null;
  readonly #keyless: ReadonlySet<TenantId>;
  /** Whose replicas have been told that rows of the transaction at hand are withheld. */
  readonly #withheld = new Set<OpenTenant>();
  #open = false;
  #serial = 0;
  /** Schema changes of the transaction at hand. */
  #ddls = 0;
  #told: Lsn = LSN_ZERO;
  /** Lanes of the transaction at hand. */
  #touchedLanes: Lane[] = [];
  #lastCommit: Lsn = LSN_ZERO;
  #lastEnd: Lsn = LSN_ZERO;
  #lastTimeUs = 0n;

  constructor(options: AssemblerOptions) {
    this.#epochs = options.epochs;
    this.#directory = new TenantDirectory({
      lanes: options.lanes,
      plan: options.plan,
      onUnassigned: (...told) => options.events.onUnassigned(...told),
    });
    this.#types = options.plan.types;
    this.#rules = options.plan.rules ?? null;
    this.#keyless = options.keyless ?? NOBODY;
    this.#events = options.events;
    this.#partBytes = options.partBytes ?? PART_BYTES;
    this.#streamed = new StreamedTransactions({
      attempt: options.attempt ?? '',
      epochs: options.epochs,
      partBytes: options.partBytes ?? STREAMED_PART_BYTES,
      leastBytes: options.leastBytes ?? 0,
      ...(options.fewTenants === undefined ? {} : { fewTenants: options.fewTenants }),
      onCut: (lane) => options.events.onCut(lane),
    });
    this.#heartbeats = options.lanes.map(
      (lane) => new OpenTenant(HEARTBEAT_TOKEN as TenantId, HEARTBEAT_TOKEN, lane), // a token of ours, no tenant's
    );
  }

  /** Commit LSN of the transaction being received; null between transactions. */
  get openCommit(): Lsn | null {
    return this.#open ? this.#at.commitLsn : null;
  }

  /** Changes of a transaction in progress are coming. */
  get inStream(): boolean {
    return this.#streamed.inStream;
  }

  /** Transactions in progress that have sent changes. */
  get streamedTransactions(): number {
    return this.#streamed.count;
  }

  get transaction(): TransactionAt {
    return this.#at;
  }

  /** Commit LSN of the last transaction received. */
  get lastCommit(): Lsn {
    return this.#lastCommit;
  }

  /** End of its commit record. */
  get lastEnd(): Lsn {
    return this.#lastEnd;
  }

  /** Its commit time, microseconds since 2000-01-01. */
  get lastTimeUs(): bigint {
    return this.#lastTimeUs;
  }

  begin(commitLsn: Lsn, commitTimeUs: bigint, xid: number): void {
    assert(!this.#open, 'a transaction begins within another');
    this.#at.commitLsn = commitLsn;
    this.#at.commitTimeUs = commitTimeUs;
    this.#at.xid = xid;
    this.#open = true;
    this.#ddls = 0;
    this.#serial++;
    if (this.#withheld.size > 0) this.#withheld.clear();
  }

  commit(commitLsn: Lsn, endLsn: Lsn, commitTimeUs: bigint): void {
    assert(this.#open && commitLsn === this.#at.commitLsn, 'a commit without its begin');
    if (this.#touchedLanes.length > 0) {
      for (const lane of this.#touchedLanes) lane.commit(this.#at);
      this.#touchedLanes = [];
      this.counts.transactions++;
    }
    this.#open = false;
    this.#lastCommit = commitLsn;
    this.#lastEnd = endLsn;
    this.#lastTimeUs = commitTimeUs;
  }

  relation(_oid: number, relation: Relation): void {
    this.#directory.describe(relation);
  }

  type(): void {}

  origin(): void {}

  streamStart(xid: number): void {
    assert(!this.#open, 'a transaction in progress within another');
    this.#streamed.start(xid);
    this.#directory.enter(this.#streamed.plans);
  }

  streamChange(xid: number): void {
    this.#streamed.change(xid);
  }

  streamStop(): void {
    this.#directory.enter(null);
    this.#streamed.stop();
  }

  streamAbort(xid: number, subxid: number): void {
    this.#streamed.abort(xid, subxid);
  }

  /** @throws NotStreamed when it is to be read anew, as a whole */
  streamCommit(xid: number, commitLsn: Lsn, endLsn: Lsn, commitTimeUs: bigint): void {
    this.begin(commitLsn, commitTimeUs, xid);
    const committed = this.#streamed.commit(xid, this.#at);
    if (committed !== null && committed.lanes.size > 0) this.counts.transactions++;
    if (committed !== null) this.#directory.adopt(committed.plans);
    for (const { lsn, prefix, content } of committed?.messages ?? [])
      this.message(true, lsn, prefix, 0, content.length, content);
    this.commit(commitLsn, endLsn, commitTimeUs);
  }

  insert(oid: number, start: number, end: number, bytes: Buffer): void {
    const plan = this.#directory.planOf(oid);
    const open = this.#directory.tenantOf(plan, bytes, start, end);
    if (open !== null) this.#insert(open, plan, bytes, start, end);
  }

  update(
    oid: number,
    oldKind: 'K' | 'O' | null,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
    bytes: Buffer,
  ): void {
    const plan = this.#directory.planOf(oid);
    // A tenant that is itself stored out of line and did not change stands in the old row.
    let open = this.#directory.tenantOf(plan, bytes, newStart, newEnd, oldKind !== null);
    if (plan.kind === 'column' && oldKind !== null && (oldKind === 'O' || plan.inIdentity)) {
      const old = this.#directory.tenantOf(plan, bytes, oldStart, oldEnd);
      open ??= old;
      if (old !== null && open !== null && old !== open) {
        this.#move(old, open, plan, oldKind, bytes, oldStart, oldEnd, newStart, newEnd);
        return;
      }
    }
    if (open === null) return;
    const bytesOf = newEnd - newStart + oldEnd - oldStart;
    if (plan.ruled && this.#rules !== null) {
      const { tenant } = open;
      const at = [oldStart, oldEnd, newStart, newEnd] as const;
      this.#put(open, bytesOf, this.#rules.update(tenant, plan.relation, oldKind, bytes, ...at));
      return;
    }
    const writer = this.#writer(open, bytesOf);
    if (writer === null) return;
    const before = writer.size;
    writer.update(writer.relation(plan.relation), oldKind, bytes, oldStart, oldEnd, newStart, newEnd);
    this.#wrote(open, before, writer.size);
  }

  delete(oid: number, oldKind: 'K' | 'O', start: number, end: number, bytes: Buffer): void {
    const plan = this.#directory.planOf(oid);
    let open: OpenTenant | null;
    if (plan.kind === 'column' && oldKind === 'K' && !plan.inIdentity) {
      const why = 'the replica identity lacks the tenant column';
      this.#events.onUnassigned('identity_lacks_tenant', plan.relation, why);
      open = this.#directory.openTenant(UNASSIGNED);
    } else {
      open = this.#directory.tenantOf(plan, bytes, start, end);
    }
    if (open !== null) this.#delete(open, plan, oldKind, bytes, start, end);
  }

  truncate(oids: readonly number[], flags: number): void {
    const byTenant = new Map<OpenTenant, Relation[]>();
    for (const oid of oids) {
      const plan = this.#directory.planOf(oid);
      if (plan.kind === 'excluded') continue;
      if (plan.kind !== 'whole') {
        const why = 'rows of every tenant were truncated; replicas keep them';
        this.#events.onUnassigned('truncate', plan.relation, why);
      }
      const open = this.#directory.openTenant(plan.kind === 'whole' ? plan.tenant : UNASSIGNED);
      const as =
        plan.ruled && this.#rules !== null
          ? this.#rules.relationFor(open.tenant, plan.relation)
          : plan.relation;
      if ('why' in as) this.#withhold(open, 0, as);
      else byTenant.set(open, [...(byTenant.get(open) ?? []), as]);
    }
    for (const [open, relations] of byTenant) {
      const writer = this.#writer(open, 0);
      if (writer === null) continue;
      const before = writer.size;
      const indices = relations.map((relation) => writer.relation(relation));
      writer.truncate(indices, flags);
      this.#wrote(open, before, writer.size);
    }
  }

  message(
    transactional: boolean,
    lsn: Lsn,
    prefix: string,
    contentStart: number,
    contentEnd: number,
    bytes: Buffer,
  ): void {
    if (!transactional || !(this.#open || this.inStream)) return;
    const content = bytes.subarray(contentStart, contentEnd);
    const message = parseDroverMessage(prefix, content);
    if (message === null) return;
    if (this.inStream) {
      if (message.kind === 'ddl') learnTypes(this.#types, message); // what follows may be of them
      this.#streamed.message({ lsn, prefix, content });
      return;
    }
    this.#events.onMessage?.(message, lsn);
    if (message.kind === 'ddl') {
      learnTypes(this.#types, message);
      this.#ddl(lsn, prefix, content);
      return;
    }
    if (message.kind === 'heartbeat' || message.tenant === '*') {
      for (const open of this.#heartbeats)
        this.#writeMessage(open, lsn, prefix, content, message.kind === 'barrier');
      return;
    }
    const tenant = message.tenant;
    const open = this.#directory.openTenant(tenant);
    if (message.kind === 'epoch') {
      this.#epochs.learn(tenant, message.epoch, this.#at.commitLsn);
      const span = this.#epochs.at(tenant, this.#at.commitLsn);
      open.lane.switchEpoch(open, span.epoch, span.until);
    }
    open.closeAtCommit = true;
    this.#writeMessage(open, lsn, prefix, content, true);
  }

  /** In every lane, behind all that committed before. */
  #ddl(lsn: Lsn, prefix: string, content: Buffer): void {
    this.#ddls++;
    this.#told = lsn;
    for (const open of this.#heartbeats) {
      if (this.#ddls === 1) open.lane.settleEarlier();
      const fresh = this.#enter(open, content.length);
      open.lane.ddl = open; // entered: what is cut from here on begins with it
      if (fresh) writeDdl(open, this.#at, lsn, prefix, content);
      else this.counts.resent--; // a message, not a row
    }
  }

  #writeMessage(open: OpenTenant, lsn: Lsn, prefix: string, content: Buffer, urgent: boolean): void {
    if (!this.#enter(open, 0)) {
      this.counts.resent--; // a message, not a row
      return;
    }
    const writer = open.lane.writerOf(open, this.#at);
    const before = writer.size;
    writer.message(lsn, prefix, content);
    open.lane.grew(writer.size - before, writer.size);
    if (urgent) open.lane.urgent = true;
  }

  #insert(open: OpenTenant, plan: RelationPlan, bytes: Buffer, start: number, end: number): void {
    const { relation } = plan;
    if (plan.ruled && this.#rules !== null) {
      this.#put(open, end - start, this.#rules.insert(open.tenant, relation, bytes, start, end));
      return;
    }
    const writer = this.#writer(open, end - start);
    if (writer === null) return;
    const before = writer.size;
    writer.insert(writer.relation(relation), bytes, start, end);
    this.#wrote(open, before, writer.size);
  }

  #delete(
    open: OpenTenant,
    plan: RelationPlan,
    kind: 'K' | 'O',
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const { relation } = plan;
    if (plan.ruled && this.#rules !== null) {
      this.#put(open, end - start, this.#rules.delete(open.tenant, relation, kind, bytes, start, end));
      return;
    }
    const writer = this.#writer(open, end - start);
    if (writer === null) return;
    const before = writer.size;
    writer.delete(writer.relation(relation), kind, bytes, start, end);
    this.#wrote(open, before, writer.size);
  }

  /**
   * What the rules leave of a row. `bytes`: of the row as it came, left out or not, so that a transaction is cut at the same places whatever
   * the rules are.
   */
  #put(open: OpenTenant, bytes: number, row: Outcome): void {
    if (row.kind === 'withheld') {
      this.#withhold(open, bytes, row);
      return;
    }
    if (row.kind === 'none') {
      if (!this.inStream) this.#enter(open, bytes);
      return;
    }
    const writer = this.#writer(open, bytes);
    if (writer === null) return;
    const before = writer.size;
    const index = writer.relation(row.relation);
    const { oldKind, oldStart, oldEnd, newStart, newEnd } = row;
    if (row.kind === 'insert') writer.insert(index, row.bytes, newStart, newEnd);
    else if (row.kind === 'update')
      writer.update(index, oldKind, row.bytes, oldStart, oldEnd, newStart, newEnd);
    else if (oldKind !== null) writer.delete(index, oldKind, row.bytes, oldStart, oldEnd);
    this.#wrote(open, before, writer.size);
  }

  /** In place of the tenant's rows its replicas are told, once a transaction, and stop there. */
  #withhold(open: OpenTenant, bytes: number, { table, why }: { table: string; why: string }): void {
    if (this.inStream) {
      this.#streamed.needWhole();
      return;
    }
    if (!this.#enter(open, bytes)) return;
    if (open.keyless) this.#tell(open, { key: true });
    else if (this.#tell(open, { table, why })) this.#events.onWithheld?.(open.tenant, table, why);
  }

  /** Once a transaction. Of a tenant without its key no table is named. */
  #tell(open: OpenTenant, content: { table: string; why: string } | { key: true }): boolean {
    if (this.#withheld.has(open)) return false;
    this.#withheld.add(open);
    const writer = open.lane.writerOf(open, this.#at);
    const before = writer.size;
    writer.message(this.#at.commitLsn, WITHHELD_PREFIX, Buffer.from(JSON.stringify(content)));
    open.lane.grew(writer.size - before, writer.size);
    return true;
  }

  /** The row leaves one tenant and enters another: each sees its half. */
  #move(
    from: OpenTenant,
    to: OpenTenant,
    plan: RelationPlan,
    oldKind: 'K' | 'O',
    bytes: Buffer,
    oldStart: number,
    oldEnd: number,
    newStart: number,
    newEnd: number,
  ): void {
    this.counts.moves++;
    this.#delete(from, plan, oldKind, bytes, oldStart, oldEnd);
    if (oldKind === 'O' && hasUnchanged(bytes, newStart, newEnd)) {
      const whole = mergeUnchanged(bytes, oldStart, oldEnd, newStart, newEnd);
      this.#insert(to, plan, whole, 0, whole.length);
    } else {
      // Without the whole old row an unchanged column stays `u`: apply refuses such an insert and parks the tenant.
      this.#insert(to, plan, bytes, newStart, newEnd);
    }
  }

  /** Where the row goes; null: the stream has it already, or it is withheld. */
  #writer(open: OpenTenant, bytes: number): BlockWriter | null {
    if (this.inStream) {
      if (this.#keyless.size === 0 || !this.#keyless.has(open.tenant))
        return this.#streamed.writer(open, bytes);
      this.#streamed.needWhole();
      return null;
    }
    if (!this.#enter(open, bytes)) return null;
    if (!open.keyless) return open.lane.writerOf(open, this.#at);
    this.#tell(open, { key: true });
    return null;
  }

  /** Counts the row into the transaction; false: the stream has it already. */
  #enter(open: OpenTenant, bytes: number): boolean {
    assert(this.#open, 'a change outside of a transaction');
    const lane = open.lane;
    if (lane.serial !== this.#serial) {
      lane.serial = this.#serial;
      lane.transactionBytes = 0;
      this.#touchedLanes.push(lane);
    }
    // Before the row, so that a part is only ever cut when more follows in the lane.
    if (lane.transactionBytes >= this.#partBytes) {
      lane.cutParts(this.#at);
      this.#events.onCut(lane);
    }
    lane.transactionBytes += bytes + ROW_BYTES;
    if (open.serial !== this.#serial) this.#touch(open);
    open.hasRows = true;
    if (open.part >= open.partsSent) {
      if (open.ddls !== this.#ddls && open.token !== HEARTBEAT_TOKEN) {
        open.ddls = this.#ddls;
        writeMark(open, this.#at, this.#told);
      }
      return true;
    }
    this.counts.resent++;
    return false;
  }

  #touch(open: OpenTenant): void {
    const { commitLsn } = this.#at;
    open.serial = this.#serial;
    open.part = 0;
    open.ddls = 0;
    open.hasRows = false;
    open.begun = false;
    open.keyless = this.#keyless.size > 0 && this.#keyless.has(open.tenant);
    open.partsSent = open.lane.marks.partsSent(open.token, commitLsn);
    if (commitLsn >= open.epochUntil) {
      const span = open.token === HEARTBEAT_TOKEN ? NO_EPOCH : this.#epochs.at(open.tenant, commitLsn);
      open.nextEpoch = span.epoch;
      open.epochUntil = span.until;
    }
    open.lane.touched.push(open);
  }

  #wrote(open: OpenTenant, before: number, size: number): void {
    this.counts.rows++;
    if (!this.inStream) open.lane.grew(size - before, size);
  }
}

const NOBODY: ReadonlySet<TenantId> = new Set();
const NO_EPOCH = { epoch: epoch(0), until: 0xffff_ffff_ffff_ffffn as Lsn };
