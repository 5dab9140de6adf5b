/**
 * The apply service of one target cluster: for every other cluster, every partition and every database of the target a
 * pipeline; one look-out per database for tenants whose feed changes; health, lag and answers to questions. Wiring only.
 */
import { connectBus, holdLease, publishEvent, serveRpc } from '@drover/bus';
import { metricsPort, type RunOptions, roleConnection } from '@drover/config';
import { Closer, DroverError, describeError, formatLsn, must, sleep } from '@drover/core';
import { originName } from '@drover/pg';
import { startTelemetry } from '@drover/telemetry';
import { Feeds } from './pipeline/feeds.ts';
import { lagSeconds } from './pipeline/freshness.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import { observeTarget } from './signals/health.ts';
import { applyMetrics, type TenantLag } from './signals/metrics.ts';

const LEASE_MS = 5000;
const LAG_EVERY_MS = 2000;

export interface ApplyOptions extends RunOptions {
  /** Tests stop the process at named steps. */
  readonly failpoint?: (step: string) => Promise<void> | void;
}

/** Returns when `signal` aborts, or when the lease is lost, and all is closed. */
export async function run(options: ApplyOptions): Promise<void> {
  const { config } = options;
  const cluster = must(options.cluster, 'the cluster to apply to');
  const target = config.clusters.find((c) => c.name === cluster);
  if (target === undefined) throw new DroverError('config.invalid', `no cluster "${cluster}" in the configuration`);
  const { nats } = config;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const closer = new Closer();
  const pipelines: Pipeline[] = [];
  const feeds = new Map<string, Feeds>();
  let waiting: string | null = 'waiting for the lease';
  try {
    const index = config.clusters.indexOf(target);
    const telemetry = closer.add(
      await startTelemetry({
        service: 'apply',
        instance: cluster,
        host: config.telemetry.host,
        port: options.metricsPort ?? metricsPort(config.telemetry.port, 'apply', index),
        logLevel: config.telemetry.logLevel,
        ...(config.telemetry.otlpUrl === undefined ? {} : { otlpUrl: config.telemetry.otlpUrl }),
        ready: () => waiting ?? pipelines.find((p) => p.error !== null)?.error ?? null,
      }),
    );
    const { log } = telemetry;
    const metrics = applyMetrics(telemetry.metrics, cluster, config.telemetry.topTenants);
    const auth = nats.user === undefined ? {} : { user: nats.user, password: nats.password ?? '' };
    const bus = closer.add(await connectBus({ url: nats.url, ...auth, name: `drover apply ${cluster}` }));
    const connectTo = (database: string) => roleConnection(target, 'drover_apply', config.security.secret, database);
    const work: Promise<unknown>[] = [
      observeTarget(bus, cluster, connectTo(must(target.databases[0], 'a database of the cluster')), signal),
    ];
    const lease = await holdLease(bus, {
      key: `apply.${cluster}`,
      ttlMs: LEASE_MS,
      value: { cluster, pid: process.pid },
      signal,
      onLost: () => {
        log.warn('the lease is lost: another process may apply to this cluster', { cluster });
        stop.abort();
      },
      replicas: nats.replicas,
    });
    if (lease === undefined) {
      await Promise.all(work);
      return;
    }
    waiting = null;
    for (const database of target.databases) {
      const watch = new Feeds({
        connect: connectTo(database),
        partitions: nats.partitions,
        log,
        wantLane: (source, partition, tenant) => {
          const isFor = ({ deps: d }: Pipeline): boolean =>
            d.source === source && d.partition === partition && d.database === database;
          pipelines.find(isFor)?.wantLane(tenant);
        },
      });
      feeds.set(database, watch);
      work.push(watch.run(signal));
      for (const source of config.clusters) {
        if (source.name === cluster) continue;
        for (let partition = 0; partition < nats.partitions; partition++) {
          const origin = originName(source.name, partition);
          pipelines.push(
            new Pipeline({
              bus,
              log: log.child({ source: source.name, partition, database }),
              cluster,
              source: source.name,
              partition,
              partitions: nats.partitions,
              database,
              connect: connectTo(database),
              // Origins are the whole server's: those of further databases carry the database's name.
              origin: database === target.databases[0] ? origin : `${origin}_${database}`,
              batchBytes: config.apply.batchBytes,
              lingerMs: config.apply.lingerMs,
              stream: { replicas: nats.replicas, maxBytes: nats.maxBytes, maxAgeMs: nats.maxAgeMs },
              applied: (result, seconds) => {
                metrics.applied(source.name, result, seconds);
                for (const { tenant, reason } of result.parked) {
                  publishEvent(bus, 'apply.parked', { cluster, source: source.name, tenant, reason });
                }
              },
              paused: (tenant, ms) => watch.paused(tenant, ms),
              ...(options.failpoint === undefined ? {} : { failpoint: options.failpoint }),
            }),
          );
        }
      }
    }
    const lag = async (): Promise<TenantLag[]> => {
      const all: TenantLag[] = [];
      for (const [database, watch] of feeds) {
        for (const state of await watch.states()) {
          if (state.role !== 'replica') continue;
          const pipeline = pipelines.find((p) => p.feeds(database, state));
          all.push({
            tenant: state.tenant,
            source: state.source,
            epoch: state.epoch,
            feed: state.feed,
            lagSeconds: lagSeconds({
              nowMs: Date.now(),
              feed: state.feed,
              commitTimeMs: state.commitTimeMs,
              heartbeatMs: pipeline?.freshness.heartbeatMs ?? 0,
            }),
            commitLsn: state.commitLsn === null ? null : formatLsn(state.commitLsn),
            pending: pipeline?.pending ?? 0,
            reason: state.reason,
          });
        }
      }
      return all;
    };
    const status = async (): Promise<unknown> =>
      pipelines.map((p) => ({
        source: p.deps.source,
        partition: p.deps.partition,
        database: p.deps.database,
        streamSeq: p.position,
        pending: p.pending,
        heartbeatAt: p.freshness.heartbeatMs === 0 ? null : new Date(p.freshness.heartbeatMs).toISOString(),
        lanes: p.lanes,
        error: p.error,
      }));
    closer.add(serveRpc(bus, `apply.${cluster}.lag`, lag));
    closer.add(serveRpc(bus, `apply.${cluster}.status`, status));
    closer.add(
      serveRpc(bus, `apply.${cluster}.nudge`, async () => {
        for (const watch of feeds.values()) watch.nudge();
        return { nudged: true };
      }),
    );
    work.push(...pipelines.map((pipeline) => pipeline.run(signal)), publishLag(lag, metrics.lag, signal, log.debug));
    log.info('applying', { cluster, pipelines: pipelines.length });
    options.onReady?.({ metricsUrl: telemetry.url, cluster });
    await Promise.all(work);
    await lease.release();
  } finally {
    stop.abort();
    await closer.close();
  }
}

/** Keeps the lag gauges fresh; a target that is down leaves them as they are. */
async function publishLag(
  lag: () => Promise<TenantLag[]>,
  set: (tenants: readonly TenantLag[]) => void,
  signal: AbortSignal,
  debug: (message: string, fields: Record<string, unknown>) => void,
): Promise<void> {
  while (await sleep(LAG_EVERY_MS, signal)) {
    try {
      set(await lag());
    } catch (error) {
      if (!signal.aborted) debug('lag is not known', { error: describeError(error) });
    }
  }
}
