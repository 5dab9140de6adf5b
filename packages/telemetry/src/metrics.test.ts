import { describe, expect, it } from 'vitest';
import { counter, defineMetrics, gauge, histogram, renderMetrics } from './catalogue.ts';
import { metricNameFault, unitOf } from './metric-names.ts';
import { TenantLabel } from './metrics.ts';

describe('names of metrics', () => {
  it.each([
    ['counter', 'drover_cdc_rows_total'],
    ['counter', 'drover_cdc_published_bytes_total'],
    ['gauge', 'drover_apply_lag_seconds'],
    ['gauge', 'drover_failover_leader'],
    ['histogram', 'drover_apply_batch_seconds'],
    ['histogram', 'drover_block_size_bytes'],
  ] as const)('%s %s is good', (kind, name) => {
    expect(metricNameFault(kind, name)).toBeNull();
  });

  it.each([
    ['counter', 'rows_total'],
    ['counter', 'drover_cdc_rows'],
    ['counter', 'drover_wait_ms_total'],
    ['gauge', 'drover_tenants_total'],
    ['gauge', 'drover_lag_ms'],
    ['gauge', 'drover_Lag'],
    ['gauge', 'drover_'],
    ['gauge', 'drover_health_percent'],
    ['histogram', 'drover_wait'],
    ['histogram', 'drover_wait_count'],
  ] as const)('%s %s is not', (kind, name) => {
    expect(metricNameFault(kind, name)).not.toBeNull();
  });

  it.each([
    ['drover_cdc_paused_seconds_total', 'seconds'],
    ['drover_cdc_held_bytes', 'bytes'],
    ['drover_cluster_health_ratio', 'ratio'],
    ['drover_cdc_rows_total', null],
  ])('%s is counted in %s', (name, unit) => expect(unitOf(name)).toBe(unit));

  it('are checked where they are declared', () => {
    expect(() => defineMetrics({ rows: counter('rows', '') })).toThrow(/metric rows/);
  });
});

describe('a catalogue', () => {
  it('renders as rows of a reference page', () => {
    const { specs } = defineMetrics({
      calls: counter('drover_control_calls_total', 'Calls.', ['method', 'code']),
      up: gauge('drover_up', 'One.'),
      took: histogram('drover_control_call_seconds', 'Time.', ['method']),
    });
    expect(renderMetrics(specs).split('\n').slice(2)).toEqual([
      '| `drover_control_calls_total` | counter |  | `method`, `code` | Calls. |',
      '| `drover_up` | gauge |  |  | One. |',
      '| `drover_control_call_seconds` | histogram | seconds | `method` | Time. |',
    ]);
  });
});

describe('the tenant label', () => {
  it('is bounded', () => {
    const label = new TenantLabel(2);
    expect(['a', 'b', 'c', 'a', 'd'].map((t) => label.of(t))).toEqual(['a', 'b', 'other', 'a', 'other']);
    expect(new TenantLabel(0).of('a')).toBe('other');
    const chosen = new TenantLabel(1, ['vip']);
    expect(['a', 'vip'].map((t) => chosen.of(t))).toEqual(['other', 'vip']);
  });
});
