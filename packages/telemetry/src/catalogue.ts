/**
 * The metrics of a service, declared in one place: name, help and labels. Names are checked when they are declared, labels when
 * the code is compiled; the reference page is made from the same declaration.
 */

import { checkMetricName, type MetricKind, unitOf } from './metric-names.ts';
import type { Counter, Gauge, Histogram, Metrics } from './metrics.ts';

export interface MetricSpec<K extends MetricKind = MetricKind, L extends string = string> {
  readonly kind: K;
  readonly name: string;
  /** One sentence. */
  readonly help: string;
  readonly labels: readonly L[];
  readonly buckets?: readonly number[];
}

export function counter<const L extends string = never>(
  name: string,
  help: string,
  labels: readonly L[] = [],
): MetricSpec<'counter', L> {
  return { kind: 'counter', name, help, labels };
}

export function gauge<const L extends string = never>(
  name: string,
  help: string,
  labels: readonly L[] = [],
): MetricSpec<'gauge', L> {
  return { kind: 'gauge', name, help, labels };
}

/** `buckets`: upper bounds, ascending; by default those of times or of sizes, as the name says. */
export function histogram<const L extends string = never>(
  name: string,
  help: string,
  labels: readonly L[] = [],
  buckets?: readonly number[],
): MetricSpec<'histogram', L> {
  return { kind: 'histogram', name, help, labels, ...(buckets === undefined ? {} : { buckets }) };
}

type LabelsOf<S> = S extends MetricSpec<MetricKind, infer L> ? Readonly<Record<L, string | number>> : never;
type InstrumentOf<S> =
  S extends MetricSpec<'counter'>
    ? Counter<LabelsOf<S>>
    : S extends MetricSpec<'gauge'>
      ? Gauge<LabelsOf<S>>
      : Histogram<LabelsOf<S>>;

export interface MetricCatalogue<C extends Readonly<Record<string, MetricSpec>>> {
  readonly specs: C;
  /** Makes the instruments. */
  on(metrics: Metrics): { readonly [K in keyof C]: InstrumentOf<C[K]> };
}

/** @throws DroverError `internal.assertion` for a name against the rules. */
export function defineMetrics<const C extends Readonly<Record<string, MetricSpec>>>(
  specs: C,
): MetricCatalogue<C> {
  for (const { kind, name } of Object.values(specs)) checkMetricName(kind, name);
  return {
    specs,
    on: (metrics) =>
      Object.fromEntries(Object.entries(specs).map(([key, spec]) => [key, instrument(metrics, spec)])) as {
        [K in keyof C]: InstrumentOf<C[K]>; // each made by its spec's kind
      },
  };
}

function instrument(metrics: Metrics, spec: MetricSpec): Counter | Gauge | Histogram {
  switch (spec.kind) {
    case 'counter':
      return metrics.counter(spec.name, spec.help);
    case 'gauge':
      return metrics.gauge(spec.name, spec.help);
    case 'histogram':
      return metrics.histogram(spec.name, spec.help, spec.buckets);
  }
}

/** The table of a reference page. */
export function renderMetrics(specs: Readonly<Record<string, MetricSpec>>): string {
  const rows = Object.values(specs).map(
    ({ kind, name, help, labels }) =>
      `| \`${name}\` | ${kind} | ${unitOf(name) ?? ''} | ${labels.map((l) => `\`${l}\``).join(', ')} | ${help.replaceAll('|', '\\|')} |`,
  );
  return ['| metric | type | unit | labels | meaning |', '|---|---|---|---|---|', ...rows].join('\n');
}
