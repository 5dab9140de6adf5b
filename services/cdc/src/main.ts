/**
 * The CDC reader of one cluster: source WAL to tagged blocks to JetStream. Wires the parts and owns the lease that keeps two readers
 * from getting in each other's way; what keeps them from doing harm is the streams' expected last sequence.
 */
import { type Bus, connectBus, ensureStream, holdLease, serveRpc } from '@drover/bus';
import { type ClusterConfig, type Config, metricsPort, type RunOptions } from '@drover/config';
import { Backoff, Closer, DroverError, describeError, must, sleep } from '@drover/core';
import { startTelemetry } from '@drover/telemetry';
import { cdcMetrics } from './metrics.ts';
import type { Failpoint } from './reader/pump.ts';
import { Session, unreachable } from './session.ts';

/** Tests pass these; production leaves them out. */
export interface CdcOptions extends RunOptions {
  readonly failpoint?: (name: Failpoint) => void;
  readonly partBytes?: number;
}

const LEASE_MS = 3000;

/** Returns when the signal aborts and all is closed. @throws DroverError `config.invalid`, `bus.*`, `pg.not_set_up`, `bus.fenced` */
export async function run(options: CdcOptions): Promise<void> {
  const { config, signal } = options;
  const { cluster, index } = findCluster(config, options.cluster);
  const closer = new Closer();
  let session = null as Session | null; // assigned in a closure
  let phase = 'starting';
  const trouble = () => (session === null ? phase : session.trouble);
  try {
    const telemetry = closer.add(
      await startTelemetry({
        service: 'cdc',
        instance: cluster.name,
        host: config.telemetry.host,
        port: options.metricsPort ?? metricsPort(config.telemetry.port, 'cdc', index),
        logLevel: config.telemetry.logLevel,
        ...(config.telemetry.otlpUrl === undefined ? {} : { otlpUrl: config.telemetry.otlpUrl }),
        ready: trouble,
      }),
    );
    const { url, user, password } = config.nats;
    const credentials = user === undefined ? {} : { user, password: password ?? '' };
    const bus = closer.add(await connectBus({ url, ...credentials, name: `drover cdc ${cluster.name}` }));
    for (let partition = 0; partition < config.nats.partitions; partition++) {
      await ensureStream(bus, { ...config.nats, cluster: cluster.name, partition });
    }
    closer.add(
      serveRpc(bus, `cdc.${cluster.name}.status`, async () => ({
        cluster: cluster.name,
        trouble: trouble(),
        ...(session?.status ?? { databases: [], partitions: [] }),
      })),
    );
    const metrics = cdcMetrics.on(telemetry.metrics);
    let ready = options.onReady;
    const backoff = new Backoff(100, 2000);
    while (!signal.aborted) {
      try {
        phase = 'waiting for the lease: another reader holds it, or NATS does not answer';
        await leased(bus, cluster, config, telemetry.url, signal, async (whileLeased) => {
          session = new Session({
            config,
            cluster,
            bus,
            telemetry,
            metrics,
            ...(options.failpoint === undefined ? {} : { failpoint: options.failpoint }),
            ...(options.partBytes === undefined ? {} : { partBytes: options.partBytes }),
            onStreaming: () => {
              backoff.reset();
              ready?.({ metricsUrl: telemetry.url });
              ready = undefined;
            },
          });
          try {
            await session.run(whileLeased);
          } finally {
            session = null;
          }
        });
        if (!signal.aborted) telemetry.log.warn('lease lost', { cluster: cluster.name });
      } catch (error) {
        if (!(error instanceof DroverError) || error.code !== 'bus.unreachable') throw error;
        phase = describeError(error);
        telemetry.log.warn('the bus is away', { cluster: cluster.name, error: phase });
        await sleep(backoff.nextMs(), signal);
      }
    }
  } finally {
    await closer.close();
  }
}

/** Runs `work` while this process holds the cluster's lease; its signal ends with the lease. */
async function leased(
  bus: Bus,
  cluster: ClusterConfig,
  config: Config,
  metricsUrl: string,
  signal: AbortSignal,
  work: (whileLeased: AbortSignal) => Promise<void>,
): Promise<void> {
  const lost = new AbortController();
  const lease = await holdLease(bus, {
    key: `cdc.${cluster.name}`,
    ttlMs: LEASE_MS,
    value: { cluster: cluster.name, metricsUrl },
    signal,
    onLost: () => lost.abort(),
    replicas: config.nats.replicas,
  }).catch(unreachable);
  if (lease === undefined) return;
  try {
    await work(AbortSignal.any([signal, lost.signal]));
  } finally {
    await lease.release();
  }
}

function findCluster(config: Config, name: string | undefined): { cluster: ClusterConfig; index: number } {
  const index = config.clusters.findIndex((cluster) => cluster.name === name);
  if (index < 0) {
    const known = config.clusters.map((cluster) => cluster.name).join(', ');
    throw new DroverError('config.invalid', `no cluster "${name ?? ''}" in the configuration`, {
      hint: `use --cluster with one of: ${known}`,
    });
  }
  return { cluster: must(config.clusters[index], 'cluster at its index'), index };
}
