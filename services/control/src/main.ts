/** The control plane: gRPC over the catalog, the clusters and the other services. Wiring only. */
import { type Bus, connectBus, watchLeases } from '@drover/bus';
import { openCatalog } from '@drover/catalog';
import { type Config, metricsPort, type RunOptions, roleConnection } from '@drover/config';
import { type Closeable, Closer, type ClusterId, DroverError, must } from '@drover/core';
import { PgPool } from '@drover/pg';
import { createServer, FailoverService, MigrationService, ReplicationService, serve } from '@drover/rpc';
import { type Logger, startTelemetry } from '@drover/telemetry';
import type { ControlContext } from './context.ts';
import { failoverHandlers } from './failover/handlers.ts';
import { controlMetrics } from './metrics.ts';
import { replicationHandlers } from './replication/handlers.ts';
import { migrationHandlers } from './tenants/handlers.ts';

const CONNECT_TIMEOUT_MS = 3000;

/** @throws DroverError `bus.*`, `local.port_in_use` */
export async function run(options: RunOptions): Promise<void> {
  const { config } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const closer = new Closer();
  let notReady: string | null = 'starting';
  try {
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
    const { log } = telemetry;
    const metrics = controlMetrics.on(telemetry.metrics);
    const bus = closer.add(await connectBus({ ...busAccess(config), name: 'drover control' }));
    const catalog = closer.add(await openCatalog(bus, { replicas: config.nats.replicas }));
    const view = catalog.watchPlacements(signal);
    const leases = watchLeases(bus, { signal, replicas: config.nats.replicas });
    await Promise.all([view.synced, leases.synced]);
    const pools = closer.add(new Pools(config));
    const context: ControlContext = {
      bus,
      catalog,
      view,
      leases,
      config,
      log,
      pool: (cluster, database) => pools.get(cluster, database),
    };
    const server = closer.add(
      await createServer({
        host: config.control.host,
        port: config.control.port,
        ...(config.control.token === undefined ? {} : { token: config.control.token }),
        services: [
          serve(ReplicationService, replicationHandlers(context)),
          serve(FailoverService, failoverHandlers(context)),
          serve(MigrationService, migrationHandlers(context)),
        ],
        admit: () => {
          if (notReady !== null)
            throw new DroverError('bus.unreachable', notReady, {
              hint: 'requests are served again when NATS is back',
            });
        },
        onCall: (path, seconds, error) => {
          const method = path.slice(path.lastIndexOf('/') + 1);
          metrics.calls.add(1, { method, code: codeOf(error) });
          metrics.seconds.record(seconds, { method });
          logCall(log, method, error);
        },
      }),
    );
    const setServing = (serving: boolean) => {
      notReady = serving ? null : 'NATS does not answer';
      server.setServing(serving);
      metrics.serving.set(serving ? 1 : 0);
    };
    setServing(bus.status() === 'connected');
    log.info('serving', { port: server.port });
    options.onReady?.({ metricsUrl: telemetry.url, control: `${config.control.host}:${server.port}` });
    await followBus(bus, options.signal, setServing);
  } finally {
    notReady = 'stopping';
    stop.abort();
    await closer.close();
  }
}

/** Until the signal aborts. */
async function followBus(
  bus: Bus,
  signal: AbortSignal,
  setServing: (serving: boolean) => void,
): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
  const events = bus.nc.status()[Symbol.asyncIterator]();
  const follow = async () => {
    for (let event = await events.next(); !event.done; event = await events.next()) {
      if (event.value.type === 'disconnect') setServing(false);
      else if (event.value.type === 'reconnect') setServing(true);
    }
  };
  // The events end with the connection, which is closed after this.
  void follow().catch(() => setServing(false));
  await ended;
}

function busAccess({ nats }: Config): { url: string; user?: string; password?: string } {
  return {
    url: nats.url,
    ...(nats.user === undefined ? {} : { user: nats.user, password: nats.password ?? '' }),
  };
}

/** One pool per cluster and database, made when first asked for. */
class Pools implements Closeable {
  readonly #config: Config;
  readonly #pools = new Map<string, PgPool>();

  constructor(config: Config) {
    this.#config = config;
  }

  get(cluster: ClusterId, database: string): PgPool {
    const key = `${cluster}/${database}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      const target = must(
        this.#config.clusters.find((c) => c.name === cluster),
        `cluster ${cluster} in the configuration`,
      );
      pool = new PgPool({
        ...roleConnection(target, 'drover_admin', this.#config.security.secret, database),
        applicationName: 'drover control',
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
      });
      this.#pools.set(key, pool);
    }
    return pool;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.close()));
  }
}

function codeOf(error: unknown): string {
  if (error === undefined) return 'ok';
  return error instanceof DroverError ? error.code : 'internal';
}

/** Callers are told of their errors; what is ours to mend is logged here. */
function logCall(log: Logger, method: string, error: unknown): void {
  if (error === undefined) log.debug('call', { method });
  else if (error instanceof DroverError && error.code !== 'internal.assertion')
    log.debug('call refused', { method, error });
  else log.error('call failed', { method, error });
}
