/**
 * A streamed transaction whose commit a tenant's own lane has come to: its parts are read from the stream again, from where the commit says that
 * they begin, and given out as the parts of a transaction that has committed. JetStream is the spill.
 */
import { type BlockHeader, type KnownRelations, readHeader, type StreamedCommit } from '@drover/block';
import { type Bus, consume, HEARTBEAT_TOKEN } from '@drover/bus';
import { assert, type ClusterId, cancelled, DroverError, type TenantId, tenantToken } from '@drover/core';
import { decodeBlock } from '../changes/decoded-block.ts';
import type { Entry } from '../changes/entry.ts';
import type { Profiling } from '../changes/profiles.ts';
import type { TargetRules } from '../changes/target-rules.ts';
import type { Unsealing } from '../changes/unseal.ts';
import { committedAt, withoutRolledBack } from './part-rows.ts';

export interface Again {
  readonly bus: Bus;
  readonly source: ClusterId;
  readonly partition: number;
  readonly created: string;
  readonly rules: TargetRules | null;
  readonly signal: AbortSignal;
  readonly unsealing: Unsealing;
  readonly profiling: Profiling;
  readonly relations: KnownRelations;
}

/** The commit of a streamed transaction, as its block's header says it. */
export type CommitHeader = BlockHeader & { readonly streamed: StreamedCommit };

/** @throws DroverError `bus.truncated`, `block.corrupt`, `block.sealed` */
export async function* readAgain(
  from: Again,
  commit: Entry,
  header: CommitHeader,
): AsyncGenerator<Entry, void, undefined> {
  const { attempt, xid, parts } = header.streamed;
  const rolledBack = header.streamed.rollbacks
    ? await readRollbacks(from, commit, header)
    : new Set<number>();
  let part = 0;
  for await (const message of read(from, header, tenantToken(header.tenant as TenantId), commit.seq)) {
    const found = readHeader(message);
    const { streamed } = found;
    if (streamed?.kind !== 'part' || streamed.attempt !== attempt || streamed.xid !== xid) continue;
    if (found.database !== header.database) continue;
    if (found.part !== part) throw missing(part, commit);
    const key = from.unsealing.ready(message);
    if (key !== null) await key;
    const whole = decodeBlock(message, found, from);
    const place = { lsn: header.lastLsn, timeUs: header.commitTimeUs, xid };
    const block = committedAt(withoutRolledBack(whole, rolledBack), place);
    const complete = ++part === parts;
    const { streamed: _, ...rest } = header;
    const asPart = { ...rest, part: part - 1, complete, changes: block.count };
    yield {
      ...commit,
      size: message.length,
      block: { ...block, header: asPart },
      from: 0,
      to: 1,
      early: null,
    };
    if (complete) return;
  }
  throw missing(part, commit);
}

async function readRollbacks(from: Again, commit: Entry, header: CommitHeader): Promise<Set<number>> {
  const found = new Set<number>();
  const { attempt, xid } = header.streamed;
  for await (const message of read(from, header, HEARTBEAT_TOKEN, commit.seq)) {
    const { streamed, database } = readHeader(message);
    if (streamed === undefined || streamed.attempt !== attempt || database !== header.database) continue;
    if (streamed.kind === 'rollback' && streamed.xid === xid) found.add(streamed.subxid);
    // The last of the lane's own before the commit.
    if (streamed.kind === 'together' && streamed.xid === xid) return found;
  }
  return found;
}

/** Messages of one token between where the attempt begins and its commit. */
async function* read(
  { bus, source, partition, created, signal }: Again,
  { streamed }: CommitHeader,
  token: string,
  until: number,
): AsyncGenerator<Buffer, void, undefined> {
  const stop = new AbortController();
  const messages = consume(bus, {
    cluster: source,
    partition,
    startSeq: streamed.fromSeq + 1,
    token,
    expectCreated: created,
    signal: AbortSignal.any([signal, stop.signal]),
  });
  try {
    for await (const message of messages) {
      yield message.data;
      if (message.seq >= until) return;
    }
  } finally {
    stop.abort();
  }
  if (signal.aborted) throw cancelled();
}

function missing(part: number, commit: Entry): DroverError {
  return new DroverError(
    'bus.truncated',
    `part ${part} of a streamed transaction is not in the stream before its commit at ${commit.seq}`,
    { facts: { part, seq: commit.seq } },
  );
}

/** Null: the entry is not the commit of a streamed transaction. */
export function commitOf(entry: Entry): CommitHeader | null {
  const { early } = entry;
  if (early === null || early.streamed.kind !== 'commit') return null;
  assert(entry.kind === 'block', 'a commit is a block of its tenant');
  return { ...early, streamed: early.streamed };
}
