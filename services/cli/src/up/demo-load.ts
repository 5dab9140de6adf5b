/**
 * A modest live load through the proxy: some connections, each with an ordinary driver, each transaction for a random
 * sample tenant's own connection. Counts what succeeds and fails and the longest wait, so that a switch-over's effect can be seen.
 */
import { describeError, sleep } from '@drover/core';
import pg from 'pg';

export interface DemoLoadOptions {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly password: string;
  readonly tenants: readonly string[];
  /** Transactions a second over all tenants. */
  readonly rate: number;
  readonly signal: AbortSignal;
  readonly onReport?: (report: LoadReport) => void;
}

export interface LoadReport {
  readonly ok: number;
  readonly failed: number;
  readonly slowestMs: number;
  readonly lastError: string | undefined;
}

const WORKERS = 8;
const REPORT_MS = 5000;

export async function runDemoLoad(options: DemoLoadOptions): Promise<LoadReport> {
  const total = { ok: 0, failed: 0, slowestMs: 0, lastError: undefined as string | undefined };
  const everyMs = (1000 * WORKERS) / Math.max(1, options.rate);
  const reporter = (async () => {
    while (await sleep(REPORT_MS, options.signal)) options.onReport?.({ ...total });
  })();
  await Promise.all(
    Array.from({ length: WORKERS }, async (_, worker) => {
      const mine = options.tenants.filter((_tenant, i) => i % WORKERS === worker);
      const clients = new Map<string, pg.Client>();
      for (let n = 0; !options.signal.aborted && mine.length > 0; n++) {
        const tenant = mine[n % mine.length] ?? '';
        const started = performance.now();
        try {
          await transaction(await connected(clients, tenant, options), tenant);
          total.ok++;
        } catch (error) {
          total.failed++;
          total.lastError = `${tenant}: ${describeError(error)}`;
          const broken = clients.get(tenant);
          clients.delete(tenant);
          broken?.end().catch(() => undefined);
        }
        const took = performance.now() - started;
        total.slowestMs = Math.max(total.slowestMs, Math.round(took));
        await sleep(Math.max(0, everyMs - took), options.signal);
      }
      await Promise.all([...clients.values()].map((client) => client.end().catch(() => undefined)));
    }),
  );
  await reporter;
  options.onReport?.({ ...total });
  return total;
}

async function connected(
  clients: Map<string, pg.Client>,
  tenant: string,
  options: DemoLoadOptions,
): Promise<pg.Client> {
  const known = clients.get(tenant);
  if (known !== undefined) return known;
  const client = new pg.Client({
    host: options.host,
    port: options.port,
    database: options.database,
    user: `${tenant}.app`,
    password: options.password,
    application_name: 'drover demo',
    connectionTimeoutMillis: 30_000,
  });
  client.on('error', () => clients.delete(tenant));
  await client.connect();
  await client.query(
    `INSERT INTO customers (tenant_id, id, email, name, plan)
     SELECT $1, i, 'user' || i || '@example.com', 'Customer ' || i, 'team' FROM generate_series(1, 20) i ON CONFLICT DO NOTHING`,
    [tenant],
  );
  clients.set(tenant, client);
  return client;
}

/** An order with its items, now and then a status change or a removal, and a line of activity. */
async function transaction(client: pg.Client, tenant: string): Promise<void> {
  const dice = Math.random();
  if (dice < 0.6) {
    const customer = 1 + Math.floor(Math.random() * 20);
    await client.query('BEGIN');
    try {
      const { rows } = await client.query<{ id: string }>(
        `INSERT INTO orders (tenant_id, customer_id, total, metadata) VALUES ($1, $2, $3, $4) RETURNING id`,
        [
          tenant,
          customer,
          (Math.random() * 500).toFixed(2),
          { channel: dice < 0.3 ? 'web' : 'app', items: 2 },
        ],
      );
      await client.query(
        `INSERT INTO order_items (tenant_id, order_id, line, sku, quantity, price)
         SELECT $1, $2, i, 'SKU-' || (random() * 1000)::int, 1 + i, (random() * 99)::numeric(12,2) FROM generate_series(1, 2) i`,
        [tenant, rows[0]?.id],
      );
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw error;
    }
  } else if (dice < 0.9) {
    await client.query(
      `UPDATE orders SET status = 'paid', updated_at = now()
       WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM orders WHERE status = 'pending' ORDER BY created_at DESC LIMIT 1)`,
    );
  } else {
    await client.query(`INSERT INTO activity (tenant_id, kind, body) VALUES ($1, 'login', repeat('x', 40))`, [
      tenant,
    ]);
  }
}
