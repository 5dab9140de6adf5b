/** Which port of the metrics range belongs to which process. */
const SERVICES = ['control', 'failover', 'migration', 'proxy', 'cdc', 'apply'] as const;
const PER_CLUSTER = 16;

/** 0 stays 0: any free port. Services that run once per cluster get a block of 16 ports each. */
export function metricsPort(base: number, service: string, clusterIndex: number): number {
  if (base === 0) return 0;
  const i = SERVICES.indexOf(service as (typeof SERVICES)[number]);
  if (i < 0) return 0;
  return i < 4 ? base + i : base + 4 + (i - 4) * PER_CLUSTER + clusterIndex;
}
