/**
 * Drives one database's stream: messages into the assembler, lanes to the publishers by the flush policy, acknowledgements back to
 * the slot. Guarantees: the slot is confirmed only up to the contiguous prefix of what is acknowledged (I1); bytes held in open
 * blocks and in flight stay near the bound, because reading pauses above it (I9).
 *
 * The loop: read -> batchEnd -> flush -> acknowledgement -> flush, confirm, resume. A timer fires only for a lane that waits for
 * its age.
 */
import { type Deferred, deferred, LSN_MAX, LSN_ZERO, type Lsn } from '@drover/core';
import type { ReplicationStream, WalHandler } from '@drover/pg';
import type { Assembler } from '../capture/assembler.ts';
import { Confirmer, type ConfirmState, confirmable } from '../capture/confirm.ts';
import { decideFlush, decidePause, type FlushLimits, isCatchingUp } from '../capture/flush-policy.ts';
import type { Group, Lane } from '../capture/lane.ts';
import { WaitingTransactions } from '../capture/waiting.ts';

/** A lane and what of it is on its way. Outlives a connection to the source; the groups in flight do too. */
export interface LaneFeed {
  readonly lane: Lane;
  readonly inFlight: Group[];
  /** The stream has held a message. */
  fed: boolean;
  oldestAtMs: number;
  /** What the pump had read by then. */
  oldestAtBytes?: number;
  /** Told of each acknowledgement: the pump at work, whichever published the group. */
  notify: () => void;
  /** Resolves when the group and all before it are acknowledged. */
  publish(group: Group): Promise<void>;
}

export type Failpoint = 'before-publish' | 'after-publish' | 'after-ack' | 'before-confirm';

export interface PumpOptions {
  readonly stream: ReplicationStream;
  readonly assembler: Assembler;
  readonly feeds: readonly LaneFeed[];
  readonly limits: Omit<FlushLimits, 'laneBytes'> & {
    readonly heldBytes: number;
    readonly streamAboveBytes: number;
  };
  readonly nowMs: () => number;
  /** Tests stop the reader here: what it throws is as if the process had died. */
  readonly failpoint?: (name: Failpoint) => void;
  readonly onAck?: (group: Group, seconds: number) => void;
  /** Nothing beyond may be confirmed, whatever is acknowledged; null: nothing at all yet; undefined: the acknowledgements alone decide. */
  readonly bound?: () => Lsn | null | undefined;
}

/** Transactions that wait for their commit have this share of what may be held, beside it. */
const WAITING_SHARE = 0.5;
/** Rows of transactions in progress on their way to the bus: nobody waits for them, and everybody waits behind them. */
const EARLY_BYTES_MAX = 16 * 1024 * 1024;
/** A read of this size means that more is waiting. */
const FULL_READ_BYTES = 48 * 1024;
/** With so much to publish, its replicas are behind: columns would keep them there for longer. */
const HURRY_BYTES = 512 * 1024;

export class Pump implements WalHandler {
  readonly #options: PumpOptions;
  readonly #waiting: WaitingTransactions;
  readonly #confirmer = new Confirmer();
  readonly #failed: Deferred<never> = deferred();
  /** Where the source was, and when, of what has not been read yet. */
  readonly #ahead: { readonly lsn: Lsn; readonly atMs: number }[] = [];
  /** The source was read up to where it was at some time. */
  #caughtUp = false;
  #readBytes = 0;
  /** Since the pump began. */
  #allBytes = 0;
  #behind = false;
  #publishedAtMs = Number.NEGATIVE_INFINITY;
  #keepaliveEnd: Lsn = LSN_ZERO;
  #timer: NodeJS.Timeout | undefined;
  #pausedAtMs: number | null = null;
  #pausedMs = 0;
  #closed = false;

  constructor(options: PumpOptions) {
    this.#options = options;
    const { heldBytes, streamAboveBytes } = options.limits;
    this.#waiting = new WaitingTransactions(options.assembler, streamAboveBytes, heldBytes * WAITING_SHARE);
    this.#failed.promise.catch(() => {}); // reported by run(), also when that has ended
    // Groups of the connection before this one: their acknowledgements move this one on.
    for (const feed of options.feeds) {
      feed.oldestAtMs = 0;
      feed.notify = () => this.#guard(() => this.#step());
    }
  }

  /** Streams until the stream is closed. @throws what ended the stream, or the publisher's failure */
  async run(): Promise<void> {
    try {
      await Promise.race([this.#options.stream.read(this), this.#failed.promise]);
    } finally {
      this.#closed = true;
      clearTimeout(this.#timer);
    }
  }

  get confirmed(): Lsn {
    return this.#confirmer.confirmed;
  }

  get paused(): boolean {
    return this.#pausedAtMs !== null;
  }

  /** Since the stream began. */
  get pausedSeconds(): number {
    const current = this.#pausedAtMs === null ? 0 : this.#options.nowMs() - this.#pausedAtMs;
    return (this.#pausedMs + current) / 1000;
  }

  get heldBytes(): number {
    let bytes = this.inFlightBytes;
    for (const { lane } of this.#options.feeds) bytes += lane.waitingBytes;
    return bytes;
  }

  /** Of transactions in progress. */
  get waitingBytes(): number {
    return this.#waiting.keptBytes;
  }

  get inFlightBytes(): number {
    let bytes = 0;
    for (const { inFlight } of this.#options.feeds) for (const group of inFlight) bytes += group.bytes;
    return bytes;
  }

  get #earlyBytes(): number {
    let bytes = 0;
    for (const { inFlight } of this.#options.feeds) for (const group of inFlight) bytes += group.earlyBytes;
    return bytes;
  }

  /** The source has written up to here, at that time. */
  sourceAt(lsn: Lsn, atMs: number): void {
    this.#ahead.push({ lsn, atMs });
  }

  /** The bound has moved. */
  boundMoved(): void {
    if (!this.#closed) this.#guard(() => this.#confirm());
  }

  /** Up to where the slot could be confirmed if there were no bound. */
  get acknowledged(): Lsn {
    return confirmable({ ...this.#confirmState(), applied: LSN_MAX });
  }

  /** For how long the source has had something newer than what was read. */
  get behindMs(): number {
    const { received } = this.#options.stream;
    while (this.#ahead[0] !== undefined && this.#ahead[0].lsn <= received) {
      this.#ahead.shift();
      this.#caughtUp = true;
    }
    const oldest = this.#ahead[0];
    return oldest === undefined ? 0 : this.#options.nowMs() - oldest.atMs;
  }

  data(bytes: Buffer, start: number, end: number): void {
    this.#readBytes += end - start;
    this.#waiting.data(bytes, start, end);
  }

  keepalive(walEnd: Lsn): void {
    this.#keepaliveEnd = walEnd;
    this.#confirm();
  }

  batchEnd(): void {
    this.#behind = this.#readBytes >= FULL_READ_BYTES;
    this.#allBytes += this.#readBytes;
    this.#readBytes = 0;
    this.#step();
  }

  /** The transaction at hand was cut in this lane. */
  cut(lane: Lane): void {
    const feed = this.#options.feeds.find((candidate) => candidate.lane === lane);
    if (feed !== undefined) this.#flush(feed);
    this.#pace();
  }

  #step(): void {
    if (this.#closed) return;
    this.#flushDue();
    this.#pace();
    this.#confirm();
  }

  #flushDue(): void {
    const { feeds, limits } = this.#options;
    const nowMs = this.#options.nowMs();
    const { behindMs } = this;
    // Until the source's own word has been reached once, there may be any amount to catch up with.
    const hurried = !this.#caughtUp || this.#behind || isCatchingUp(behindMs);
    const publishedAtMs = this.#publishedAtMs; // before this step: lanes that are due go together
    // A third: one collects, two are in flight.
    const flushLimits = { ...limits, laneBytes: limits.heldBytes / (3 * feeds.length) };
    let waitMs = Number.POSITIVE_INFINITY;
    for (const feed of feeds) {
      const { lane } = feed;
      if (lane.waitingBytes === 0) continue;
      lane.packer.hurried = hurried || lane.waitingBytes >= HURRY_BYTES;
      if (feed.oldestAtMs === 0) {
        feed.oldestAtMs = nowMs;
        feed.oldestAtBytes = this.#allBytes;
      }
      const load = {
        waitingBytes: lane.waitingBytes,
        largestBytes: lane.largestBytes,
        inFlightGroups: feed.inFlight.length,
        urgent: lane.urgent,
        oldestAtMs: feed.oldestAtMs,
        behind: this.#behind,
        blocks: lane.waitingBlocks,
        readBytes: (this.#allBytes - (feed.oldestAtBytes ?? 0)) / feeds.length,
        behindMs,
        publishedAtMs,
      };
      const answer = decideFlush(load, flushLimits, nowMs);
      if (answer === 'flush') this.#flush(feed);
      else waitMs = Math.min(waitMs, answer);
    }
    clearTimeout(this.#timer);
    if (Number.isFinite(waitMs)) {
      this.#timer = setTimeout(() => this.#guard(() => this.#step()), Math.max(1, Math.ceil(waitMs)));
    }
  }

  #flush(feed: LaneFeed): void {
    const group = feed.lane.takeGroup(this.#options.assembler.lastCommit);
    feed.oldestAtMs = 0;
    if (group === null) return;
    this.#options.failpoint?.('before-publish');
    this.#publishedAtMs = this.#options.nowMs();
    feed.inFlight.push(group);
    void this.#publish(feed, group);
    this.#options.failpoint?.('after-publish');
  }

  async #publish(feed: LaneFeed, group: Group): Promise<void> {
    const startMs = this.#options.nowMs();
    try {
      await feed.publish(group);
      this.#options.failpoint?.('after-ack');
      const at = feed.inFlight.indexOf(group);
      if (at >= 0) feed.inFlight.splice(0, at + 1);
      feed.fed = true;
      this.#options.onAck?.(group, (this.#options.nowMs() - startMs) / 1000);
      feed.notify();
    } catch (error) {
      this.#failed.reject(error);
    }
  }

  #pace(): void {
    const { stream, limits } = this.#options;
    const state = { paused: this.paused, heldBytes: this.heldBytes, inFlightBytes: this.inFlightBytes };
    const early = this.#earlyBytes;
    const earlyState = { paused: this.paused, heldBytes: early, inFlightBytes: early };
    const pause = decidePause(state, limits.heldBytes) || decidePause(earlyState, EARLY_BYTES_MAX);
    if (pause === this.paused) return;
    if (pause) {
      this.#pausedAtMs = this.#options.nowMs();
      stream.pause();
    } else {
      this.#pausedMs += this.#options.nowMs() - (this.#pausedAtMs ?? this.#options.nowMs());
      this.#pausedAtMs = null;
      stream.resume();
    }
  }

  #confirm(): void {
    const { feeds, stream } = this.#options;
    // A slot that was confirmed proves that every stream was fed (resume.ts, checkStream). Heartbeats feed them all.
    if (feeds.some((feed) => !feed.fed)) return;
    const lsn = this.#confirmer.next(this.#confirmState());
    if (lsn === null) return;
    this.#options.failpoint?.('before-confirm');
    stream.confirm(lsn);
  }

  #confirmState(): ConfirmState {
    const { assembler, feeds, stream } = this.#options;
    let firstPending: Lsn | null = null;
    for (const { lane, inFlight } of feeds) {
      const pending = firstLsnOf(inFlight) ?? lane.firstPending;
      if (pending !== null && (firstPending === null || pending < firstPending)) firstPending = pending;
    }
    return {
      openCommit: assembler.openCommit,
      firstPending,
      lastEnd: assembler.lastEnd,
      keepaliveEnd: this.#keepaliveEnd,
      received: stream.received,
      applied: this.#bound(),
    };
  }

  #bound(): Lsn {
    const bound = this.#options.bound?.();
    return bound === undefined ? LSN_MAX : (bound ?? LSN_ZERO);
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed.reject(error);
    }
  }
}

/** Groups are in order, but one of nothing but transactions in progress says nothing. */
function firstLsnOf(groups: readonly Group[]): Lsn | null {
  return groups.find(({ firstLsn }) => firstLsn !== LSN_MAX)?.firstLsn ?? null;
}
