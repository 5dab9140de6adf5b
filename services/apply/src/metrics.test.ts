import type { Metrics } from '@drover/telemetry';
import { describe, expect, it } from 'vitest';
import { openApplyMetrics, type TenantLag } from './metrics.ts';

function recorded(): { metrics: Metrics; series: Map<string, number> } {
  const series = new Map<string, number>();
  const keep =
    (name: string) =>
    (value: number, labels: object = {}) =>
      void series.set(`${name} ${Object.values(labels).join(' ')}`, value);
  return {
    series,
    metrics: {
      counter: (name) => ({ add: keep(name) }),
      gauge: (name) => ({ set: keep(name) }),
      histogram: (name) => ({ record: keep(name) }),
    },
  };
}

const at = (tenant: string, lagSeconds: number | null, feed = 'live'): TenantLag => ({
  tenant,
  source: 'east',
  epoch: 1,
  feed,
  lagSeconds,
  commitLsn: null,
  pending: 0,
  reason: null,
});

describe('lag as a metric', () => {
  it('has a bounded number of tenants, and the largest of the rest (I9)', () => {
    const { metrics, series } = recorded();
    const tenants = Array.from({ length: 10_000 }, (_, i) => at(`t${i}`, i));
    openApplyMetrics(metrics, 'west', 3).lag(tenants);
    const lags = [...series].filter(([name]) => name.startsWith('drover_apply_lag_seconds'));
    expect(Object.fromEntries(lags)).toEqual({
      'drover_apply_lag_seconds west t0': 0,
      'drover_apply_lag_seconds west t1': 1,
      'drover_apply_lag_seconds west t2': 2,
      'drover_apply_lag_seconds west other': 9999,
    });
    expect(series.get('drover_apply_tenants west live')).toBe(10_000);
  });

  it('of a tenant that is held here no more does not stand still', () => {
    const { metrics, series } = recorded();
    const { lag } = openApplyMetrics(metrics, 'west', 3);
    lag([at('a', 900), at('b', 1)]);
    lag([at('b', 2)]);
    expect(series.get('drover_apply_lag_seconds west a')).toBe(0);
    expect(series.get('drover_apply_lag_seconds west b')).toBe(2);
    lag([at('a', 4), at('b', null, 'copying')]);
    expect(series.get('drover_apply_lag_seconds west a')).toBe(4);
    expect(series.get('drover_apply_tenants west copying')).toBe(1);
  });
});
