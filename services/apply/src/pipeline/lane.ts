/** One tenant beside the main lane: the consumer of its subject, what has been read of it, and how far it is dealt with. */
import { type Anchor, consume, unlessAborted } from '@drover/bus';
import { type Share, type TenantId, tenantToken } from '@drover/core';
import { type Entry, toEntry } from '../changes/entry.ts';
import { BUSY_REASON } from '../fair/passing.ts';
import type { StreamedGroups } from '../streamed/groups.ts';
import type { Session } from '../target/session.ts';
import type { PipelineDeps } from './deps.ts';
import { EntryQueue } from './entry-queue.ts';
import type { Gate } from './gate.ts';

/** Who had too much to do for the main lane is not handed back before so long has passed. */
const BUSY_MS = 3000;

export interface LanesOptions {
  readonly deps: PipelineDeps;
  readonly stream: string;
  readonly created: string;
  readonly gate: Gate;
  /** The main lane's committed position. */
  readonly position: () => number;
  /** A message that the main lane has read. */
  readonly anchor: () => Anchor | undefined;
  readonly groups: StreamedGroups;
  readonly signal: AbortSignal;
}

export class Lane {
  readonly tenant: string;
  readonly queue: EntryQueue;
  readonly stop = new AbortController();
  feeding: Promise<void> = Promise.resolve();
  /** All messages of the tenant up to here are dealt with. */
  seq: number;
  /** When handing over is tried next (performance.now()). */
  handOverAt = 0;
  /** Its turns beside other bulk work of the target. */
  readonly share: Share;
  /** A transaction of several parts is being written on a connection of its own. */
  aside = false;
  /** There was none to be had. */
  inline = false;

  constructor(tenant: string, seq: number, bytesMax: number, share: Share) {
    this.tenant = tenant;
    this.seq = seq;
    this.share = share;
    this.queue = new EntryQueue(bytesMax);
  }

  /** Nothing more is read, and it takes no more turns. */
  end(): void {
    this.stop.abort();
    this.queue.end();
    this.share.leave();
  }
}

/** From behind the tenant's row on; null: the row does not say `catchup`. Nothing is read yet. */
export async function openLane(
  tenant: string,
  session: Session,
  { deps, stream }: LanesOptions,
): Promise<Lane | null> {
  const [row] = await session.rows(
    `SELECT stream, stream_seq, reason FROM drover.tenant WHERE tenant = $1 AND role = 'replica' AND source = $2 AND feed = 'catchup'`,
    [tenant, deps.source],
  );
  if (row === undefined) return null;
  let seq = row[0] === stream || row[0] === null ? Number(row[1] ?? 0) : 0;
  if (seq === 0) {
    const info = await deps.bus.jsm.streams.info(stream);
    seq = Math.max(0, (info.state.messages === 0 ? info.state.last_seq + 1 : info.state.first_seq) - 1);
  }
  const share = deps.turns.join(() => deps.weightOf(tenant));
  const lane = new Lane(tenant, seq, deps.batchBytes, share);
  if (row[2] === BUSY_REASON) lane.handOverAt = performance.now() + BUSY_MS;
  return lane;
}

/** Reads until the lane ends; what fails stands in its queue. */
export async function feedLane(lane: Lane, options: LanesOptions): Promise<void> {
  const { deps, created } = options;
  const anchor = options.anchor();
  const signal = AbortSignal.any([options.signal, lane.stop.signal]);
  try {
    const messages = consume(deps.bus, {
      cluster: deps.source,
      partition: deps.partition,
      startSeq: lane.seq + 1,
      token: tenantToken(lane.tenant as TenantId),
      expectCreated: created,
      ...(anchor === undefined ? {} : { anchor }),
      signal,
    });
    for await (const message of messages) {
      const key = deps.unsealing.ready(message.data);
      if (key !== null) await key;
      const profile = deps.profiling.ready(message.data);
      if (profile !== null) await unlessAborted(signal, profile);
      await lane.queue.push(toEntry(message, deps.database, deps));
      if (lane.stop.signal.aborted) break;
    }
    lane.queue.end();
  } catch (error) {
    if (signal.aborted) lane.queue.end();
    else lane.queue.end(error);
  }
}

/** Of a transaction of several blocks, or the commit of one in progress. One that cannot be read stops its tenant, whatever it is a part of. */
export function isPart(entry: Entry): boolean {
  const header = entry.block?.header;
  if (entry.error !== null) return false;
  return header !== undefined && (!header.complete || header.part > 0 || header.streamed !== undefined);
}
