/**
 * The failover controller. Every instance observes; the one that holds the lease `leader.failover` acts. Wiring only.
 */
import { connectBus, holdLease, Kv, publishEvent, serveRpc, watchLeases } from '@drover/bus';
import { openCatalog } from '@drover/catalog';
import { metricsPort, type RunOptions, roleConnection } from '@drover/config';
import { Closer, type ClusterId, must, sleep } from '@drover/core';
import { PgPool } from '@drover/pg';
import { startTelemetry } from '@drover/telemetry';
import { ClusterHealth, type Observation } from './health/judge.ts';
import { runProbe } from './health/probe.ts';
import { ensureHistory, readHistory } from './history.ts';
import { lead } from './leader.ts';
import { failoverMetrics } from './metrics.ts';
import { isRecord } from './moves/steps.ts';
import type { MoveContext } from './moves/switchover.ts';

interface Settings {
  readonly paused: boolean;
  readonly by: string;
  readonly at: string;
}
const SETTINGS_KEY = 'failover';

export async function run(options: RunOptions): Promise<void> {
  const { config, signal } = options;
  const closer = new Closer();
  try {
    let notReady: string | null = 'starting';
    const telemetry = closer.add(
      await startTelemetry({
        service: 'failover',
        host: config.telemetry.host,
        port: options.metricsPort ?? metricsPort(config.telemetry.port, 'failover', 0),
        logLevel: config.telemetry.logLevel,
        ...(config.telemetry.otlpUrl === undefined ? {} : { otlpUrl: config.telemetry.otlpUrl }),
        ready: () => notReady,
      }),
    );
    const { log } = telemetry;
    const id = `failover-${process.pid}`;
    const bus = closer.add(await connectBus({ ...natsOptions(config.nats), name: `drover ${id}` }));
    await ensureHistory(bus, config.nats.replicas);
    const catalog = closer.add(await openCatalog(bus, { replicas: config.nats.replicas }));
    const settings = await Kv.open<Settings>(bus, 'drover_settings', { replicas: config.nats.replicas });
    const metrics = failoverMetrics(telemetry.metrics);

    const pools = new Map<string, PgPool>();
    closer.add({ close: async () => void (await Promise.all([...pools.values()].map((p) => p.close()))) });
    const pool = (cluster: ClusterId, database: string): PgPool => {
      const key = `${cluster}/${database}`;
      let found = pools.get(key);
      if (found === undefined) {
        const target = must(
          config.clusters.find((c) => c.name === cluster),
          `cluster ${cluster} in the configuration`,
        );
        found = new PgPool({
          ...roleConnection(target, 'drover_admin', config.security.secret, database),
          applicationName: 'drover failover',
          max: 8,
        });
        pools.set(key, found);
      }
      return found;
    };

    const health = new ClusterHealth({
      minSignals: config.failover.minSignals,
      minObservers: config.failover.minObservers,
      graceMs: config.failover.graceMs,
      staleMs: Math.max(2000, config.failover.graceMs),
    });
    const subscription = bus.nc.subscribe('drover.health.*', {
      callback: (error, message) => {
        if (error !== null) return;
        const observation: unknown = message.json();
        if (isObservation(observation)) health.observe(observation, performance.now());
      },
    });
    closer.add({ close: async () => subscription.unsubscribe() });
    const background: Promise<void>[] = config.clusters.map((cluster) =>
      runProbe({
        cluster: cluster.name,
        observer: id,
        connect: {
          ...roleConnection(cluster, 'drover_admin', config.security.secret),
          applicationName: 'drover probe',
        },
        everyMs: 500,
        timeoutMs: 2000,
        report: (observation) => {
          bus.nc.publish(`drover.health.${id}`, JSON.stringify(observation));
          const verdict = health.judge(cluster.name, performance.now());
          metrics.health.set(verdict.score, { cluster: cluster.name });
        },
        signal,
      }),
    );
    const leases = watchLeases(bus, { signal });
    const view = catalog.watchPlacements(signal);
    // I4: a leader that does not know the live proxies yet must not take them for quiet.
    await Promise.all([view.synced, leases.synced]);
    notReady = null;
    options.onReady?.({ metricsUrl: telemetry.url });

    while (!signal.aborted) {
      const lost = new AbortController();
      const lease = await holdLease(bus, {
        key: 'leader.failover',
        ttlMs: 3000,
        value: { id },
        signal,
        onLost: () => lost.abort(),
      });
      if (signal.aborted || lease === undefined) break;
      log.info('elected leader', { id });
      publishEvent(bus, 'failover.leader', { id });
      metrics.leader.set(1);
      const term = AbortSignal.any([signal, lost.signal]);
      let paused = (await settings.get(SETTINGS_KEY))?.value.paused ?? false;
      const watching = followSettings(settings, term, (value) => {
        paused = value.paused;
      });
      const context: MoveContext = {
        bus,
        catalog,
        clusters: { pool },
        partitions: config.nats.partitions,
        live: async () => leases.live('proxy.'),
        drainTimeoutMs: config.failover.drainTimeoutMs,
        log,
        signal: term,
      };
      const verdicts = () =>
        config.clusters.map((c) => ({ cluster: c.name, ...health.judge(c.name, performance.now()) }));
      const rpcs = [
        serveRpc(bus, 'failover.status', async () => ({
          leader: id,
          auto: config.failover.auto,
          paused,
          clusters: verdicts(),
          moving: [...view.all()]
            .filter((p) => p.state === 'moving')
            .map((p) => ({ tenant: p.tenant, ...p.move })),
        })),
        serveRpc(bus, 'failover.pause', async (request) => setPaused(settings, true, request)),
        serveRpc(bus, 'failover.resume', async (request) => setPaused(settings, false, request)),
        serveRpc(bus, 'failover.history', async (request) => ({
          events: await readHistory(bus, isRecord(request) ? request : {}),
        })),
      ];
      try {
        await lead({
          context,
          view,
          health,
          clusters: config.clusters.map((c) => c.name),
          databases: (cluster) => config.clusters.find((c) => c.name === cluster)?.databases ?? [],
          auto: () => config.failover.auto && !paused,
          parallel: config.failover.parallel,
          cooldownMs: config.failover.cooldownMs,
          leaseMs: config.proxy.leaseMs,
          onMove: (kind, outcome, seconds) => {
            metrics.moves.add(1, { kind, outcome });
            metrics.moveSeconds.record(seconds, { kind });
          },
        });
      } finally {
        metrics.leader.set(0);
        await Promise.all(rpcs.map((rpc) => rpc.close()));
        await watching;
        await lease.release();
      }
      if (!signal.aborted) await sleep(200, signal);
    }
    await Promise.all(background);
  } finally {
    await closer.close();
  }
}

function natsOptions(nats: RunOptions['config']['nats']): { url: string; user?: string; password?: string } {
  return {
    url: nats.url,
    ...(nats.user === undefined ? {} : { user: nats.user }),
    ...(nats.password === undefined ? {} : { password: nats.password }),
  };
}

function isObservation(value: unknown): value is Observation {
  return (
    isRecord(value) &&
    typeof value['observer'] === 'string' &&
    typeof value['kind'] === 'string' &&
    typeof value['cluster'] === 'string' &&
    isRecord(value['signals'])
  );
}

async function followSettings(
  settings: Kv<Settings>,
  signal: AbortSignal,
  use: (value: Settings) => void,
): Promise<void> {
  for await (const entry of settings.watch(signal)) {
    if (entry.key === SETTINGS_KEY && entry.value !== null) use(entry.value);
  }
}

async function setPaused(settings: Kv<Settings>, paused: boolean, request: unknown): Promise<Settings> {
  const by = isRecord(request) && typeof request['by'] === 'string' ? request['by'] : 'unknown';
  const value: Settings = { paused, by, at: new Date().toISOString() };
  await settings.put(SETTINGS_KEY, value);
  return value;
}
