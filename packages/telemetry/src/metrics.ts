/** OpenTelemetry metrics under Drover's naming rules (`metric-names.ts`), with a tenant label that stays bounded. */
import type { Meter } from '@opentelemetry/api';
import { checkMetricName } from './metric-names.ts';

export type Labels = Readonly<Record<string, string | number>>;

export interface Counter<L extends Labels = Labels> {
  add(n: number, labels?: L): void;
}
export interface Gauge<L extends Labels = Labels> {
  set(value: number, labels?: L): void;
}
export interface Histogram<L extends Labels = Labels> {
  /** Seconds or bytes, as the name says. */
  record(value: number, labels?: L): void;
}

/** @throws DroverError `internal.assertion` for a name against the rules. */
export interface Metrics {
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string): Gauge;
  histogram(name: string, help: string, buckets?: readonly number[]): Histogram;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const BYTES = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216];

export function metricsOf(meter: Meter): Metrics {
  return {
    counter: (name, help) => {
      checkMetricName('counter', name);
      const counter = meter.createCounter(name, { description: help });
      return { add: (n, labels) => counter.add(n, labels) };
    },
    gauge: (name, help) => {
      checkMetricName('gauge', name);
      const gauge = meter.createGauge(name, { description: help });
      return { set: (value, labels) => gauge.record(value, labels) };
    },
    histogram: (name, help, buckets) => {
      checkMetricName('histogram', name);
      const boundaries = [...(buckets ?? (name.endsWith('_bytes') ? BYTES : SECONDS))];
      const histogram = meter.createHistogram(name, {
        description: help,
        advice: { explicitBucketBoundaries: boundaries },
      });
      return { record: (value, labels) => histogram.record(value, labels) };
    },
  };
}

/** Label of all tenants that have none of their own. */
const OTHER = 'other';

/** Keeps the tenant label bounded (I9): those in `always`, then the first seen up to `topN` in all, by name; all others as `other`. */
export class TenantLabel {
  readonly #topN: number;
  readonly #known: Set<string>;

  constructor(topN: number, always: readonly string[] = []) {
    this.#topN = topN;
    this.#known = new Set(always);
  }

  of(tenant: string): string {
    if (this.#known.has(tenant)) return tenant;
    if (this.#known.size >= this.#topN) return OTHER;
    this.#known.add(tenant);
    return tenant;
  }
}
