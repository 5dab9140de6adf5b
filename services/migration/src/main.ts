/** The migration service: carries out copies that placements ask for, and verifications on request. Wiring only. */
import { callRpc, connectBus, holdLease, serveRpc } from '@drover/bus';
import { openCatalog, Weights } from '@drover/catalog';
import { metricsPort, type RunOptions, roleConnection } from '@drover/config';
import {
  Closer,
  type ClusterId,
  clusterId,
  DroverError,
  must,
  type TenantId,
  Turns,
  tenantId,
} from '@drover/core';
import { PgPool } from '@drover/pg';
import { startTelemetry } from '@drover/telemetry';
import { rulesOf } from '@drover/transform';
import { givesWay } from './copy/give-way.ts';
import { runCopies } from './copy/run-copies.ts';
import { migrationMetrics } from './metrics.ts';
import { verifyTenant } from './verify/verify-tenant.ts';
import { whereabouts } from './verify/whereabouts.ts';

export async function run(options: RunOptions): Promise<void> {
  const { config, signal } = options;
  const rules = { rules: rulesOf(config), secret: config.security.secret };
  const closer = new Closer();
  try {
    let notReady: string | null = 'starting';
    const telemetry = closer.add(
      await startTelemetry({
        service: 'migration',
        host: config.telemetry.host,
        port: options.metricsPort ?? metricsPort(config.telemetry.port, 'migration', 0),
        logLevel: config.telemetry.logLevel,
        ...(config.telemetry.otlpUrl === undefined ? {} : { otlpUrl: config.telemetry.otlpUrl }),
        ready: () => notReady,
      }),
    );
    const { nats } = config;
    const bus = closer.add(
      await connectBus({
        url: nats.url,
        ...(nats.user === undefined ? {} : { user: nats.user, password: nats.password ?? '' }),
        name: 'drover migration',
      }),
    );
    const catalog = closer.add(await openCatalog(bus, { replicas: nats.replicas }));
    const pools = new Map<string, PgPool>();
    closer.add({
      close: async () => void (await Promise.all([...pools.values()].map((pool) => pool.close()))),
    });
    const poolOf = (role: 'drover_admin' | 'drover_apply') => (cluster: ClusterId, database: string) => {
      const key = `${role}/${cluster}/${database}`;
      let pool = pools.get(key);
      if (pool === undefined) {
        const target = must(
          config.clusters.find((c) => c.name === cluster),
          `cluster ${cluster} in the configuration`,
        );
        const connection = roleConnection(target, role, config.security.secret, database);
        pool = new PgPool({ ...connection, applicationName: 'drover migration', max: 8 });
        pools.set(key, pool);
      }
      return pool;
    };
    const { rows, running } = migrationMetrics.on(telemetry.metrics);
    const view = catalog.watchPlacements(signal);
    await view.synced;
    const admin = poolOf('drover_admin');

    closer.add(
      serveRpc(bus, 'migration.verify', async (request, rpc) => {
        const { tenant, target } = request as { tenant?: unknown; target?: unknown };
        if (typeof tenant !== 'string' || typeof target !== 'string')
          throw new DroverError('rpc.invalid', 'tenant and target are needed');
        return verifyTenant(
          {
            catalog,
            tagging: config.tagging,
            rules,
            admin,
            nudge: async (cluster, who) => {
              await callRpc(bus, `apply.${cluster}.nudge`, { tenant: who }, { timeoutMs: 1000 }).catch(
                () => undefined,
              );
            },
            whereabouts: (cluster, database, row) =>
              whereabouts(bus, { target: cluster, database, partitions: nats.partitions }, row),
            progress: (line) => rpc.progress({ line }),
            signal: AbortSignal.any([signal, rpc.signal]),
          },
          tenantId(tenant),
          clusterId(target),
        );
      }),
    );
    let copies = 0;
    closer.add(serveRpc(bus, 'migration.status', async () => ({ ok: true, copies })));
    notReady = null;
    options.onReady?.({ metricsUrl: telemetry.url });

    const tierOf = async (tenant: TenantId) => (await catalog.getTenant(tenant))?.tier ?? null;
    const weights = new Weights({ tiers: config.tiers, tierOf });
    // Of the copies that run, half move rows at once, by weight.
    const turns = new Turns({ atOnce: Math.ceil(config.migration.parallel / 2) });
    while (!signal.aborted) {
      const lost = new AbortController();
      const lease = await holdLease(bus, {
        key: 'migration',
        ttlMs: 5000,
        value: { pid: process.pid },
        signal,
        onLost: () => lost.abort(),
        replicas: nats.replicas,
      });
      if (lease === undefined) break;
      try {
        await runCopies({
          context: {
            bus,
            catalog,
            log: telemetry.log,
            tagging: config.tagging,
            rules,
            partitions: nats.partitions,
            chunkRows: config.migration.chunkRows,
            admin,
            apply: poolOf('drover_apply'),
            signal: AbortSignal.any([signal, lost.signal]),
            onRows: (n) => rows.add(n),
            turnsOf: (tenant) => turns.join(() => weights.of(tenant)),
            giveWayMs: givesWay(bus, config.cdc.heartbeatMs),
          },
          view,
          parallel: config.migration.parallel,
          onRunning: (n) => {
            copies = n;
            running.set(n);
          },
        });
      } finally {
        await lease.release();
      }
    }
  } finally {
    await closer.close();
  }
}
