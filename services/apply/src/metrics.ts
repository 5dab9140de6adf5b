/** The apply worker's metrics, in one place. */
import { counter, defineMetrics, gauge, histogram, type Metrics, TenantLabel } from '@drover/telemetry';
import type { BatchResult } from './apply/batch.ts';

export interface ApplyMetrics {
  applied(source: string, result: BatchResult, seconds: number): void;
  lag(tenants: readonly TenantLag[]): void;
  fetchedProfile(source: string): void;
}

/** One tenant's state, as `apply.<cluster>.lag` answers it. */
export interface TenantLag {
  readonly tenant: string;
  readonly source: string | null;
  readonly epoch: number;
  readonly feed: string | null;
  readonly lagSeconds: number | null;
  readonly commitLsn: string | null;
  /** Messages that wait in the tenant's partition. */
  readonly pending: number;
  readonly reason: string | null;
}

const FEED = ['cluster', 'source'] as const;

export const applyMetrics = defineMetrics({
  rows: counter('drover_apply_rows_total', 'Row changes applied.', FEED),
  transactions: counter('drover_apply_transactions_total', 'Source transactions applied.', FEED),
  blocks: counter('drover_apply_blocks_total', 'Blocks read, by what became of them.', [...FEED, 'outcome']),
  ledger: counter('drover_apply_ledger_total', 'Ledger rows written, by kind.', [...FEED, 'kind']),
  batches: histogram('drover_apply_batch_seconds', 'Time from taking a batch to its commit.', FEED),
  profiles: counter(
    'drover_apply_profiles_total',
    'Profiles fetched from a stream, which small blocks need.',
    FEED,
  ),
  lag: gauge(
    'drover_apply_lag_seconds',
    'Lag of a tenant, 0 when it is held here no more; the largest of those without a name of their own under `other`.',
    ['cluster', 'tenant'],
  ),
  feeds: gauge('drover_apply_tenants', 'Replicas held here, by feed.', ['cluster', 'feed']),
});

/** @param topTenants `[telemetry] top_tenants`: so many tenants have a name of their own in labels (I9) */
export function openApplyMetrics(metrics: Metrics, cluster: string, topTenants: number): ApplyMetrics {
  const { rows, transactions, blocks, ledger, batches, profiles, lag, feeds } = applyMetrics.on(metrics);
  const label = new TenantLabel(topTenants);
  /** Labels that have a lag: a gauge keeps its value until it gets another. */
  const shown = new Set<string>();
  return {
    fetchedProfile: (source) => profiles.add(1, { cluster, source }),
    applied(source, result, seconds) {
      const labels = { cluster, source };
      if (result.rows > 0) rows.add(result.rows, labels);
      if (result.transactions > 0) transactions.add(result.transactions, labels);
      for (const [outcome, n] of result.counts) blocks.add(n, { ...labels, outcome });
      for (const note of result.notes) ledger.add(1, { ...labels, kind: note.kind });
      batches.record(seconds, labels);
    },
    lag(tenants) {
      const byLabel = new Map<string, number>(Array.from(shown, (name) => [name, 0]));
      const byFeed = new Map<string, number>(
        ['copying', 'catchup', 'live', 'held', 'parked'].map((feed) => [feed, 0]),
      );
      for (const { tenant, feed, lagSeconds } of tenants) {
        if (feed === null) continue;
        byFeed.set(feed, (byFeed.get(feed) ?? 0) + 1);
        if (lagSeconds === null) continue;
        const name = label.of(tenant);
        byLabel.set(name, Math.max(byLabel.get(name) ?? 0, lagSeconds));
      }
      for (const [tenant, seconds] of byLabel) {
        lag.set(seconds, { cluster, tenant });
        shown.add(tenant);
      }
      for (const [feed, n] of byFeed) feeds.set(n, { cluster, feed });
    },
  };
}
