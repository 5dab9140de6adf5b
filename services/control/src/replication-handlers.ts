/** ReplicationService: status, lag, verification, ledger. What does not answer is named, not fatal. */
import { callRpc } from '@drover/bus';
import { type ClusterId, describeError, DroverError } from '@drover/core';
import { inTransaction, type LedgerRow, listLedger, readLedger, resolveLedger, setFeed, setSkipLsn } from '@drover/pg';
import { type Handlers, LedgerAction, type ReplicationService } from '@drover/rpc';
import { clusterOf, type ControlContext, placementOf, tenantOf } from './context.ts';
import type { FailoverStatus } from './failover-handlers.ts';
import { ledgerMessage } from './messages.ts';

const RPC_TIMEOUT_MS = 3000;
const VERIFY_IDLE_MS = 120_000;

interface LagEntry {
  readonly tenant: string;
  readonly source: string;
  readonly feed: string;
  readonly lagSeconds: number;
  readonly commitLsn: string | null;
  readonly reason: string | null;
}

interface VerifyResult {
  readonly target: string;
  readonly equal: boolean;
  readonly tables: readonly { table: string; rows: number; equal: boolean; differing: readonly string[] }[];
}

export function replicationHandlers(context: ControlContext): Handlers<typeof ReplicationService> {
  const clusters = context.config.clusters.map((c) => c.name);
  const ask = (method: string) => callRpc(context.bus, method, {}, { timeoutMs: RPC_TIMEOUT_MS });

  return {
    getStatus: async () => {
      const names = [...clusters.map((c) => `cdc.${c}`), ...clusters.map((c) => `apply.${c}`), 'migration'];
      const components = await Promise.all(
        names.map(async (name) => {
          try {
            const status = (await ask(`${name}.status`)) as Record<string, unknown>;
            return { name, ok: status['ok'] !== false, detail: JSON.stringify(status) };
          } catch (error) {
            return { name, ok: false, detail: describeError(error) };
          }
        }),
      );
      let failover: FailoverStatus | undefined;
      try {
        failover = (await ask('failover.status')) as FailoverStatus;
        components.push({ name: 'failover', ok: true, detail: `leader ${failover.leader}${failover.paused ? ', paused' : ''}` });
      } catch (error) {
        components.push({ name: 'failover', ok: false, detail: describeError(error) });
      }
      const placements = [...context.view.all()];
      const lags = await lagOf(context, clusters);
      return {
        components,
        clusters: clusters.map((cluster) => {
          const verdict = failover?.clusters.find((c) => c.cluster === cluster);
          return {
            cluster,
            state: verdict?.state ?? 'unknown',
            score: verdict?.score ?? 0,
            failing: [...(verdict?.failing ?? [])],
            primaries: placements.filter((p) => p.primary === cluster).length,
            replicas: placements.filter((p) => p.replicas[cluster] !== undefined).length,
          };
        }),
        tenants: placements.length,
        moving: placements.filter((p) => p.state === 'moving').length,
        parked: lags.lags.filter((l) => l.feed === 'parked').length,
      };
    },

    getLag: async (request) => {
      const { lags, unreachable } = await lagOf(context, clusters);
      return { lags: request.tenant === '' ? lags : lags.filter((l) => l.tenant === request.tenant), unreachable };
    },

    verifyTenant: async function* (request, signal) {
      const tenant = tenantOf(request.tenant);
      const placement = await placementOf(context, tenant);
      const targets = Object.keys(placement.replicas);
      if (targets.length === 0) throw new DroverError('tenant.no_replica', `${tenant} has no replica to compare with`);
      for (const target of targets) {
        yield { progress: `comparing ${placement.primary} and ${target}`, target };
        const result = (await callRpc(context.bus, 'migration.verify', { tenant, target }, { timeoutMs: VERIFY_IDLE_MS, signal })) as VerifyResult;
        yield {
          done: true,
          target,
          equal: result.equal,
          tables: result.tables.map((t) => ({ table: t.table, rows: BigInt(t.rows), equal: t.equal, differingKeys: [...t.differing] })),
        };
      }
    },

    listLedger: async (request) => {
      const limit = request.limit === 0 ? 100 : Math.min(request.limit, 1000);
      const entries: { cluster: string; row: LedgerRow }[] = [];
      await Promise.all(
        context.config.clusters.flatMap((cluster) =>
          cluster.databases.map(async (database) => {
            try {
              const rows = await listLedger(context.pool(cluster.name, database), {
                ...(request.tenant === '' ? {} : { tenant: request.tenant }),
                ...(request.openOnly ? { status: 'open' as const } : {}),
                limit,
              });
              entries.push(...rows.map((row) => ({ cluster: cluster.name, row })));
            } catch (error) {
              context.log.warn('ledger not read', { cluster: cluster.name, error: describeError(error) });
            }
          }),
        ),
      );
      entries.sort((a, b) => b.row.createdAt.getTime() - a.row.createdAt.getTime() || b.row.id - a.row.id);
      return { entries: entries.slice(0, limit).map((e) => ledgerMessage(e.cluster, e.row)) };
    },

    resolveLedger: async (request) => {
      const cluster = clusterOf(context, request.cluster, 'cluster');
      if (request.action === LedgerAction.UNSPECIFIED) throw new DroverError('rpc.invalid', 'action is missing', { hint: 'retry or skip' });
      const by = request.who === '' ? 'unknown' : request.who;
      const id = Number(request.id);
      const row = await resolve(context, cluster, id, { skip: request.action === LedgerAction.SKIP, by });
      await callRpc(context.bus, `apply.${cluster}.nudge`, { tenant: row.tenant }, { timeoutMs: RPC_TIMEOUT_MS }).catch(() => undefined);
      return { entry: ledgerMessage(cluster, row) };
    },
  };
}

async function lagOf(context: ControlContext, clusters: readonly ClusterId[]) {
  const unreachable: string[] = [];
  const lags = await Promise.all(
    clusters.map(async (target) => {
      try {
        const entries = (await callRpc(context.bus, `apply.${target}.lag`, {}, { timeoutMs: RPC_TIMEOUT_MS })) as LagEntry[];
        return entries.map((e) => ({
          tenant: e.tenant,
          source: e.source,
          target,
          feed: e.feed,
          lagSeconds: e.lagSeconds,
          commitLsn: e.commitLsn ?? '',
          reason: e.reason ?? '',
        }));
      } catch {
        unreachable.push(target);
        return [];
      }
    }),
  );
  return { lags: lags.flat().sort((a, b) => a.tenant.localeCompare(b.tenant)), unreachable };
}

/** The decision and what it does to the tenant's feed are one transaction. Repeating it changes nothing. */
async function resolve(
  context: ControlContext,
  cluster: ClusterId,
  id: number,
  decision: { skip: boolean; by: string },
): Promise<LedgerRow> {
  for (const database of context.config.clusters.find((c) => c.name === cluster)?.databases ?? []) {
    const pool = context.pool(cluster, database);
    if ((await readLedger(pool, id)) === null) continue;
    return pool.withClient((client) =>
      inTransaction(client, async () => {
        const row = await readLedger(client, id);
        if (row === null) throw new DroverError('rpc.invalid', `the ledger of ${cluster} has no entry ${id}`);
        const changed = await resolveLedger(client, { id, status: decision.skip ? 'skipped' : 'retried', by: decision.by });
        if (changed && row.kind === 'poison') {
          if (decision.skip && row.commitLsn !== null) await setSkipLsn(client, row.tenant, row.commitLsn);
          await setFeed(client, { tenant: row.tenant, feed: 'catchup', from: ['parked'] });
        }
        return (await readLedger(client, id)) ?? row;
      }),
    );
  }
  throw new DroverError('rpc.invalid', `the ledger of ${cluster} has no entry ${id}`, { hint: '`drover ledger list`' });
}
