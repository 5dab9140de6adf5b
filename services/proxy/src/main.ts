/** The front door: PostgreSQL protocol in, the tenant's current primary out. Wiring only. */
import { connectBus } from '@drover/bus';
import { openCatalog } from '@drover/catalog';
import { deriveContextKey, metricsPort, type RunOptions, roleConnection } from '@drover/config';
import { Closer, type ClusterId, sleep, type TenantId, tenantToken } from '@drover/core';
import { ROLES, signContext } from '@drover/pg';
import { startTelemetry } from '@drover/telemetry';
import { openProxyMetrics } from './metrics.ts';
import { Directory } from './routing/directory.ts';
import { LeaseGuard } from './routing/lease-guard.ts';
import { observe } from './routing/observer.ts';
import { Pools } from './routing/pools.ts';
import { serveQuiesce } from './routing/quiesce.ts';
import { Router } from './routing/router.ts';
import { TenantBook } from './routing/tenant-book.ts';
import { FrontDoor } from './server.ts';
import { homeSettings } from './session/settings.ts';
import { loadTls } from './tls/server-tls.ts';

const PROBE_MS = 500;
const PROBE_TIMEOUT_MS = 2000;

export async function run(options: RunOptions): Promise<void> {
  const { config, signal } = options;
  const closer = new Closer();
  // Outlives `signal` until transactions have ended: the lease must be held as long as they run.
  const ending = new AbortController();
  const background: Promise<void>[] = [];
  try {
    let starting: string | null = 'starting';
    let problem: () => string | null = () => null;
    const telemetry = closer.add(
      await startTelemetry({
        service: 'proxy',
        host: config.telemetry.host,
        port: options.metricsPort ?? metricsPort(config.telemetry.port, 'proxy', 0),
        logLevel: config.telemetry.logLevel,
        ...(config.telemetry.otlpUrl === undefined ? {} : { otlpUrl: config.telemetry.otlpUrl }),
        ready: () => starting ?? problem(),
      }),
    );
    const { log } = telemetry;
    const id = `${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
    const { nats } = config;
    const bus = closer.add(
      await connectBus({
        url: nats.url,
        name: `drover proxy ${id}`,
        ...(nats.user === undefined ? {} : { user: nats.user }),
        ...(nats.password === undefined ? {} : { password: nats.password }),
      }),
    );
    const catalog = closer.add(await openCatalog(bus, { replicas: nats.replicas }));
    const metrics = openProxyMetrics(telemetry.metrics);
    const view = catalog.watchPlacements(ending.signal);
    const directory = new Directory();
    const book = new TenantBook();
    const guard = new LeaseGuard();
    const pools = new Pools(config, (message, fields) => log.warn(message, fields));
    closer.add({ close: async () => pools.close() });
    const router = new Router({
      placement: (tenant) => view.get(tenant as TenantId),
      leaseValid: () => guard.valid(),
      pool: (placement) => pools.of(placement),
    });
    const key = deriveContextKey(config.security.secret);
    const door = new FrontDoor({
      host: config.proxy.host,
      port: config.proxy.port,
      maxClients: config.proxy.maxClients,
      holdMs: config.proxy.holdMs,
      tls:
        config.proxy.tls === 'off'
          ? null
          : loadTls({
              certFile: config.proxy.certFile,
              keyFile: config.proxy.keyFile,
              names: [...new Set([config.proxy.host, 'localhost', '127.0.0.1', '::1'])],
            }),
      tlsRequired: config.proxy.tls === 'require',
      secret: config.security.secret,
      book,
      router,
      errors: metrics,
      sign: (tenant, epoch, number) => signContext(key, tenantToken(tenant as TenantId), epoch, number),
      findTenant: (name) => directory.find(name),
      settingsOf: (tenant) => homeSettings(tenant, config.tagging.schemaPrefix),
      databaseOf: (tenant) => view.get(tenant.tenant)?.database,
      authFailed: (user) => {
        metrics.authFailure();
        log.info('login refused', { user });
      },
    });

    view.onChange((tenant) => book.reconsider(tenant));
    background.push(
      directory.run(catalog.tenants, {
        signal: ending.signal,
        onGone: (tenant) =>
          door.dismiss(tenant, { severity: 'FATAL', code: '57P01', message: 'the tenant was suspended' }),
        onError: (error) => log.warn('tenant registry is not followed', { error }),
      }),
    );
    await Promise.all([view.synced, directory.synced]);
    const address = () => `${config.proxy.host}:${port}`;
    let port = config.proxy.port;
    port = await door.listen();
    closer.add({ close: () => door.close() });
    background.push(
      guard.run({
        bus,
        id,
        ttlMs: config.proxy.leaseMs,
        replicas: nats.replicas,
        value: () => ({ id, address: address(), revision: view.revision }),
        signal: ending.signal,
        caughtUp: () => view.caughtUp(),
        onHeld: () => {
          log.info('lease held', { id });
          book.reconsider();
        },
        onLost: () => {
          if (!ending.signal.aborted) log.warn('lease lost: transactions are cut and held', { id });
          door.cutAll();
        },
        onError: (error) => log.warn('lease cannot be asked for', { error }),
      }),
    );
    view.onChange(() => guard.note({ id, address: address(), revision: view.revision }));
    closer.add(
      serveQuiesce(bus, {
        name: () => guard.name,
        book,
        revision: () => view.revision,
        onChange: (listener) => view.onChange(listener),
      }),
    );

    const probed = new Map<ClusterId, boolean>();
    for (const cluster of config.clusters) {
      background.push(
        observe({
          id: `proxy-${id}`,
          cluster: cluster.name,
          target: roleConnection(cluster, ROLES.tenant, config.security.secret),
          everyMs: PROBE_MS,
          timeoutMs: PROBE_TIMEOUT_MS,
          signal: ending.signal,
          report: (observation, error) => {
            const ok = observation.signals.query === 'ok';
            if (probed.get(cluster.name) !== ok) {
              if (ok) log.info('cluster answers', { cluster: cluster.name });
              else log.warn('cluster does not answer', { cluster: cluster.name, error });
            }
            probed.set(cluster.name, ok);
            if (!bus.nc.isClosed()) bus.nc.publish(`drover.health.proxy-${id}`, JSON.stringify(observation));
          },
        }),
      );
    }
    background.push(
      (async () => {
        while (await sleep(1000, ending.signal)) metrics.flush(door.stats, door.clients, pools.all());
      })(),
    );
    problem = () => {
      if (!guard.valid()) return 'no lease';
      if (probed.size < config.clusters.length) return 'clusters have not been asked yet';
      return [...probed.values()].some((ok) => ok) ? null : 'no cluster answers';
    };
    while (problem() !== null && !signal.aborted) await sleep(20, signal);
    starting = null;
    if (!signal.aborted) {
      log.info('front door open', { address: address() });
      options.onReady?.({ metricsUrl: telemetry.url, port, address: address(), id });
    }
    await Promise.race([aborted(signal), Promise.all(background)]);
    starting = 'shutting down';
    await door.close();
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    ending.abort();
    await Promise.allSettled(background);
    await closer.close();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
