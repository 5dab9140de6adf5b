/** docs/reference/metrics.md, from what each service declares in its `metrics.ts`. */
import { must } from '@drover/core';
import { type MetricSpec, renderMetrics } from '@drover/telemetry';
import { SERVICES, type ServiceName } from './services.ts';

export type MetricSpecs = Readonly<Record<string, MetricSpec>>;

/** The catalogue of a service is the export `<service>Metrics` of its `metrics.ts`. */
export async function loadMetrics(service: ServiceName): Promise<MetricSpecs> {
  const module = (await import(new URL(`../../${service}/src/metrics.ts`, import.meta.url).href)) as Readonly<
    Record<string, { readonly specs: MetricSpecs }>
  >;
  return must(module[`${service}Metrics`], `catalogue of ${service}`).specs;
}

const INTRODUCTION = `# Metrics

What each service tells at \`/metrics\`, in Prometheus' text format; where that is served stands in
[operations](../operations.md#every-service). Times are seconds, sizes bytes, shares between 0 and 1. A histogram has the series
\`_bucket\`, \`_sum\` and \`_count\`.

Labels are bounded. \`cluster\`, \`source\`, \`database\` and \`pool\` are names of the configuration; \`kind\`, \`outcome\`, \`reason\`, \`state\`, \`feed\`,
\`method\` and \`code\` are words of the program, \`class\` is the first two characters of an SQLSTATE. \`tenant\` is a name for the first
\`[telemetry] top_tenants\` and \`other\` for the rest.

This page is made from \`services/*/src/metrics.ts\` by \`node services/cli/src/write-metrics-reference.ts\`.
`;

export async function renderMetricsReference(): Promise<string> {
  const out = [INTRODUCTION];
  for (const service of SERVICES)
    out.push(`## ${service}`, '', renderMetrics(await loadMetrics(service)), '');
  return out.join('\n');
}
