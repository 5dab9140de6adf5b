/** What a person wants to know of a tenant that does not come: how far its row, its stream and the worker in between are. For messages only. */
import { type Bus, callPaged, streamName, streamState, subjectOf } from '@drover/bus';
import { type ClusterId, clusterId, partitionOf, type TenantId, tenantToken } from '@drover/core';
import type { TenantRow } from '@drover/pg';

export interface Place {
  readonly target: ClusterId;
  readonly database: string;
  readonly partitions: number;
}

const ANSWER_MS = 2000;

/** Never throws: what cannot be had is not said. */
export async function whereabouts(bus: Bus, place: Place, row: TenantRow): Promise<string> {
  const { feed, reason, stream, streamSeq, source } = row;
  const said = `its row says ${feed}${reason === null ? '' : ` (${reason})`}, looked at up to ${streamSeq ?? 'nothing'}`;
  if (source === null) return said;
  const tenant = row.tenant as TenantId;
  const partition = partitionOf(tenant, place.partitions);
  const name = streamName(clusterId(source), partition);
  const newest = await newestOf(bus, name, subjectOf(clusterId(source), partition, tenantToken(tenant)));
  const end = await streamState(bus, clusterId(source), partition).catch(() => undefined);
  return [
    `${said} of stream ${stream ?? name}`,
    `whose newest message of the tenant is ${newest ?? 'not known'} and whose last is ${end?.lastSeq ?? 'not known'}`,
    await workerOf(bus, place, { tenant, source, partition }),
  ].join(', ');
}

/** Sequence of the newest message of a subject. */
async function newestOf(bus: Bus, stream: string, subject: string): Promise<number | null> {
  try {
    const message = await bus.ask(() => bus.jsm.streams.getMessage(stream, { last_by_subj: subject }));
    return message?.seq ?? 0;
  } catch {
    return null;
  }
}

interface Answer {
  readonly source: string;
  readonly partition: number;
  readonly database: string;
  readonly streamSeq: number;
  readonly pending: number;
  readonly lanes: readonly string[];
  readonly waiting: number;
  readonly error: string | null;
}

async function workerOf(
  bus: Bus,
  { target, database }: Place,
  {
    tenant,
    source,
    partition,
  }: { readonly tenant: string; readonly source: string; readonly partition: number },
): Promise<string> {
  try {
    const all = (await callPaged(bus, `apply.${target}.status`, {}, { timeoutMs: ANSWER_MS })) as Answer[];
    const isIts = (a: Answer): boolean =>
      a.source === source && a.partition === partition && a.database === database;
    const its = all.find(isIts);
    if (its === undefined) return `apply of ${target} does not read it`;
    const lane = its.lanes.includes(tenant) ? 'has a lane of its own' : 'has no lane of its own';
    const error = its.error === null ? '' : `, and does not run: ${its.error}`;
    return `apply of ${target} is at ${its.streamSeq} with ${its.pending} waiting and ${its.waiting} lanes${error}; the tenant ${lane}`;
  } catch {
    return `apply of ${target} does not answer`;
  }
}
