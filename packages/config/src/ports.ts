/** Which port of the metrics range belongs to which process. */

/** Services of which there is one, then those of which there is one per cluster. */
const SINGLE: readonly string[] = ['control', 'failover', 'migration', 'proxy'];
const PER_CLUSTER: readonly string[] = ['cdc', 'apply'];

/** Clusters for which there is room in the range. */
export const CLUSTERS_MAX = 16;

/** Ports from the first one on. */
export const METRICS_PORTS = SINGLE.length + PER_CLUSTER.length * CLUSTERS_MAX;

/** 0 stays 0: any free port. A service that is not known gets any free port too. */
export function metricsPort(base: number, service: string, clusterIndex: number): number {
  if (base === 0) return 0;
  const single = SINGLE.indexOf(service);
  if (single >= 0) return base + single;
  const block = PER_CLUSTER.indexOf(service);
  if (block < 0 || clusterIndex < 0 || clusterIndex >= CLUSTERS_MAX) return 0;
  return base + SINGLE.length + block * CLUSTERS_MAX + clusterIndex;
}
