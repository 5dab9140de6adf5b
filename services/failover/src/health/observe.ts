/** The controller's ears and eyes: what anybody observes about the clusters of the configuration, and what it sees itself. */
import type { Bus } from '@drover/bus';
import { type Config, roleConnection } from '@drover/config';
import type { Closeable } from '@drover/core';
import type { FailoverMetrics } from '../metrics.ts';
import { isRecord } from '../moves/is-record.ts';
import type { ClusterHealth, Observation } from './judge.ts';
import { runProbe } from './probe.ts';

const PROBE_EVERY_MS = 500;
const PROBE_TIMEOUT_MS = 2000;

/** What is not an observation, or of an unknown cluster, is passed over. */
export function listen(bus: Bus, config: Config, health: ClusterHealth): Closeable {
  const known = new Set<string>(config.clusters.map((c) => c.name));
  const subscription = bus.nc.subscribe('drover.health.*', {
    callback: (error, message) => {
      if (error !== null) return;
      let observation: unknown;
      try {
        observation = message.json();
      } catch {
        return;
      }
      if (isObservation(observation) && known.has(observation.cluster))
        health.observe(observation, performance.now());
    },
  });
  return { close: async () => subscription.unsubscribe() };
}

/** One probe a cluster; each ends with the signal. */
export function probes(
  config: Config,
  parts: { id: string; bus: Bus; health: ClusterHealth; metrics: FailoverMetrics; signal: AbortSignal },
): Promise<void>[] {
  const { id, bus, health, metrics, signal } = parts;
  return config.clusters.map((cluster) =>
    runProbe({
      cluster: cluster.name,
      observer: id,
      connect: {
        ...roleConnection(cluster, 'drover_admin', config.security.secret),
        applicationName: 'drover probe',
      },
      everyMs: PROBE_EVERY_MS,
      timeoutMs: PROBE_TIMEOUT_MS,
      report: (observation) => {
        if (!bus.nc.isClosed()) bus.nc.publish(`drover.health.${id}`, JSON.stringify(observation));
        const verdict = health.judge(cluster.name, performance.now());
        metrics.health.set(verdict.score / 100, { cluster: cluster.name });
      },
      signal,
    }),
  );
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
