/** The control plane: gRPC over the catalog, the clusters and the other services. Wiring only. */
import { connectBus } from '@drover/bus';
import { openCatalog } from '@drover/catalog';
import { metricsPort, type RunOptions, roleConnection } from '@drover/config';
import { type ClusterId, Closer, must, sleep } from '@drover/core';
import { PgPool } from '@drover/pg';
import { FailoverService, implementationOf, MigrationService, ReplicationService, startServer } from '@drover/rpc';
import { startTelemetry } from '@drover/telemetry';
import type { ControlContext } from './context.ts';
import { failoverHandlers } from './failover-handlers.ts';
import { migrationHandlers } from './migration-handlers.ts';
import { replicationHandlers } from './replication-handlers.ts';

const HEALTH_EVERY_MS = 1000;

export async function run(options: RunOptions): Promise<void> {
  const { config, signal } = options;
  const closer = new Closer();
  try {
    let notReady: string | null = 'starting';
    const telemetry = closer.add(
      await startTelemetry({
        service: 'control',
        host: config.telemetry.host,
        port: options.metricsPort ?? metricsPort(config.telemetry.port, 'control', 0),
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
        name: 'drover control',
      }),
    );
    const catalog = closer.add(await openCatalog(bus, { replicas: nats.replicas }));
    const view = catalog.watchPlacements(signal);
    await view.synced;
    const pools = new Map<string, PgPool>();
    closer.add({ close: async () => void (await Promise.all([...pools.values()].map((pool) => pool.close()))) });
    const context: ControlContext = {
      bus,
      catalog,
      view,
      config,
      log: telemetry.log,
      pool: (cluster: ClusterId, database: string) => {
        const key = `${cluster}/${database}`;
        let pool = pools.get(key);
        if (pool === undefined) {
          const target = must(
            config.clusters.find((c) => c.name === cluster),
            `cluster ${cluster} in the configuration`,
          );
          pool = new PgPool({
            ...roleConnection(target, 'drover_admin', config.security.secret, database),
            applicationName: 'drover control',
            connectTimeoutMs: 3000,
          });
          pools.set(key, pool);
        }
        return pool;
      },
    };
    const server = closer.add(
      await startServer({
        host: config.control.host,
        port: config.control.port,
        services: [
          { service: ReplicationService, implementation: implementationOf(ReplicationService, replicationHandlers(context)) },
          { service: FailoverService, implementation: implementationOf(FailoverService, failoverHandlers(context)) },
          { service: MigrationService, implementation: implementationOf(MigrationService, migrationHandlers(context)) },
        ],
      }),
    );
    notReady = null;
    options.onReady?.({ metricsUrl: telemetry.url, control: `${config.control.host}:${server.port}` });
    do {
      notReady = bus.status() === 'connected' ? null : 'NATS does not answer';
      server.setServing(notReady === null);
    } while (await sleep(HEALTH_EVERY_MS, signal));
  } finally {
    await closer.close();
  }
}
