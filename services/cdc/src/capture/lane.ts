/**
 * A lane is one database's share of one partition: the open blocks of its tenants, the blocks that are finished but not
 * published, and the marks of what is in the stream. A flush group takes everything a lane holds, so that everything at
 * or below a group's safe LSN is in earlier groups. Pure: no clock, no I/O.
 */
import { type BlockHeader, type BlockWriter, Packer } from '@drover/block';
import type { ClusterId, Epoch, Lsn, TenantId } from '@drover/core';
import { assert, LSN_MAX, LSN_ZERO, must, tenantToken } from '@drover/core';
import { Marks } from './marks.ts';
import { SpareWriters } from './spare-writers.ts';

/** One message of a flush group; the same shape as the bus's OutMessage. */
export interface Outgoing {
  readonly token: string;
  readonly block: Buffer;
  readonly id: string;
  readonly firstLsn: Lsn;
  readonly lastLsn: Lsn;
  readonly part: number;
  readonly complete: boolean;
}

export interface Group {
  readonly messages: readonly Outgoing[];
  /** Everything of the lane at or below is in earlier groups. */
  readonly safeLsn: Lsn;
  /** Commit LSN of the earliest content: the slot must not be confirmed beyond it before the acknowledgement. */
  readonly firstLsn: Lsn;
  readonly lastLsn: Lsn;
  readonly bytes: number;
}

/** What all blocks of a lane have in common. */
export interface LaneIdentity {
  readonly source: ClusterId;
  readonly database: string;
  readonly systemId: string;
  readonly generation: number;
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

/** Buffers larger than this are not kept for the next block. */
/** Of all lanes of the process. */
const spare = new SpareWriters(32 * 1024 * 1024);

export class Lane {
  readonly partition: number;
  readonly marks: Marks;
  readonly packer: Packer;
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

  constructor(
    partition: number,
    identity: LaneIdentity,
    marks: Marks = new Marks(),
    packer: Packer = new Packer('zstd'),
  ) {
    this.partition = partition;
    this.packer = packer;
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
    for (const open of this.touched) {
      if (!open.hasRows) continue;
      if (open.part >= open.partsSent) {
        this.writerOf(open, at);
        this.#cutEarlier(open);
        this.#finishOpen(open, open.part, false);
      }
      open.part++;
      open.begun = false;
      open.hasRows = false;
    }
    this.cut = true;
    this.transactionBytes = 0;
  }

  /** The transaction at hand has committed. */
  commit(at: TransactionAt): void {
    for (const open of this.touched) {
      const unsent = open.part >= open.partsSent;
      if (open.part > 0 && unsent) {
        this.writerOf(open, at);
        this.#finishOpen(open, open.part, true);
      } else if (open.closeAtCommit && open.writer !== null) {
        this.#finishOpen(open, 0, true);
      }
      open.closeAtCommit = false;
      open.begun = false;
    }
    this.touched = [];
    this.cut = false;
  }

  /**
   * Everything the lane holds of committed transactions, and the parts cut of the one at hand, as one flush group.
   * `through`: the last commit received. Null: nothing to publish.
   */
  takeGroup(through: Lsn): Group | null {
    let heartbeat: OpenTenant | null = null;
    for (const open of this.#open) {
      // Heartbeats come last: what they report about has gone before.
      if (open.token === HEARTBEAT_TOKEN) heartbeat = open;
      else this.#settle(open);
    }
    if (heartbeat !== null) this.#settle(heartbeat);
    const messages = this.#finished;
    const first = messages[0];
    if (first === undefined) return null;
    const group: Group = {
      messages,
      safeLsn: this.marks.safeLsn,
      firstLsn: this.#firstPending,
      lastLsn: messages.reduce((max, m) => (m.lastLsn > max ? m.lastLsn : max), first.lastLsn),
      bytes: this.#finishedBytes,
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
    for (const { token, lastLsn, part, complete } of messages)
      this.marks.note(token, { lastLsn, part, complete });
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
    this.#push(open, header, writer.finishEarlier(header, this.packer));
    this.openBytes += writer.size - before;
    open.firstLsn = open.lastLsn;
  }

  #finishOpen(open: OpenTenant, part: number, complete: boolean): void {
    const writer = must(open.writer, 'writer of an open block');
    const header = this.#header(open, open.lastLsn, open.lastTimeUs, part, complete);
    this.#push(open, header, writer.finish(header, this.packer));
    this.openBytes -= writer.size;
    open.writer = null;
    this.#open.delete(open);
    spare.give(writer);
  }

  #push(open: OpenTenant, header: Header, block: Buffer): void {
    const { systemId, generation } = this.#identity;
    const { firstLsn, lastLsn, part, complete } = header;
    const database = tenantToken(this.#identity.database as TenantId); // spelled like a tenant, for the same reasons
    const id = `${systemId}.${generation}.${open.token}.${firstLsn.toString(16)}.${part}.${database}`;
    this.#finished.push({ token: open.token, block, id, firstLsn, lastLsn, part, complete });
    this.#finishedBytes += block.length;
  }

  #header(open: OpenTenant, lastLsn: Lsn, commitTimeUs: bigint, part: number, complete: boolean): Header {
    const { tenant, epoch, firstLsn } = open;
    return { ...this.#identity, tenant, epoch, firstLsn, lastLsn, part, complete, commitTimeUs };
  }
}

type Header = Omit<BlockHeader, 'transactions' | 'changes'>;

/** Token, and name in the header, of blocks that hold heartbeats and barriers for every tenant of the partition. */
export const HEARTBEAT_TOKEN = '_heartbeat';
