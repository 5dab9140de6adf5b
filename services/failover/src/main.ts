/**
 * The failover controller. Every instance observes; the one that holds the lease `leader.failover` acts. Wiring only.
 */
import {
  type Bus,
  connectBus,
  holdLease,
  type LeaseView,
  publishEvent,
  serveRpc,
  watchLeases,
} from '@drover/bus';
import { type Catalog, openCatalog, type PlacementView } from '@drover/catalog';
import { metricsPort, type RunOptions } from '@drover/config';
import { type Closeable, Closer, sleep } from '@drover/core';
import { type Logger, startTelemetry } from '@drover/telemetry';
import { AdminPools } from './admin-pools.ts';
import { ClusterHealth } from './health/judge.ts';
import { listen, probes } from './health/observe.ts';
import { ensureHistory, readHistory } from './history.ts';
import { lead } from './leader.ts';
import { type FailoverMetrics, failoverMetrics } from './metrics.ts';
import { isRecord } from './moves/is-record.ts';
import type { MoveContext } from './moves/move.ts';
import { shareCalls } from './moves/share-calls.ts';
import type { Clusters } from './moves/steps.ts';
import { transformedBy } from './moves/transformed.ts';
import { PauseSwitch } from './settings.ts';
import { Told } from './told.ts';

/** Tests pass these; production leaves them out. */
export interface FailoverOptions extends RunOptions {
  readonly failpoint?: (step: string) => Promise<void>;
  /** Name of this instance; the default is made of the process id. */
  readonly id?: string;
}

const LEASE_MS = 3000;
const STALE_MS_MIN = 2000;
/** Pause before it is asked for the lead again after a term. */
const BETWEEN_TERMS_MS = 200;

export async function run(options: FailoverOptions): Promise<void> {
  const { config, signal } = options;
  const transformed = transformedBy(config);
  const closer = new Closer();
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  const background: Promise<void>[] = [];
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
    const id = options.id ?? `failover-${process.pid}`;
    const { replicas } = config.nats;
    const bus = closer.add(await connectBus({ ...natsOptions(config.nats), name: `drover ${id}` }));
    await ensureHistory(bus, replicas);
    const catalog = closer.add(await openCatalog(bus, { replicas }));
    const pause = await PauseSwitch.open(bus, replicas);
    const metrics = failoverMetrics.on(telemetry.metrics);
    const clusters = closer.add(new AdminPools(config));
    const health = new ClusterHealth({
      minSignals: config.failover.minSignals,
      minObservers: config.failover.minObservers,
      graceMs: config.failover.graceMs,
      staleMs: Math.max(STALE_MS_MIN, config.failover.graceMs),
    });
    closer.add(listen(bus, config, health));
    background.push(pause.follow(ending), ...probes(config, { id, bus, health, metrics, signal: ending }));
    const leases = watchLeases(bus, { signal: ending, replicas });
    const view = catalog.watchPlacements(ending);
    // I4: a leader that does not know the live proxies yet must not take them for quiet.
    await Promise.all([view.synced, leases.synced, pause.synced]);
    notReady = null;
    options.onReady?.({ metricsUrl: telemetry.url });
    const parts = {
      id,
      options,
      bus,
      catalog,
      clusters,
      health,
      leases,
      view,
      pause,
      metrics,
      log,
      transformed,
    };
    while (!signal.aborted) {
      await term(parts);
      await sleep(BETWEEN_TERMS_MS, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    stop.abort();
    await Promise.allSettled(background);
    await closer.close();
  }
}

interface Parts {
  readonly id: string;
  readonly options: FailoverOptions;
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly clusters: Clusters;
  readonly health: ClusterHealth;
  readonly leases: LeaseView;
  readonly view: PlacementView;
  readonly pause: PauseSwitch;
  readonly metrics: FailoverMetrics;
  readonly log: Logger;
  readonly transformed: NonNullable<MoveContext['transformed']>;
}

/** Waits for the lease, leads while it is held. */
async function term(parts: Parts): Promise<void> {
  const { id, options, bus, metrics, log, health, pause, view } = parts;
  const { config, signal } = options;
  const lost = new AbortController();
  const lease = await holdLease(bus, {
    key: 'leader.failover',
    ttlMs: LEASE_MS,
    value: { id },
    signal,
    onLost: () => lost.abort(),
    replicas: config.nats.replicas,
  });
  if (lease === undefined) return;
  log.info('elected leader', { id });
  publishEvent(bus, 'failover.leader', { id });
  metrics.leader.set(1);
  const told = new Told(bus, log);
  const context: MoveContext = {
    bus,
    catalog: parts.catalog,
    clusters: parts.clusters,
    partitions: config.nats.partitions,
    live: shareCalls(() => parts.leases.liveNow('proxy.')),
    tagging: config.tagging,
    transformed: parts.transformed,
    drainTimeoutMs: config.failover.drainTimeoutMs,
    log,
    signal: AbortSignal.any([signal, lost.signal]),
    ...(options.failpoint === undefined ? {} : { failpoint: options.failpoint }),
  };
  const autoOff = (): string | undefined => {
    if (!config.failover.auto) return 'automatic failover is off in the configuration';
    return pause.now.paused
      ? `automatic failover was paused by ${pause.now.by} at ${pause.now.at}`
      : undefined;
  };
  const rpcs = serve(parts, told);
  try {
    await lead({
      context,
      view,
      health,
      told,
      clusters: config.clusters.map((c) => c.name),
      databases: (cluster) => config.clusters.find((c) => c.name === cluster)?.databases ?? [],
      autoOff,
      parallel: config.failover.parallel,
      cooldownMs: config.failover.cooldownMs,
      weight: (tier) => config.tiers[tier]?.weight ?? 1,
      leaseMs: config.proxy.leaseMs,
      onMove: (kind, outcome, seconds) => {
        metrics.moves.add(1, { kind, outcome });
        metrics.moveSeconds.record(seconds, { kind });
      },
    });
  } finally {
    lost.abort();
    metrics.leader.set(0);
    await Promise.all(rpcs.map((rpc) => rpc.close()));
    await lease.release();
    log.info('leads no more', { id });
  }
}

function serve(parts: Parts, told: Told): Closeable[] {
  const { id, options, bus, health, pause, view } = parts;
  const { config } = options;
  return [
    serveRpc(bus, 'failover.status', async () => ({
      leader: id,
      auto: config.failover.auto,
      paused: pause.now.paused,
      clusters: config.clusters.map((c) => ({ cluster: c.name, ...health.judge(c.name, performance.now()) })),
      moving: [...view.all()]
        .filter((p) => p.state === 'moving')
        .map((p) => ({ tenant: p.tenant, ...p.move })),
      waiting: told.all.slice(0, WAITING_MAX),
    })),
    serveRpc(bus, 'failover.pause', (request) => pause.set(true, request)),
    serveRpc(bus, 'failover.resume', (request) => pause.set(false, request)),
    serveRpc(bus, 'failover.history', async (request) => ({
      events: await readHistory(bus, isRecord(request) ? request : {}),
    })),
  ];
}

/** Tenants named in one answer. */
const WAITING_MAX = 1000;

function natsOptions(nats: RunOptions['config']['nats']): { url: string; user?: string; password?: string } {
  return {
    url: nats.url,
    ...(nats.user === undefined ? {} : { user: nats.user }),
    ...(nats.password === undefined ? {} : { password: nats.password }),
  };
}
