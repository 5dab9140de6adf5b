/**
 * Transactions that come before they have committed (docs/adr/0007-streamed-transactions.md). Their rows leave as parts, tenant by tenant,
 * as they come: at the end of a chunk, once there is enough of a lane, and of many tenants for each of them; so nothing is kept beyond one piece of a lane. What became of a
 * transaction is told by a few bytes when the source has decided. Pure.
 *
 * An attempt is one reading of the source. What PostgreSQL sends of a subtransaction that is being rolled back differs from one reading to the
 * next, so parts of two attempts are never mixed: a new reader begins the transaction anew.
 */
import type { BlockWriter } from '@drover/block';
import type { Lsn, TenantId } from '@drover/core';
import type { EpochMap } from './epoch-map.ts';
import { HEARTBEAT_TOKEN, type Lane, type OpenTenant, type TransactionAt } from './lane.ts';
import { ALL_PARTS } from './marks.ts';
import type { RelationPlan } from './relation-plan.ts';
import { SpareWriters } from './spare-writers.ts';

/**
 * The transaction must come whole: it says things (a schema change, a barrier) whose subtransaction only the source knows. The reader begins
 * anew without streaming until it has passed `until`; null: from now on streaming is fine again.
 */
export class NotStreamed extends Error {
  readonly until: Lsn | null;

  constructor(until: Lsn | null) {
    super('the source is read without streaming for a while');
    this.until = until;
  }
}

export interface StreamedOptions {
  readonly attempt: string;
  readonly epochs: EpochMap;
  /** Tuple bytes of one transaction in one lane after which a piece is published; of many tenants, up to {@link PIECE_PARTS} times as many. */
  readonly partBytes: number;
  /** Less than this of a lane stays when a chunk ends. */
  readonly leastBytes: number;
  /** Pieces of no more tenants are not collected; default 16. */
  readonly fewTenants?: number;
  /** Publish the lane now. */
  readonly onCut: (lane: Lane) => void;
}

export interface KeptMessage {
  readonly lsn: Lsn;
  readonly prefix: string;
  readonly content: Buffer;
}

/** A tenant's rows of one transaction. */
interface Share {
  readonly tenant: TenantId;
  readonly token: string;
  parts: number;
  writer: BlockWriter | null;
  /** The run that the writer's last row is of. */
  run: number;
}

interface LaneShare {
  /** Everything of the attempt stands behind this sequence. */
  readonly fromSeq: number;
  readonly shares: Map<string, Share>;
  /** Shares with rows in the piece at hand. */
  open: Share[];
  bytes: number;
  cuts: number;
}

class Streamed {
  readonly xid: number;
  readonly lanes = new Map<Lane, LaneShare>();
  /** Tables as this transaction sees them. */
  readonly plans = new Map<number, RelationPlan>();
  readonly messages: KeptMessage[] = [];
  /** It must come whole: nothing more is made of it here. */
  whole = false;
  rollbacks = false;
  run = 0;
  runOf = -1;

  constructor(xid: number) {
    this.xid = xid;
  }
}

/** What a row costs beside its tuple, */
const ROW_BYTES = 16;
/** and what a writer costs before its first row. */
const WRITER_BYTES = 4096;
const MESSAGES_MAX = 1000;
/** A piece of no more tenants leaves at the end of its chunk, */
const FEW_TENANTS = 16;
/** one of more when it has so much for each: a part costs reader, bus and replica about what this many bytes of rows do. */
const WORTH_BYTES = 16 * 1024;
const PIECE_PARTS = 4;
/** Of all transactions in progress, so much is kept from one chunk to the next. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;
/** The LSN and time of what has not committed. */
const NOT_COMMITTED: TransactionAt = { commitLsn: 0n as Lsn, commitTimeUs: 0n, xid: 0 };
/** Which subtransaction the rows behind it are of; stands in parts only. */
export const RUN_PREFIX = 'drover.run';
/** Whose rows have committed together; stands in blocks of the lane's own token only. */
export const TOGETHER_PREFIX = 'drover.together';
const spare = new SpareWriters(16 * 1024 * 1024);

export class StreamedTransactions {
  readonly #options: StreamedOptions;
  readonly #transactions = new Map<number, Streamed>();
  #current: Streamed | null = null;
  #subxid = 0;
  /** Bytes of open pieces: rows, and the writers they stand in. */
  #kept = 0;
  readonly #few: number;

  constructor(options: StreamedOptions) {
    this.#options = options;
    this.#few = options.fewTenants ?? FEW_TENANTS;
  }

  /** Changes of a transaction in progress are coming. */
  get inStream(): boolean {
    return this.#current !== null;
  }

  /** Tables as the transaction at hand sees them; null: as all do. */
  get plans(): Map<number, RelationPlan> | null {
    return this.#current?.plans ?? null;
  }

  /** Transactions in progress. */
  get count(): number {
    return this.#transactions.size;
  }

  start(xid: number): void {
    const known = this.#transactions.get(xid) ?? new Streamed(xid);
    this.#transactions.set(xid, known);
    this.#current = known;
    this.#subxid = xid;
  }

  /** The next change is of this transaction or subtransaction. */
  change(xid: number): void {
    this.#subxid = xid;
  }

  stop(): void {
    const current = this.#current;
    this.#current = null;
    if (current === null) return;
    const full = this.#kept > KEPT_BYTES_MAX;
    for (const [lane, there] of current.lanes) {
      const few = there.open.length <= this.#few && there.bytes >= this.#options.leastBytes;
      if (full || few || there.bytes >= this.#enough(there)) this.#publish(current, lane, there);
    }
  }

  /** Of many tenants, what makes their parts worth their cost. */
  #enough({ open }: LaneShare): number {
    const { partBytes } = this.#options;
    if (open.length <= this.#few) return partBytes;
    return Math.max(partBytes, Math.min(PIECE_PARTS * partBytes, open.length * WORTH_BYTES));
  }

  /** Where a row of the tenant goes. Null: nowhere, it will come again. */
  writer(open: OpenTenant, bytes: number): BlockWriter | null {
    const current = this.#current;
    if (current === null || current.whole) return null;
    if (current.messages.length > 0) {
      this.#makeWhole(current);
      return null;
    }
    const { lane } = open;
    let there = current.lanes.get(lane);
    if (there === undefined) {
      there = { fromSeq: lane.assigned(), shares: new Map(), open: [], bytes: 0, cuts: 0 };
      current.lanes.set(lane, there);
    }
    if (there.bytes >= this.#enough(there)) this.#publish(current, lane, there);
    there.bytes += bytes + ROW_BYTES;
    this.#kept += bytes + ROW_BYTES;
    const share = there.shares.get(open.token) ?? newShare(open);
    there.shares.set(open.token, share);
    return this.#writerOf(current, there, share);
  }

  #writerOf(current: Streamed, there: LaneShare, share: Share): BlockWriter {
    if (share.writer === null) {
      share.writer = spare.take();
      share.writer.begin(NOT_COMMITTED.commitLsn, 0n, current.xid);
      share.run = -1;
      there.open.push(share);
      this.#kept += WRITER_BYTES;
    }
    if (current.runOf !== this.#subxid) {
      current.run++;
      current.runOf = this.#subxid;
    }
    if (share.run !== current.run) {
      share.run = current.run;
      const content = Buffer.from(JSON.stringify({ n: current.run, x: this.#subxid }));
      share.writer.message(NOT_COMMITTED.commitLsn, RUN_PREFIX, content);
    }
    return share.writer;
  }

  /** A message of Drover's own. PostgreSQL does not say of which subtransaction: beside rows, or beside a rollback, only the whole tells. */
  message(message: KeptMessage): void {
    const current = this.#current;
    if (current === null || current.whole) return;
    const { messages, lanes, rollbacks } = current;
    if (lanes.size > 0 || rollbacks || messages.length >= MESSAGES_MAX) this.#makeWhole(current);
    else messages.push({ ...message, content: Buffer.from(message.content) });
  }

  /** What it says can only be told of the whole. */
  needWhole(): void {
    const current = this.#current;
    if (current !== null && !current.whole) this.#makeWhole(current);
  }

  abort(xid: number, subxid: number): void {
    const known = this.#transactions.get(xid);
    if (known === undefined) return;
    if (xid === subxid) {
      this.#void(known);
      this.#transactions.delete(xid);
      return;
    }
    known.rollbacks = true;
    known.runOf = -1;
    if (known.messages.length > 0) this.#makeWhole(known);
    // What is rolled back stands before the word that it is.
    for (const [lane, there] of known.lanes) this.#cut(known, lane, there);
    this.#tell(known, subxid);
  }

  /**
   * The transaction has committed. Returns the messages it had, if it had no rows: they are to be read as those of any transaction.
   * @throws NotStreamed
   */
  commit(xid: number, at: TransactionAt): Streamed | null {
    const known = this.#transactions.get(xid) ?? null;
    this.#transactions.delete(xid);
    if (known === null) return null;
    // Another reading has published it as a whole, and died within: so it goes on.
    if (known.whole || isBegun(known, at.commitLsn)) throw new NotStreamed(at.commitLsn);
    for (const [lane, there] of known.lanes) this.#tellCommit(known, lane, there, at);
    return known;
  }

  #tellCommit(known: Streamed, lane: Lane, there: LaneShare, at: TransactionAt): void {
    const { attempt, epochs } = this.#options;
    const { xid, rollbacks } = known;
    const unsent = [...there.shares.values()].filter(
      ({ token }) => lane.marks.partsSent(token, at.commitLsn) !== ALL_PARTS,
    );
    if (unsent.length === 0) {
      this.#drop(there);
      this.#rollback(lane, xid, xid);
      return;
    }
    this.#cut(known, lane, there);
    lane.settleEarlier();
    lane.urgent = true;
    const together = spare.take();
    together.begin(at.commitLsn, at.commitTimeUs, xid);
    const epochOf = (tenant: TenantId) => epochs.at(tenant, at.commitLsn).epoch;
    const whose = { tenants: unsent.map(({ tenant }) => [tenant, epochOf(tenant)]) };
    together.message(at.commitLsn, TOGETHER_PREFIX, Buffer.from(JSON.stringify(whose)));
    const header = { kind: 'together' as const, attempt, xid, tenants: unsent.length };
    lane.pushStreamed(LANES_OWN, { streamed: header, at, epoch: NO_EPOCH, part: 0 }, together);
    spare.give(together);
    for (const { tenant, token, parts } of unsent) {
      const writer = spare.take();
      writer.begin(at.commitLsn, at.commitTimeUs, xid);
      const streamed = {
        kind: 'commit' as const,
        attempt,
        xid,
        parts,
        fromSeq: there.fromSeq,
        rollbacks,
      };
      lane.pushStreamed({ tenant, token }, { streamed, at, epoch: epochOf(tenant), part: 0 }, writer);
      spare.give(writer);
    }
  }

  /** Nothing of what was sent of it counts; at its commit it is asked for anew. */
  #makeWhole(known: Streamed): void {
    known.whole = true;
    known.messages.length = 0;
    this.#void(known);
  }

  #void(known: Streamed): void {
    for (const there of known.lanes.values()) this.#drop(there);
    this.#tell(known, known.xid);
    known.lanes.clear();
  }

  /** The piece at hand counts for nothing. */
  #drop(there: LaneShare): void {
    for (const { writer } of there.open) if (writer !== null) spare.give(writer);
    this.#empty(there);
  }

  #empty(there: LaneShare): void {
    this.#kept -= there.bytes + there.open.length * WRITER_BYTES;
    there.bytes = 0;
    there.open = [];
  }

  #tell(known: Streamed, subxid: number): void {
    for (const [lane, there] of known.lanes) if (there.cuts > 0) this.#rollback(lane, known.xid, subxid);
  }

  #rollback(lane: Lane, xid: number, subxid: number): void {
    const writer = spare.take();
    const streamed = { kind: 'rollback' as const, attempt: this.#options.attempt, xid, subxid };
    lane.pushStreamed(LANES_OWN, { streamed, at: NOT_COMMITTED, epoch: NO_EPOCH, part: 0 }, writer);
    spare.give(writer);
  }

  #publish(current: Streamed, lane: Lane, there: LaneShare): void {
    if (there.open.length === 0) return;
    this.#cut(current, lane, there);
    this.#options.onCut(lane);
  }

  /** Closes the piece at hand, behind whatever has committed before any of its rows. */
  #cut(current: Streamed, lane: Lane, there: LaneShare): void {
    const { attempt, epochs } = this.#options;
    const { open } = there;
    if (open.length === 0) return;
    lane.settleEarlier();
    for (const [i, share] of open.entries()) {
      const { tenant, token, writer } = share;
      if (writer === null) continue;
      const last = i === open.length - 1;
      const streamed = { kind: 'part' as const, attempt, xid: current.xid, cut: there.cuts, last };
      const { epoch } = epochs.at(tenant, LATEST);
      lane.pushStreamed({ tenant, token }, { streamed, at: NOT_COMMITTED, epoch, part: share.parts }, writer);
      share.parts++;
      share.writer = null;
      spare.give(writer);
    }
    this.#empty(there);
    there.cuts++;
  }
}

function isBegun({ lanes }: Streamed, commitLsn: Lsn): boolean {
  for (const [lane, { shares }] of lanes) {
    for (const token of shares.keys()) {
      const sent = lane.marks.partsSent(token, commitLsn);
      if (sent > 0 && sent < ALL_PARTS) return true;
    }
  }
  return false;
}

const newShare = ({ tenant, token }: OpenTenant): Share => ({
  tenant,
  token,
  parts: 0,
  writer: null,
  run: -1,
});
const LATEST = 0xffff_ffff_ffff_fffen as Lsn;
const NO_EPOCH = 0 as ReturnType<EpochMap['at']>['epoch'];
const LANES_OWN = { tenant: HEARTBEAT_TOKEN as TenantId, token: HEARTBEAT_TOKEN };
