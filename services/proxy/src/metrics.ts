/** The proxy's metrics. The hot path counts in plain numbers; {@link ProxyMetrics.flush} brings them over. */
import type { Metrics } from '@drover/telemetry';
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

export function proxyMetrics(metrics: Metrics): ProxyMetrics {
  const clients = metrics.gauge('drover_proxy_clients', 'Clients that are logged in.');
  const backends = metrics.gauge('drover_proxy_backends', 'Connections to servers, by pool and state.');
  const waiting = metrics.gauge('drover_proxy_waiting_clients', 'Clients in line for a backend, by pool.');
  const transactions = metrics.counter('drover_proxy_transactions_total', 'Transactions begun on a backend.');
  const replays = metrics.counter(
    'drover_proxy_replays_total',
    'Transactions refused for a stale epoch before they did anything and begun again.',
  );
  const holds = metrics.counter(
    'drover_proxy_holds_total',
    'Transactions that waited for their tenant to have a primary.',
  );
  const holdSeconds = metrics.histogram('drover_proxy_hold_seconds', 'How long they waited.');
  const pins = metrics.counter('drover_proxy_pins_total', 'Sessions bound to a backend, by reason.');
  const errors = metrics.counter('drover_proxy_errors_total', 'Errors told to clients, by SQLSTATE class.');
  const auth = metrics.counter('drover_proxy_auth_failures_total', 'Logins refused.');
  let counted = 0;
  let replayed = 0;
  let held = 0;
  const classes = new Map<string, number>();
  return {
    count: (sqlstate) => {
      const cls = sqlstate.slice(0, 2);
      classes.set(cls, (classes.get(cls) ?? 0) + 1);
    },
    authFailure: () => auth.add(1),
    flush: (stats, clientCount, pools) => {
      clients.set(clientCount);
      transactions.add(stats.transactions - counted);
      counted = stats.transactions;
      replays.add(stats.replays - replayed);
      replayed = stats.replays;
      holds.add(stats.holds - held);
      held = stats.holds;
      for (const seconds of stats.holdSeconds.splice(0)) holdSeconds.record(seconds);
      for (const [reason, n] of stats.pins) pins.add(n, { reason });
      stats.pins.clear();
      for (const [cls, n] of classes) errors.add(n, { class: cls });
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
