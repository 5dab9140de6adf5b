/**
 * A lane is one database's share of one partition: the open blocks of its tenants, the blocks that are finished but not
 * published, and the marks of what is in the stream. A flush group takes everything a lane holds, so that everything at
 * or below a group's safe LSN is in earlier groups. Pure: no clock, no I/O.
 *
 * Longer than our files are: open blocks, finished ones and what is said of them are counted together, and a flush takes them in one step.
 */
import { type BlockHeader, BlockWriter, Packer, type Scope, type StreamedHeader } from '@drover/block';
import type { Epoch, Lsn, TenantId } from '@drover/core';
import { assert, formatLsn, LSN_MAX, LSN_ZERO, must } from '@drover/core';
import { DDL_END_PREFIX } from '@drover/pg';
import { writeDdl } from './ddl.ts';
import { Marks } from './marks.ts';
import { idOf, type LaneIdentity, type Outgoing } from './outgoing.ts';
import { profileMessages } from './profile-messages.ts';
import type { Profiles } from './profiles.ts';
import { SpareWriters } from './spare-writers.ts';

export interface Group {
  readonly messages: readonly Outgoing[];
  /** Everything of the lane at or below is in earlier groups. */
  readonly safeLsn: Lsn;
  /** Commit LSN of the earliest content: the slot must not be confirmed beyond it before the acknowledgement. */
  readonly firstLsn: Lsn;
  readonly lastLsn: Lsn;
  readonly bytes: number;
  /** Of these, rows of transactions in progress. */
  readonly earlyBytes: number;
  /** What the stream held before of this source is not to be counted on from here; see {@link Lane.beginAt}. */
  readonly anew: boolean;
}

/** Of the transaction at hand. */
export interface TransactionAt {
  readonly commitLsn: Lsn;
  readonly commitTimeUs: bigint;
  readonly xid: number;
}

/** A tenant (or the heartbeat token) in a lane. Its writer is there while it has unpublished content. */
export class OpenTenant {
  readonly tenant: TenantId;
  readonly token: string;
  readonly lane: Lane;
  writer: BlockWriter | null = null;
  firstLsn: Lsn = LSN_ZERO;
  lastLsn: Lsn = LSN_ZERO;
  /** LSN and time of the last transaction before the one at hand; for a block cut in front of it. */
  earlierLsn: Lsn = LSN_ZERO;
  earlierTimeUs = 0n;
  lastTimeUs = 0n;
  epoch: Epoch = 0 as Epoch; // the type's "never placed"
  /** The epoch of the transaction at hand, and from which commit LSN on another one holds. */
  nextEpoch: Epoch = 0 as Epoch;
  epochUntil: Lsn = LSN_ZERO;
  /** Serial of the transaction that last touched the tenant. */
  serial = 0;
  /** Part of that transaction being collected, and how many of its parts the stream has already. */
  part = 0;
  partsSent = 0;
  /** The part has rows, written or already sent. */
  hasRows = false;
  /** The transaction's begin record is in the writer. */
  begun = false;
  closeAtCommit = false;
  /** Its rows are withheld: its key cannot be had. */
  keyless = false;
  /** Of the schema changes of that transaction, those that the part says stand before its rows. */
  ddls = 0;

  constructor(tenant: TenantId, token: string, lane: Lane) {
    this.tenant = tenant;
    this.token = token;
    this.lane = lane;
  }

  /** Nothing is lost when it is made anew. */
  get isIdle(): boolean {
    return this.writer === null && this.serial !== this.lane.serial;
  }
}

/** Of all lanes of the process. */
const spare = new SpareWriters(32 * 1024 * 1024);
const NOTHING = Buffer.from('{}');
const UNSEALED = new Packer('none');

export class Lane {
  readonly partition: number;
  readonly marks: Marks;
  readonly packer: Packer;
  readonly #profiles: Profiles | null;
  readonly #identity: LaneIdentity;
  /** Tenants with open blocks. */
  readonly #open = new Set<OpenTenant>();
  #finished: Outgoing[] = [];
  #finishedBytes = 0;
  #firstPending: Lsn = LSN_MAX;
  /** Raw bytes in open blocks. */
  openBytes = 0;
  largestBytes = 0;
  urgent = false;
  /** Tenants of the transaction at hand, and the bytes of it since the last cut, published or not. */
  touched: OpenTenant[] = [];
  serial = 0;
  transactionBytes = 0;
  /** The transaction at hand was cut: some of its parts are out, not all. */
  cut = false;
  /** The lane's own token, when the transaction at hand has changed the schema. */
  ddl: OpenTenant | null = null;
  #begin: Lsn | null = null;
  /** Which reading of the source this is, said with each heartbeat. */
  attempt: string | null = null;
  /** The newest sequence that is taken in the lane's stream. */
  assigned: () => number = () => 0;

  constructor(
    partition: number,
    identity: LaneIdentity,
    marks: Marks = new Marks(),
    packer: Packer = new Packer('zstd'),
    profiles: Profiles | null = null,
  ) {
    this.partition = partition;
    this.packer = packer;
    this.#profiles = profiles;
    this.#identity = identity;
    this.marks = marks;
  }

  /** Raw bytes in open blocks and bytes of finished ones. */
  get waitingBytes(): number {
    return this.openBytes + this.#finishedBytes;
  }

  get waitingBlocks(): number {
    return this.#open.size + this.#finished.length;
  }

  /** Commit LSN of the earliest content not yet in a group; null: none. */
  get firstPending(): Lsn | null {
    return this.#firstPending === LSN_MAX ? null : this.#firstPending;
  }

  /**
   * The stream has lost what it held: all that commits at or behind `lsn` comes again from here on. The first group says so, before all else,
   * to whoever has applied as much already and to whoever has not.
   */
  beginAt(lsn: Lsn): void {
    this.#begin = lsn;
  }

  /** The tenant's writer with the transaction's begin record in it. */
  writerOf(open: OpenTenant, at: TransactionAt): BlockWriter {
    if (open.writer !== null && open.begun) return open.writer;
    if (open.writer !== null && open.epoch !== open.nextEpoch) this.#finishOpen(open, 0, true);
    let writer = open.writer;
    if (writer === null) {
      writer = spare.take();
      open.writer = writer;
      open.firstLsn = at.commitLsn;
      open.epoch = open.nextEpoch;
      this.#open.add(open);
      if (at.commitLsn < this.#firstPending) this.#firstPending = at.commitLsn;
    }
    open.earlierLsn = open.lastLsn;
    open.earlierTimeUs = open.lastTimeUs;
    open.lastLsn = at.commitLsn;
    open.lastTimeUs = at.commitTimeUs;
    const before = writer.size;
    writer.begin(at.commitLsn, at.commitTimeUs, at.xid);
    open.begun = true;
    this.grew(writer.size - before, writer.size);
    return writer;
  }

  grew(bytes: number, size: number): void {
    this.openBytes += bytes;
    if (size > this.largestBytes) this.largestBytes = size;
  }

  /** An epoch begins within the transaction at hand: what stood before it keeps the old one. */
  switchEpoch(open: OpenTenant, epoch: Epoch, until: Lsn): void {
    open.nextEpoch = epoch;
    open.epochUntil = until;
    if (open.writer === null) return;
    if (open.begun) this.#cutEarlier(open);
    else this.#finishOpen(open, 0, true);
    open.epoch = epoch;
  }

  /** Closes this part of the transaction at hand, for each tenant that has rows in it; more of it follows. */
  cutParts(at: TransactionAt): void {
    if (this.ddl !== null) this.#cutPart(this.ddl, at); // before the rows that follow it
    for (const open of this.touched) this.#cutPart(open, at);
    this.cut = true;
    this.transactionBytes = 0;
  }

  #cutPart(open: OpenTenant, at: TransactionAt): void {
    if (!open.hasRows) return;
    if (open.part >= open.partsSent) {
      this.writerOf(open, at);
      this.#cutEarlier(open);
      this.#finishOpen(open, open.part, false);
    }
    open.part++;
    open.ddls = 0;
    open.begun = false;
    open.hasRows = false;
  }

  /** Finishes what all tenants have of committed transactions: what follows stands behind it. */
  settleEarlier(): void {
    let heartbeat: OpenTenant | null = null;
    for (const open of this.#open) {
      // Heartbeats come last: what they report about has gone before.
      if (open.token === HEARTBEAT_TOKEN) heartbeat = open;
      else this.#settle(open);
    }
    if (heartbeat !== null) this.#settle(heartbeat);
  }

  /** A block of a transaction that came before it had committed, or of what became of it; behind all that is finished. */
  pushStreamed(to: Pick<OpenTenant, 'tenant' | 'token'>, of: StreamedBlock, writer: BlockWriter): void {
    const { streamed, at, epoch, part } = of;
    const { commitLsn: lsn, commitTimeUs } = at;
    const place = { firstLsn: lsn, lastLsn: lsn, part, complete: true, commitTimeUs };
    const header = { ...this.#identity, tenant: to.tenant, epoch, ...place, streamed };
    const { hurried } = this.packer;
    this.packer.hurried = true; // much of it comes at once
    try {
      this.#push(to, header, writer.finish(header, this.packer), streamed.kind !== 'commit');
    } finally {
      this.packer.hurried = hurried; // the packer is all lanes', and outlives what a missing key ends
    }
    if (lsn > LSN_ZERO && lsn < this.#firstPending) this.#firstPending = lsn;
  }

  /** The transaction at hand has committed. */
  commit(at: TransactionAt): void {
    const { ddl } = this;
    this.ddl = null;
    if (ddl !== null) this.#cutPart(ddl, at);
    for (const open of this.touched) {
      if (open === ddl) continue;
      const unsent = open.part >= open.partsSent;
      if (open.part > 0 && unsent) {
        this.writerOf(open, at);
        this.#finishOpen(open, open.part, true);
      } else if ((open.closeAtCommit || ddl !== null) && open.writer !== null) {
        this.#finishOpen(open, 0, true);
      }
      open.closeAtCommit = false;
      open.begun = false;
    }
    if (ddl !== null && ddl.part >= ddl.partsSent) {
      writeDdl(ddl, at, at.commitLsn, DDL_END_PREFIX, NOTHING);
      this.#finishOpen(ddl, ddl.part, true);
      ddl.begun = false;
    }
    this.touched = [];
    this.cut = false;
  }

  /**
   * Everything the lane holds of committed transactions, and the parts cut of the one at hand, as one flush group.
   * `through`: the last commit received. Null: nothing to publish.
   */
  takeGroup(through: Lsn): Group | null {
    this.settleEarlier();
    if (this.#finished.length === 0) return null;
    const begin = this.#begin;
    this.#begin = null;
    if (begin !== null) this.#announce(begin);
    const place = { identity: this.#identity, lsn: this.marks.safeLsn, packer: this.packer };
    const profiles = profileMessages(this.#profiles?.lessons(this.partition) ?? [], place);
    const blocks = this.#finished.map((message) => this.#mark(message));
    const first = must(blocks[0], 'first message of a group');
    const messages = [...profiles, ...blocks];
    const group: Group = {
      messages,
      safeLsn: this.marks.safeLsn,
      firstLsn: this.#firstPending,
      lastLsn: blocks.reduce((max, m) => (m.lastLsn > max ? m.lastLsn : max), first.lastLsn),
      bytes: profiles.reduce((sum, { block }) => sum + block.length, this.#finishedBytes),
      earlyBytes: blocks.reduce((sum, m) => sum + (m.unmarked === true ? m.block.length : 0), 0),
      anew: begin !== null,
    };
    this.#finished = [];
    this.#finishedBytes = 0;
    this.#firstPending = LSN_MAX;
    this.largestBytes = 0;
    for (const open of this.#open) {
      if (open.firstLsn < this.#firstPending) this.#firstPending = open.firstLsn;
      if (open.writer !== null && open.writer.size > this.largestBytes) this.largestBytes = open.writer.size;
    }
    if (this.#open.size === 0) {
      this.urgent = false;
      assert(this.openBytes === 0, 'a lane was flushed but for some bytes', { bytes: this.openBytes });
    }
    // While parts are out, all groups are one: whoever resumes must see how far each tenant has got.
    if (!this.cut) this.marks.advance(through);
    return group;
  }

  /** Forgets what is not published, to be read again from the source. Marks stay. */
  discard(): void {
    for (const open of this.#open) open.writer = null;
    this.#open.clear();
    this.#finished = [];
    this.#finishedBytes = 0;
    this.#firstPending = LSN_MAX;
    this.openBytes = 0;
    this.largestBytes = 0;
    this.urgent = false;
    this.touched = [];
    this.ddl = null;
    this.serial = 0;
    this.transactionBytes = 0;
    this.cut = false;
  }

  /** Finishes what the tenant has of committed transactions; its share of the one at hand stays open. */
  #settle(open: OpenTenant): void {
    if (open.begun) this.#cutEarlier(open);
    else this.#finishOpen(open, 0, true);
  }

  #cutEarlier(open: OpenTenant): void {
    const writer = must(open.writer, 'writer of a tenant that has begun');
    if (!writer.hasEarlier) return;
    const before = writer.size;
    const header = this.#header(open, open.earlierLsn, open.earlierTimeUs, 0, true);
    this.#push(open, header, writer.finishEarlier(header, this.#packerOf(open, writer), this.#scopeOf(open)));
    this.openBytes += writer.size - before;
    open.firstLsn = open.lastLsn;
  }

  #finishOpen(open: OpenTenant, part: number, complete: boolean): void {
    const writer = must(open.writer, 'writer of an open block');
    const header = this.#header(open, open.lastLsn, open.lastTimeUs, part, complete);
    this.#push(open, header, writer.finish(header, this.#packerOf(open, writer), this.#scopeOf(open)));
    this.openBytes -= writer.size;
    open.writer = null;
    this.#open.delete(open);
    spare.give(writer);
  }

  /** Without a key nothing is sealed; so nothing may be in the block but words of ours. */
  #packerOf({ keyless }: OpenTenant, { changes }: BlockWriter): Packer {
    if (!keyless) return this.packer;
    assert(changes === 0, 'rows of a tenant whose key cannot be had');
    return UNSEALED;
  }

  /** Those with tokens of ours are nobody's, or several partitions'. */
  #scopeOf({ tenant, token }: OpenTenant): Scope | null {
    return this.#profiles === null || token.startsWith('_')
      ? null
      : { tenant, token, partition: this.partition };
  }

  /** Notes how far the message's token has come with it; what has not committed says that it is where it was. */
  #mark(message: Outgoing): Outgoing {
    const { token, lastLsn, part, complete } = message;
    if (message.unmarked === true) return { ...message, ...this.marks.of(token) };
    this.marks.note(token, { lastLsn, part, complete });
    return message;
  }

  #push(open: Pick<OpenTenant, 'token'>, header: Header, block: Buffer, unmarked = false): void {
    const { firstLsn, lastLsn, part, complete } = header;
    const id = idOf(this.#identity, open.token, firstLsn, part);
    const message = { token: open.token, block, id, firstLsn, lastLsn, part, complete };
    this.#finished.push(unmarked ? { ...message, unmarked } : message);
    this.#finishedBytes += block.length;
  }

  #announce(begin: Lsn): void {
    const writer = new BlockWriter();
    const lsn = (begin - 1n) as Lsn; // below whatever comes again, so that no mark covers that
    const header = {
      ...this.#identity,
      tenant: HEARTBEAT_TOKEN as TenantId,
      epoch: 0 as Epoch,
      firstLsn: lsn,
      lastLsn: lsn,
      part: 0,
      complete: true,
      commitTimeUs: 0n,
    };
    writer.begin(lsn, 0n, 0);
    writer.message(lsn, BEGIN_PREFIX, Buffer.from(JSON.stringify({ lsn: formatLsn(begin) })));
    const behind = this.#finished;
    this.#finished = [];
    this.#push({ token: HEARTBEAT_TOKEN }, header, writer.finish(header));
    this.#finished.push(...behind);
    if (begin < this.#firstPending) this.#firstPending = begin;
  }

  #header(open: OpenTenant, lastLsn: Lsn, commitTimeUs: bigint, part: number, complete: boolean): Header {
    const { tenant, epoch, firstLsn, token } = open;
    const header = { ...this.#identity, tenant, epoch, firstLsn, lastLsn, part, complete, commitTimeUs };
    if (token !== HEARTBEAT_TOKEN || this.attempt === null) return header;
    return { ...header, streamed: { kind: 'session', attempt: this.attempt } };
  }
}

export interface StreamedBlock {
  readonly streamed: StreamedHeader;
  /** LSN 0: it has not committed. */
  readonly at: TransactionAt;
  readonly epoch: Epoch;
  readonly part: number;
}

type Header = Omit<BlockHeader, 'transactions' | 'changes'>;

/** Token, and name in the header, of blocks that hold heartbeats and barriers for every tenant of the partition. */
export const HEARTBEAT_TOKEN = '_heartbeat';
/** Prefix of the message, in a block of that token, that says from where on the stream is whole. Written by readers into streams, never into a WAL. */
const BEGIN_PREFIX = 'drover.begin';
