/**
 * The CDC reader of one cluster: source WAL to tagged blocks to JetStream. Wires the parts and owns the lease that keeps two readers
 * from getting in each other's way; what keeps them from doing harm is the streams' expected last sequence.
 */
import { type Bus, checkDurability, connectBus, ensureStream, holdLease, serveRpc } from '@drover/bus';
import { MasterKeys, openKeyRing } from '@drover/catalog';
import {
  type ClusterConfig,
  type Config,
  metricsPort,
  type RunOptions,
  roleConnection,
} from '@drover/config';
import { Backoff, Closer, DroverError, describeError, must, sleep } from '@drover/core';
import { type Logger, startTelemetry } from '@drover/telemetry';
import { rulesOf } from '@drover/transform';
import type { Pace } from './capture/school.ts';
import { cdcMetrics } from './metrics.ts';
import { openPublishRules } from './reader/publish-rules.ts';
import type { Failpoint } from './reader/pump.ts';
import { Session, unreachable } from './session.ts';
import { ReplicaPositions } from './watch/replica-positions.ts';
import { SlotWatch } from './watch/slot-watch.ts';

/** Tests pass these; production leaves them out. */
export interface CdcOptions extends RunOptions {
  readonly failpoint?: (name: Failpoint) => void;
  readonly partBytes?: number;
  /** Of learning profiles. */
  readonly pace?: Pace;
}

const LEASE_MS = 3000;

/** Returns when the signal aborts and all is closed. @throws DroverError `config.invalid`, `bus.*`, `pg.not_set_up`, `bus.fenced` */
export async function run(options: CdcOptions): Promise<void> {
  const { config, signal } = options;
  const { cluster, index } = findCluster(config, options.cluster);
  const rules = rulesOf(config);
  const closer = new Closer();
  let session = null as Session | null; // assigned in a closure
  let phase = 'starting';
  const trouble = () => (session === null ? phase : session.trouble);
  let watches: readonly SlotWatch[] = [];
  let watching: Promise<unknown> = Promise.resolve();
  const ending = new AbortController();
  const warnings = () => watches.flatMap((watch) => watch.health?.warnings ?? []);
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
        warnings,
      }),
    );
    const { log } = telemetry;
    const metrics = cdcMetrics.on(telemetry.metrics);
    watches = cluster.databases.map(
      (database) =>
        new SlotWatch({
          cluster: cluster.name,
          database,
          connect: roleConnection(cluster, 'drover_cdc', config.security.secret, database),
          bounds: config.cdc,
          log: log.child({ cluster: cluster.name, database }),
          metrics,
          heldBy: () => session?.heldBy(database) ?? null,
        }),
    );
    watching = Promise.all(watches.map((watch) => watch.run(AbortSignal.any([signal, ending.signal]))));
    const { url, user, password } = config.nats;
    const credentials = user === undefined ? {} : { user, password: password ?? '' };
    const bus = closer.add(await connectBus({ url, ...credentials, name: `drover cdc ${cluster.name}` }));
    await makeStreams(bus, cluster, config);
    void tellDurability(bus, config, log);
    const master = MasterKeys.at(config.security.masterKey);
    const onTrouble = (error: unknown) =>
      log.error('keys cannot be watched', { error: describeError(error) });
    phase = 'waiting for the keys of sealed tenants: bucket drover_keys';
    const keys = await openKeyRing(bus, { replicas: config.nats.replicas, master, onTrouble }, signal);
    if (keys === undefined) return; // stopped
    closer.add(keys);
    const publishRules = await openPublishRules(config, rules, bus, AbortSignal.any([signal, ending.signal]));
    const replicas = replicasOf(config, cluster);
    replicas?.follow(bus, cluster.name, AbortSignal.any([signal, ending.signal]));
    closer.add(
      serveRpc(bus, `cdc.${cluster.name}.status`, async () => ({
        cluster: cluster.name,
        trouble: trouble(),
        durability: config.nats.durability,
        warnings: warnings(),
        /** Of the tenants' keys: a change up to here is in force. */
        keysRevision: keys.revision,
        slots: watches.flatMap((watch) => watch.health ?? []),
        ...(session?.status ?? { databases: [], partitions: [] }),
      })),
    );
    let ready = options.onReady;
    const backoff = new Backoff(100, 2000);
    while (!signal.aborted) {
      try {
        phase = 'waiting for the lease: another reader holds it, or NATS does not answer';
        await makeStreams(bus, cluster, config);
        await leased(bus, cluster, config, telemetry.url, signal, async (whileLeased) => {
          session = new Session({
            config,
            cluster,
            bus,
            telemetry,
            metrics,
            replicas,
            keys,
            rules: publishRules,
            ...(options.failpoint === undefined ? {} : { failpoint: options.failpoint }),
            ...(options.partBytes === undefined ? {} : { partBytes: options.partBytes }),
            ...(options.pace === undefined ? {} : { pace: options.pace }),
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
        if (!(error instanceof DroverError) || !BEGIN_AGAIN.has(error.code)) throw error;
        phase = describeError(error);
        log.warn(error.code === 'bus.lost' ? 'a stream has lost what it held' : 'the bus is away', {
          cluster: cluster.name,
          error: phase,
        });
        await sleep(backoff.nextMs(), signal);
      }
    }
  } finally {
    ending.abort();
    await watching;
    await closer.close();
  }
}

/** With another publisher, which looks at what the streams hold. */
const BEGIN_AGAIN: ReadonlySet<string> = new Set(['bus.unreachable', 'bus.lost', 'bus.full']);

async function makeStreams(bus: Bus, cluster: ClusterConfig, config: Config): Promise<void> {
  for (let partition = 0; partition < config.nats.partitions; partition++) {
    await ensureStream(bus, { ...config.nats, cluster: cluster.name, partition });
  }
}

/** The clusters that have each database, too: their replicas must have applied what the slot forgets. Null: the bus alone decides. */
function replicasOf(config: Config, cluster: ClusterConfig): ReplicaPositions | null {
  if (config.nats.durability !== 'applied') return null;
  const others = config.clusters.filter(({ name }) => name !== cluster.name);
  const expected = new Map(
    cluster.databases.map((database) => [
      database,
      others.filter(({ databases }) => databases.includes(database)).map(({ name }) => name),
    ]),
  );
  return new ReplicaPositions({ partitions: config.nats.partitions, expected });
}

/** Once, at the start: what the servers do not keep of the policy that was chosen. */
async function tellDurability(bus: Bus, config: Config, log: Logger): Promise<void> {
  try {
    for (const { severity, message, hint } of await checkDurability(bus, config.nats))
      if (severity === 'warning')
        log.warn('the bus does not carry the policy of durability', { finding: message, hint });
  } catch (error) {
    log.debug('the policy of durability cannot be checked', { error: describeError(error) });
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
