import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MetricSpec } from '@drover/telemetry';
import { describe, expect, it } from 'vitest';
import { loadMetrics, renderMetricsReference } from './metrics-reference.ts';
import { SERVICES } from './services.ts';

/** Labels whose values are names of the configuration or words of the program. */
const BOUNDED = new Set([
  ...['cluster', 'source', 'database', 'pool'],
  ...['kind', 'outcome', 'reason', 'state', 'feed', 'method', 'code', 'class'],
]);
/** Through TenantLabel. */
const BY_TENANT = ['drover_apply_lag_seconds'];

async function everyMetric(): Promise<MetricSpec[]> {
  return (await Promise.all(SERVICES.map(loadMetrics))).flatMap((specs) => Object.values(specs));
}

describe('the metrics of all services', () => {
  it('stand on the reference page', async () => {
    const page = readFileSync(join(import.meta.dirname, '../../../docs/reference/metrics.md'), 'utf8');
    expect(page, 'run: node services/cli/src/write-metrics-reference.ts').toBe(
      await renderMetricsReference(),
    );
  });

  it('have names of their own, one sentence each, and bounded labels (I9)', async () => {
    const metrics = await everyMetric();
    expect(metrics.length).toBeGreaterThan(30);
    expect(new Set(metrics.map(({ name }) => name)).size).toBe(metrics.length);
    for (const { name, help, labels } of metrics) {
      expect(help, name).toMatch(/^\S.*\.$/);
      const open = labels.filter((label) => !BOUNDED.has(label));
      expect(open, name).toEqual(BY_TENANT.includes(name) ? ['tenant'] : []);
    }
  });
});
