/** The proxy's metrics. The hot path counts in plain numbers; {@link ProxyMetrics.flush} brings them over. */
import { counter, defineMetrics, gauge, histogram, type Metrics } from '@drover/telemetry';
import type { Pool } from './pool/pool.ts';
import type { Stats } from './session/door.ts';

export interface PgErrorSink {
  /** @param sqlstate five characters. */
  count(sqlstate: string): void;
}

export interface ProxyMetrics extends PgErrorSink {
  authFailure(): void;
  flush(stats: Stats, clients: number, pools: Iterable<Pool>): void;
}

export const proxyMetrics = defineMetrics({
  clients: gauge('drover_proxy_clients', 'Clients that are logged in.'),
  backends: gauge(
    'drover_proxy_backends',
    'Connections to servers; a pool is `<cluster>/<database>`, as configured.',
    ['pool', 'state'],
  ),
  waiting: gauge('drover_proxy_waiting_clients', 'Clients in line for a backend.', ['pool']),
  transactions: counter('drover_proxy_transactions_total', 'Transactions begun on a backend.'),
  adoptions: counter(
    'drover_proxy_adoptions_total',
    'Times a backend was given another tenant, epoch or set of settings before a transaction: a round trip each.',
  ),
  replays: counter(
    'drover_proxy_replays_total',
    'Transactions refused for a stale epoch before they did anything and begun again.',
  ),
  holds: counter('drover_proxy_holds_total', 'Transactions that waited for their tenant to have a primary.'),
  holdSeconds: histogram('drover_proxy_hold_seconds', 'How long they waited.'),
  pins: counter('drover_proxy_pins_total', 'Sessions bound to a backend, by reason.', ['reason']),
  errors: counter('drover_proxy_errors_total', 'Errors told to clients, by SQLSTATE class.', ['class']),
  auth: counter('drover_proxy_auth_failures_total', 'Logins refused.'),
});

/** @param metrics where they are published */
export function openProxyMetrics(metrics: Metrics): ProxyMetrics {
  const { clients, backends, waiting, transactions, adoptions, replays, holds, ...m } =
    proxyMetrics.on(metrics);
  let counted = 0;
  let adopted = 0;
  let replayed = 0;
  let held = 0;
  const classes = new Map<string, number>();
  return {
    count: (sqlstate) => {
      const cls = sqlstate.slice(0, 2);
      classes.set(cls, (classes.get(cls) ?? 0) + 1);
    },
    authFailure: () => m.auth.add(1),
    flush: (stats, clientCount, pools) => {
      clients.set(clientCount);
      transactions.add(stats.transactions - counted);
      counted = stats.transactions;
      adoptions.add(stats.adoptions - adopted);
      adopted = stats.adoptions;
      replays.add(stats.replays - replayed);
      replayed = stats.replays;
      holds.add(stats.holds - held);
      held = stats.holds;
      for (const seconds of stats.holdSeconds.splice(0)) m.holdSeconds.record(seconds);
      for (const [reason, n] of stats.pins) m.pins.add(n, { reason });
      stats.pins.clear();
      for (const [cls, n] of classes) m.errors.add(n, { class: cls });
      classes.clear();
      for (const pool of pools) {
        const counts = pool.counts;
        backends.set(counts.idle, { pool: pool.name, state: 'idle' });
        backends.set(counts.busy, { pool: pool.name, state: 'busy' });
        backends.set(counts.opening, { pool: pool.name, state: 'opening' });
        waiting.set(counts.waiting, { pool: pool.name });
      }
    },
  };
}
