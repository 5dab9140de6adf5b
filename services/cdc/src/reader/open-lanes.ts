/**
 * The lanes of one database, each where its stream lets it go on. A stream that has lost what it had acknowledged (pitfalls 8, 58) is where the
 * two policies of durability part: `applied` has kept everything that is not at all replicas in the slot, and brings it again from there;
 * `nats-fsync` has let go of it, so going on would pass over it in silence, and is refused.
 */
import type { Packer } from '@drover/block';
import { type Bus, busError, type Publisher, stillHolds, streamName, streamState } from '@drover/bus';
import { type ClusterId, DroverError, formatLsn, type Lsn, type TenantId, tenantToken } from '@drover/core';
import type { Logger } from '@drover/telemetry';
import { Lane } from '../capture/lane.ts';
import { Marks } from '../capture/marks.ts';
import type { Profiles } from '../capture/profiles.ts';
import { type FoundMarks, hasLostStream, resumeFrom, type SourceFacts } from '../capture/resume.ts';
import type { ReaderRecord } from '../watch/reader-record.ts';
import { readDatabaseMarks } from './found-marks.ts';

export interface OpenLanes {
  readonly bus: Bus;
  readonly cluster: ClusterId;
  readonly database: string;
  readonly publishers: readonly Publisher[];
  readonly durability: 'nats-fsync' | 'applied';
  /** The first time in this process: what the streams hold is not known yet. */
  readonly first: boolean;
  readonly record: ReaderRecord | null;
  readonly log: Logger;
  readonly packer: Packer;
  readonly profiles: Profiles | null;
}

export interface OpenedLane {
  readonly lane: Lane;
  /** The stream has held a message. */
  readonly fed: boolean;
}

/** @throws DroverError `bus.recreated`, `pg.identity_changed`, `bus.unreachable` */
export async function openLanes(options: OpenLanes, source: SourceFacts): Promise<OpenedLane[]> {
  try {
    return await lanesOf(options, source);
  } catch (error) {
    throw busError(error, 'the streams cannot be read');
  }
}

async function lanesOf(options: OpenLanes, source: SourceFacts): Promise<OpenedLane[]> {
  const { bus, cluster, database, publishers, first, packer, profiles } = options;
  const identity = { source: cluster, database, systemId: source.systemId, generation: source.generation };
  const opened: OpenedLane[] = [];
  for (const [partition, publisher] of publishers.entries()) {
    const lastSeq = (await streamState(bus, cluster, partition))?.lastSeq ?? 0;
    const lost = first && (await hasLost(options, partition, lastSeq, source));
    if (lost) {
      const lane = new Lane(partition, identity, beginAnew(options, partition, source), packer, profiles);
      lane.beginAt(mustConfirmed(source));
      opened.push({ lane, fed: lastSeq > 0 });
      continue;
    }
    const found = first ? await marksOf(options, partition, publisher) : null;
    const lane = new Lane(partition, identity, resumeFrom(found, source), packer, profiles);
    opened.push({ lane, fed: lastSeq > 0 });
  }
  return opened;
}

/** What the stream holds of this database. It may end with others', also of such that are not captured any more. */
function marksOf(
  { bus, cluster, database }: OpenLanes,
  partition: number,
  { resume }: Publisher,
): Promise<FoundMarks | null> | FoundMarks | null {
  if (resume === null || resume.database === tenantToken(database as TenantId)) return resume; // as in outgoing.ts
  return readDatabaseMarks(bus, { cluster, partition, database });
}

async function hasLost(
  { bus, cluster, record }: OpenLanes,
  partition: number,
  lastSeq: number,
  source: SourceFacts,
): Promise<boolean> {
  if (lastSeq === 0 && hasLostStream(source)) return true;
  // Of another slot, or another system: an operator has begun anew, and what the streams held is not comparable.
  if (record?.generation !== source.generation || record.systemId !== source.systemId) return false;
  const stored = record.streams.get(partition);
  return stored !== undefined && !(await stillHolds(bus, { cluster, partition }, stored));
}

/** All that the slot still holds is to be published again. @throws DroverError `bus.recreated` when the slot has let go of what is missing */
function beginAnew(
  { cluster, database, durability, log }: OpenLanes,
  partition: number,
  source: SourceFacts,
): Marks {
  const stream = streamName(cluster, partition);
  if (durability !== 'applied') {
    throw new DroverError(
      'bus.recreated',
      `possible data loss: stream ${stream} does not hold what it had acknowledged, and "${database}" has let go of it`,
      {
        hint: `run \`drover setup --resync --cluster ${cluster}\`: its tenants are parked then, copy them anew`,
        facts: { stream, confirmed: formatLsn(mustConfirmed(source)) },
      },
    );
  }
  log.warn('a stream has lost what it held: published again from the slot', { stream });
  return new Marks((mustConfirmed(source) - 1n) as Lsn);
}

function mustConfirmed(source: SourceFacts): Lsn {
  if (source.confirmedLsn !== null) return source.confirmedLsn;
  throw new DroverError('pg.stream', `the slot of "${source.database}" has no confirmed position yet`);
}
