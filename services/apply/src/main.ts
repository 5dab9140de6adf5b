/**
 * The apply service of one target cluster. While it holds the lease `apply.<cluster>` it runs, for every other cluster, every
 * partition and every database of the target, a pipeline. Wiring only.
 */
import { connectBus, holdLease, paged, serveRpc } from '@drover/bus';
import { MasterKeys, openCatalog, openKeyRing, Weights } from '@drover/catalog';
import { metricsPort, type RunOptions, roleConnection } from '@drover/config';
import { Closer, DroverError, describeError, must, sleep, type TenantId } from '@drover/core';
import { type Logger, startTelemetry } from '@drover/telemetry';
import { rulesOf } from '@drover/transform';
import { type ApplyMetrics, openApplyMetrics } from './metrics.ts';
import { Period } from './pipeline/period.ts';
import { observeTarget } from './signals/health.ts';
import { applyTraces } from './signals/traces.ts';
import { openTiers } from './target-tiers.ts';

const LEASE_MS = 5000;
const LAG_EVERY_MS = 2000;

export interface ApplyOptions extends RunOptions {
  /** Tests stop the process at named steps: written, before-commit, committed, part-written. */
  readonly failpoint?: (step: string) => Promise<void> | void;
}

/** Returns when `signal` aborts and all is closed. */
export async function run(options: ApplyOptions): Promise<void> {
  const { config, signal } = options;
  const { nats, telemetry: signals } = config;
  const cluster = must(options.cluster, 'the cluster to apply to');
  const target = config.clusters.find((c) => c.name === cluster);
  if (target === undefined)
    throw new DroverError('config.invalid', `no cluster "${cluster}" in the configuration`);
  const rules = rulesOf(config);
  const closer = new Closer();
  let period: Period | undefined;
  let held = false;
  let phase = 'waiting for NATS';
  try {
    const telemetry = closer.add(
      await startTelemetry({
        service: 'apply',
        instance: cluster,
        host: signals.host,
        port: options.metricsPort ?? metricsPort(signals.port, 'apply', config.clusters.indexOf(target)),
        logLevel: signals.logLevel,
        ...(signals.otlpUrl === undefined ? {} : { otlpUrl: signals.otlpUrl }),
        ready: () => (period === undefined || !held ? phase : period.error),
      }),
    );
    const { log } = telemetry;
    const metrics = openApplyMetrics(telemetry.metrics, cluster, signals.topTenants);
    const auth = nats.user === undefined ? {} : { user: nats.user, password: nats.password ?? '' };
    const bus = closer.add(await connectBus({ url: nats.url, ...auth, name: `drover apply ${cluster}` }));
    const master = MasterKeys.at(config.security.masterKey);
    const catalog = closer.add(await openCatalog(bus, { replicas: nats.replicas }));
    const lookUp = async (tenant: TenantId) => (await catalog.getTenant(tenant))?.tier ?? null;
    const weights = new Weights({ tiers: config.tiers, tierOf: lookUp });
    const weightOf = (tenant: string): number => weights.of(tenant);
    const probe = roleConnection(target, 'drover_apply', config.security.secret);
    const tierOf = await openTiers(bus, rules, nats.replicas, signal);
    const observing = observeTarget(bus, cluster, probe, signal);
    const working = (): Period => {
      if (period !== undefined) return period;
      throw new DroverError('rpc.unavailable', `another process applies to ${cluster}, or none yet`);
    };
    closer.add(
      serveRpc(
        bus,
        `apply.${cluster}.lag`,
        paged((request) => working().lag(tenantAsked(request))),
      ),
    );
    closer.add(
      serveRpc(
        bus,
        `apply.${cluster}.status`,
        paged(() => working().status()),
      ),
    );
    closer.add(
      serveRpc(bus, `apply.${cluster}.nudge`, async () => {
        working().nudge();
        return { nudged: true };
      }),
    );
    let ready = false;
    const onTrouble = (error: unknown): void =>
      log.warn('keys cannot be watched', { error: describeError(error) });
    phase = 'waiting for the keys of sealed tenants: bucket drover_keys';
    const keys = await openKeyRing(bus, { replicas: nats.replicas, master, onTrouble }, signal);
    if (keys !== undefined) closer.add(keys);
    phase = 'waiting for the lease';
    while (keys !== undefined && !signal.aborted) {
      const stop = new AbortController();
      const lease = await holdLease(bus, {
        key: `apply.${cluster}`,
        ttlMs: LEASE_MS,
        value: { cluster, pid: process.pid },
        signal,
        onLost: () => {
          log.warn('the lease is lost: applying stops until it is held again', { cluster });
          held = false;
          stop.abort();
        },
        replicas: nats.replicas,
      });
      if (lease === undefined) break;
      held = true;
      const { failpoint } = options;
      const traced = applyTraces(telemetry.tracer, cluster);
      const given = { keys, rules, tierOf, weightOf };
      period = new Period({ config, target, bus, log, metrics, ...given, traced, failpoint });
      log.info('applying', { cluster, pipelines: period.pipelines });
      if (!ready) options.onReady?.({ metricsUrl: telemetry.url, cluster });
      ready = true;
      const either = AbortSignal.any([signal, stop.signal]);
      await Promise.all([period.run(either), publishLag(period, metrics, either, log)]);
      period = undefined;
      await lease.release();
    }
    await observing;
  } finally {
    await closer.close();
  }
}

/** `{tenant}` of a request; undefined: all. */
function tenantAsked(request: unknown): string | undefined {
  const { tenant } = request as { tenant?: unknown };
  return typeof tenant === 'string' && tenant !== '' ? tenant : undefined;
}

/** Keeps the lag gauges fresh; a target that is down leaves them as they are. */
async function publishLag(
  period: Period,
  metrics: ApplyMetrics,
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  while (await sleep(LAG_EVERY_MS, signal)) {
    try {
      metrics.lag(await period.lag());
    } catch (error) {
      if (!signal.aborted) log.debug('lag is not known', { error: describeError(error) });
    }
  }
}
