/** ListLedger and ResolveLedger, in the databases of every cluster. */
import { DroverError, describeError, isCancelled, must } from '@drover/core';
import {
  type LedgerRow,
  listLedger,
  lockTenantRows,
  readLedger,
  resolveLedger,
  setFeed,
  setSkipLsn,
} from '@drover/pg';
import {
  firstMessage,
  LedgerEntrySchema,
  type ListLedgerRequest,
  type ListLedgerResponseSchema,
  ledgerAction,
  type ResolveLedgerRequest,
  type ResolveLedgerResponseSchema,
  type Sent,
} from '@drover/rpc';
import { type ControlContext, clusterOf, limitOf, requestIdOf, tenantOf } from '../context.ts';
import { ledgerMessage } from '../messages.ts';
import { nudgeApply } from '../peers.ts';
import { decideLedger, type LedgerAction } from './ledger-decision.ts';

const LIST_DEFAULT = 100;
const LIST_MAX = 1000;

interface Place {
  readonly cluster: ControlContext['config']['clusters'][number];
  readonly database: string;
}

export async function ledgerOf(
  context: ControlContext,
  request: ListLedgerRequest,
): Promise<Sent<typeof ListLedgerResponseSchema>> {
  const limit = limitOf(request.limit, LIST_DEFAULT, LIST_MAX);
  const filter = {
    limit: limit + 1, // one more tells that there are more
    ...(request.tenant === '' ? {} : { tenant: tenantOf(request.tenant) }),
    ...(request.openOnly ? { status: 'open' as const } : {}),
  };
  const found: { place: Place; row: LedgerRow }[] = [];
  const unreachable = new Set<string>();
  const clusters =
    request.cluster === '' ? context.config.clusters : [clusterOf(context, request.cluster, 'cluster')];
  const places: Place[] = clusters.flatMap((cluster) =>
    cluster.databases.map((database) => ({ cluster, database })),
  );
  const id = Number(request.id);
  await Promise.all(
    places.map(async (place) => {
      try {
        const pool = context.pool(place.cluster.name, place.database);
        const rows = id === 0 ? await listLedger(pool, filter) : await oneEntry(pool, id);
        found.push(...rows.map((row) => ({ place, row })));
      } catch (error) {
        if (isCancelled(error)) throw error;
        unreachable.add(place.cluster.name);
        context.log.warn('ledger not read', {
          cluster: place.cluster.name,
          database: place.database,
          error: describeError(error),
        });
      }
    }),
  );
  found.sort((a, b) => b.row.createdAt.getTime() - a.row.createdAt.getTime() || b.row.id - a.row.id);
  const newest = found
    .slice(0, limit)
    .map(({ place, row }) => ledgerMessage(place.cluster.name, place.database, row));
  const entries = firstMessage(LedgerEntrySchema, newest);
  return { entries, unreachable: [...unreachable].sort(), more: entries.length < found.length };
}

async function oneEntry(pool: ReturnType<ControlContext['pool']>, id: number): Promise<LedgerRow[]> {
  const row = await readLedger(pool, id);
  return row === null ? [] : [row];
}

export async function resolveEntry(
  context: ControlContext,
  request: ResolveLedgerRequest,
): Promise<Sent<typeof ResolveLedgerResponseSchema>> {
  requestIdOf(request.requestId);
  const cluster = clusterOf(context, request.cluster, 'cluster');
  const action = ledgerAction.toWord(request.action);
  if (action === undefined)
    throw new DroverError('rpc.invalid', 'action is missing', { hint: 'retry or skip' });
  const id = Number(request.id);
  if (!Number.isSafeInteger(id) || id <= 0)
    throw new DroverError('rpc.invalid', 'id is missing', { hint: '`drover ledger list` shows ids' });
  const database = request.database === '' ? await databaseOf(context, cluster, id) : request.database;
  if (!cluster.databases.includes(database)) {
    throw new DroverError(
      'rpc.invalid',
      `database: ${cluster.name} has no database ${database} that is captured`,
      {
        hint: `one of ${cluster.databases.join(', ')}`,
      },
    );
  }
  const by = request.who === '' ? 'unknown' : request.who;
  const row = await decide(context, { cluster, database }, { id, action, by });
  context.log.info('ledger entry decided', {
    cluster: cluster.name,
    database,
    id,
    tenant: row.tenant,
    action,
    by,
  });
  await nudgeApply(context.bus, cluster.name, row.tenant);
  return { entry: ledgerMessage(cluster.name, database, row) };
}

/** The database whose ledger has this entry. @throws DroverError `rpc.invalid` when none has, or several have. */
async function databaseOf(context: ControlContext, cluster: Place['cluster'], id: number): Promise<string> {
  const [only] = cluster.databases;
  if (cluster.databases.length === 1 && only !== undefined) return only;
  const having: string[] = [];
  for (const database of cluster.databases) {
    if ((await readLedger(context.pool(cluster.name, database), id)) !== null) having.push(database);
  }
  const [found, other] = having;
  if (found === undefined) throw noEntry(cluster.name, id);
  if (other === undefined) return found;
  throw new DroverError('rpc.invalid', `database is missing: entry ${id} is in several of ${cluster.name}`, {
    hint: `one of ${having.join(', ')}`,
  });
}

/** The entry and what it does to the tenant's feed change in one transaction. */
function decide(
  context: ControlContext,
  place: Place,
  { id, action, by }: { id: number; action: LedgerAction; by: string },
): Promise<LedgerRow> {
  return context.pool(place.cluster.name, place.database).transaction(async (client) => {
    const named = await readLedger(client, id);
    if (named === null) throw noEntry(place.cluster.name, id);
    // The apply worker writes ledger entries under this lock, too: behind it the entry is read as it stands.
    const row = (await lockTenantRows(client, [named.tenant])).get(named.tenant) ?? null;
    const entry = must(await readLedger(client, id), 'ledger entry');
    const decision = decideLedger(entry, row, action);
    switch (decision.kind) {
      case 'already':
        return entry;
      case 'refuse':
        throw new DroverError('rpc.invalid', decision.why, { hint: decision.hint });
      case 'resume':
        await setSkipLsn(client, entry.tenant, decision.skip);
        await setFeed(client, { tenant: entry.tenant, feed: 'catchup', from: ['parked'] });
        break;
      case 'close':
        break;
    }
    await resolveLedger(client, { id, status: action === 'retry' ? 'retried' : 'skipped', by });
    return must(await readLedger(client, id), 'ledger entry');
  });
}

function noEntry(cluster: string, id: number): DroverError {
  return new DroverError('rpc.invalid', `the ledger of ${cluster} has no entry ${id}`, {
    hint: '`drover ledger list` shows them',
  });
}
