/**
 * AddReplica: the replica is written into the placement as `copying`; the migration service copies it; this watches and tells. The copy
 * goes on when the caller goes away, and asking again joins it.
 */
import { onEvent } from '@drover/bus';
import type { Placement } from '@drover/catalog';
import { type ClusterId, DroverError, type TenantId } from '@drover/core';
import type { AddReplicaRequest, AddReplicaResponseSchema, Sent } from '@drover/rpc';
import { type ControlContext, clusterOf, requestIdOf, tenantOf } from '../context.ts';
import { tenantMessage } from '../messages.ts';
import { askMigration, count, text } from '../peers.ts';
import { placementChanges, QUIET } from '../placement-changes.ts';

type Answer = Sent<typeof AddReplicaResponseSchema>;

/** Progress is told this often at most, and the migration service is asked after when it says nothing for as long as `SILENCE_MS`. */
const TELL_EVERY_MS = 250;
const SILENCE_MS = 5000;

interface Progress {
  readonly phase: string;
  readonly table: string;
  readonly rows: number;
  readonly total: number;
}

export async function* addReplica(
  context: ControlContext,
  request: AddReplicaRequest,
  signal: AbortSignal,
): AsyncGenerator<Answer, void, undefined> {
  requestIdOf(request.requestId);
  const tenant = tenantOf(request.tenant);
  const cluster = clusterOf(context, request.to, 'to');
  const to = cluster.name;
  let progress: Progress = { phase: 'waiting for the migration service', table: '', rows: 0, total: 0 };
  let heard = performance.now();
  let news = true;
  const listening = onEvent(context.bus, 'copy.progress', (_kind, fields) => {
    if (fields['tenant'] !== tenant || fields['to'] !== to) return;
    heard = performance.now();
    news = true;
    progress = next(progress, fields);
  });
  try {
    const { placement, since } = await ask(context, tenant, to, {
      databases: cluster.databases,
      anew: request.anew,
    });
    // Live since before the request does not count: the view may lag behind what was just written.
    const isLive = (p: Placement) => p.replicas[to]?.state === 'live' && p.replicas[to].since !== since;
    if (isLive(placement)) {
      yield await outcome(context, placement);
      return;
    }
    for await (const change of placementChanges(context.view, tenant, { quietMs: TELL_EVERY_MS, signal })) {
      if (change !== QUIET) {
        if (isLive(change)) {
          yield await outcome(context, change);
          return;
        }
        continue;
      }
      const current = context.view.get(tenant);
      if (current !== undefined && current.replicas[to] === undefined) throw gone(tenant, current, to);
      if (news) {
        news = false;
        yield {
          event: {
            case: 'progress',
            value: { ...progress, rows: BigInt(progress.rows), total: BigInt(progress.total) },
          },
        };
      }
      if (performance.now() - heard > SILENCE_MS) {
        await requireMigration(context, tenant);
        heard = performance.now();
      }
    }
  } finally {
    await listening.close();
  }
}

/** An attempt that failed says `error`; the next one goes on from its last chunk. */
function next(before: Progress, fields: Readonly<Record<string, unknown>>): Progress {
  const error = text(fields['error']);
  if (error !== '') return { ...before, phase: `it will be tried again: ${error}` };
  return {
    phase: text(fields['phase']) || before.phase,
    table: text(fields['table']),
    rows: 'rows' in fields ? count(fields['rows']) : before.rows,
    total: 'total' in fields ? count(fields['total']) : before.total,
  };
}

/** `since`: of the state that must be over before the replica counts as live; undefined when it may be live already. */
async function ask(
  context: ControlContext,
  tenant: TenantId,
  to: ClusterId,
  wanted: { databases: readonly string[]; anew: boolean },
): Promise<{ placement: Placement; since: string | undefined }> {
  let since: string | undefined;
  const placement = await context.catalog.changePlacement(tenant, (p) => {
    if (p.primary === to)
      throw new DroverError('rpc.invalid', `to: ${tenant} is served by ${to}`, {
        hint: 'name another cluster',
      });
    if (!wanted.databases.includes(p.database)) {
      throw new DroverError('rpc.invalid', `to: ${to} has no database ${p.database} that is captured`);
    }
    if (p.state === 'moving') {
      throw new DroverError('tenant.busy', `${tenant} is being moved`, {
        hint: `wait for it to end: \`drover tenant show ${tenant}\``,
      });
    }
    const replica = p.replicas[to];
    const isLive = replica?.state === 'live';
    if (replica?.state === 'copying' || (isLive && !wanted.anew)) {
      since = undefined;
      return null;
    }
    if (replica?.state === 'returning') {
      throw new DroverError('tenant.busy', `${to} has come back and is being reconciled for ${tenant}`, {
        hint: 'it becomes live, or is copied, by itself',
      });
    }
    since = replica?.since;
    const now = new Date().toISOString();
    return { ...p, replicas: { ...p.replicas, [to]: { state: 'copying', since: now } }, updatedAt: now };
  });
  return { placement, since };
}

async function outcome(context: ControlContext, placement: Placement): Promise<Answer> {
  return {
    event: {
      case: 'outcome',
      value: tenantMessage(placement, await context.catalog.getTenant(placement.tenant)),
    },
  };
}

function gone(tenant: TenantId, placement: Placement, to: ClusterId): DroverError {
  return placement.primary === to
    ? new DroverError('placement.conflict', `${tenant} was moved to ${to} meanwhile`)
    : new DroverError('placement.conflict', `the replica of ${tenant} at ${to} was removed meanwhile`);
}

/** @throws DroverError `rpc.unavailable` */
async function requireMigration(context: ControlContext, tenant: TenantId): Promise<void> {
  try {
    await askMigration(context.bus);
  } catch (error) {
    throw new DroverError(
      'rpc.unavailable',
      `the copy of ${tenant} is on record, but no migration service works on it`,
      {
        hint: 'it begins when one runs (`drover run migration`); asking again joins it',
        cause: error,
      },
    );
  }
}
