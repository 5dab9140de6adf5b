/** Where a pipeline begins: behind what its database has seen, if that still means something in the stream as it is now. */
import { type Anchor, checkAnchor, ensureStream, streamName, streamState } from '@drover/bus';
import { DroverError } from '@drover/core';
import type { Session } from '../target/session.ts';
import { type AppliedUntil, appliedUntil } from './begin-anew.ts';
import type { PipelineDeps } from './deps.ts';
import type { Freshness } from './freshness.ts';
import type { Lineage } from './lineage.ts';

export interface Start {
  readonly seq: number;
  readonly created: string;
  readonly lineage: Lineage | null;
  readonly applied: AppliedUntil | null;
  /** The message at `seq`, as far as it is known. */
  readonly anchor: Anchor | undefined;
}

/** Behind the position on record, or at the stream's first message. */
export async function readStart(deps: PipelineDeps, session: Session, freshness: Freshness): Promise<Start> {
  const { bus, source, partition, stream } = deps;
  // A stream that is there stays as it is: its bounds may have been changed since this process read its configuration.
  const state =
    (await streamState(bus, source, partition)) ??
    (await ensureStream(bus, { cluster: source, partition, ...stream }));
  const [row] = await session.rows(
    `SELECT stream_created, stream_seq, (extract(epoch FROM commit_time) * 1000)::bigint, system_id, generation, message_ms,
            applied_lsn, applied_seq
     FROM drover.stream_position WHERE source = $1 AND partition = $2::int`,
    [source, String(partition)],
  );
  if (row === undefined) {
    const nothing = { lineage: null, applied: null, anchor: undefined };
    return { seq: state.firstSeq - 1, created: state.created, ...nothing };
  }
  freshness.heartbeat(Number(row[2] ?? 0));
  const [created, seq, , systemId, generation, messageMs, appliedLsn, appliedSeq] = row;
  const lineage = generation == null ? null : { systemId: systemId ?? '', generation: Number(generation) };
  return {
    seq: Number(seq),
    created: created ?? '',
    lineage,
    applied: appliedUntil(appliedLsn, appliedSeq),
    anchor:
      messageMs == null || Number(seq) < 1 ? undefined : { seq: Number(seq), timeMs: Number(messageMs) },
  };
}

/** Before anything is read, lanes of tenants included: why the position means nothing in the stream as it is now. */
export async function checkStart(
  { bus, source, partition }: PipelineDeps,
  start: Start,
): Promise<DroverError | undefined> {
  const stream = streamName(source, partition);
  try {
    const state = await streamState(bus, source, partition);
    if (state !== undefined && state.created === start.created && state.lastSeq >= start.seq) {
      if (start.anchor !== undefined) await checkAnchor(bus, stream, start.anchor);
      return undefined;
    }
    return new DroverError('bus.recreated', `stream ${stream} is not the one this position was taken from`);
  } catch (error) {
    if (isLostPosition(error)) return error;
    throw error;
  }
}

export const isLostPosition = (error: unknown): error is DroverError =>
  error instanceof DroverError && (error.code === 'bus.truncated' || error.code === 'bus.recreated');
