/** How metrics are named: `drover_` first, the unit last, in base units. Pure. */
import { DroverError } from '@drover/core';

export type MetricKind = 'counter' | 'gauge' | 'histogram';

const ENDINGS: Readonly<Record<MetricKind, RegExp>> = {
  counter: /_total$/,
  histogram: /_(seconds|bytes)$/,
  gauge: /(?<!_total)$/,
};

const RULE: Readonly<Record<MetricKind, string>> = {
  counter: 'a counter ends in _total',
  histogram: 'a histogram ends in _seconds or _bytes',
  gauge: 'only counters end in _total',
};

/** Units that Prometheus names in another way, and endings it adds by itself. */
const REFUSED =
  /_(ms|millis|milliseconds|us|micros|ns|sec|secs|minutes|hours|kb|kib|mb|mib|gb|percent|count|sum|bucket)(_total)?$/;

/** What is wrong with the name; null: nothing. */
export function metricNameFault(kind: MetricKind, name: string): string | null {
  if (!/^drover(_[a-z0-9]+)+$/.test(name)) return 'a name is drover_ and lower-case words joined by _';
  if (REFUSED.test(name))
    return "units are _seconds and _bytes, shares are ratios; _count, _sum and _bucket are Prometheus's own";
  return ENDINGS[kind].test(name) ? null : RULE[kind];
}

/** @throws DroverError `internal.assertion` */
export function checkMetricName(kind: MetricKind, name: string): void {
  const fault = metricNameFault(kind, name);
  if (fault !== null) throw new DroverError('internal.assertion', `metric ${name}: ${fault}`);
}

/** In what the value is counted, as the name says: `seconds`, `bytes`, `ratio`; null: a plain number. */
export function unitOf(name: string): string | null {
  return /_(seconds|bytes|ratio)(?:_total)?$/.exec(name)?.[1] ?? null;
}
