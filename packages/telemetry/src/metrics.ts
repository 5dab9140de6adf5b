/** OpenTelemetry metrics under Drover's naming rules: `drover_` first, the unit last. */
import { DroverError } from '@drover/core';
import type { Meter } from '@opentelemetry/api';

export type Labels = Readonly<Record<string, string | number>>;

export interface Counter {
  add(n: number, labels?: Labels): void;
}
export interface Gauge {
  set(value: number, labels?: Labels): void;
}
export interface Histogram {
  /** Seconds (or bytes, as the name says). */
  record(value: number, labels?: Labels): void;
}

export interface Metrics {
  /** @throws `internal.assertion` for a name that does not start with `drover_` or does not end in `_total`. */
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string): Gauge;
  /** Name must end in `_seconds` or `_bytes`. */
  histogram(name: string, help: string, buckets?: readonly number[]): Histogram;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const BYTES = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216];

export function metricsOf(meter: Meter): Metrics {
  return {
    counter: (name, help) => {
      check(name, /^drover_[a-z0-9_]+_total$/);
      const counter = meter.createCounter(name, { description: help });
      return { add: (n, labels) => counter.add(n, labels) };
    },
    gauge: (name, help) => {
      check(name, /^drover_[a-z0-9_]+$/);
      const gauge = meter.createGauge(name, { description: help });
      return { set: (value, labels) => gauge.record(value, labels) };
    },
    histogram: (name, help, buckets) => {
      check(name, /^drover_[a-z0-9_]+_(seconds|bytes)$/);
      const boundaries = [...(buckets ?? (name.endsWith('_bytes') ? BYTES : SECONDS))];
      const histogram = meter.createHistogram(name, { description: help, advice: { explicitBucketBoundaries: boundaries } });
      return { record: (value, labels) => histogram.record(value, labels) };
    },
  };
}

function check(name: string, pattern: RegExp): void {
  if (!pattern.test(name)) throw new DroverError('internal.assertion', `metric name ${name} does not match ${pattern}`);
}

/** Keeps the tenant label bounded: the first `topN` tenants seen (or the configured ones) by name, all others as `other`. */
export class TenantLabel {
  readonly #topN: number;
  readonly #known = new Set<string>();

  constructor(topN: number, always: readonly string[] = []) {
    this.#topN = topN;
    for (const tenant of always) this.#known.add(tenant);
  }

  of(tenant: string): string {
    if (this.#known.has(tenant)) return tenant;
    if (this.#known.size >= this.#topN) return 'other';
    this.#known.add(tenant);
    return tenant;
  }
}
