/**
 * The one table of options. Parsing, the commented `drover.toml`, help and the reference page are derived from it, so that none
 * of them can say another thing.
 */
import { CLUSTERS, NATS, SECURITY } from './options/connections.ts';
import { CONTROL, PROXY, TELEMETRY } from './options/listeners.ts';
import { FAILOVER, MIGRATION } from './options/moves.ts';
import type { Option, Section } from './options/option.ts';
import { APPLY, CDC } from './options/pipeline.ts';
import { CAPTURE, TAGGING, TIERS } from './options/tenants.ts';

export type { Option, Section } from './options/option.ts';

/** In the order of the file. */
export const SECTIONS: Readonly<Record<string, Section>> = {
  nats: { kind: 'once', help: 'NATS with JetStream: the bus and the catalog.' },
  clusters: { kind: 'list', help: 'One entry for each PostgreSQL cluster that can hold tenants.' },
  security: { kind: 'once', help: 'Role passwords and the tenant context key are derived from the secret.' },
  tagging: { kind: 'once', help: 'How the tenant of a row is found.' },
  tiers: { kind: 'named', help: 'Qualities of service, by name. `standard` exists by itself.' },
  capture: { kind: 'once', help: 'What is captured besides rows.' },
  cdc: { kind: 'once', help: 'The reader of the WAL.' },
  apply: { kind: 'once', help: 'The writer of replicas.' },
  failover: { kind: 'once', help: 'When and how tenants are moved between clusters.' },
  migration: { kind: 'once', help: 'First copies and verification.' },
  proxy: { kind: 'once', help: 'The front door.' },
  control: { kind: 'once', help: 'The control plane (gRPC).' },
  telemetry: { kind: 'once', help: 'Metrics, health, logs, traces.' },
};

export const OPTIONS: readonly Option[] = [
  ...NATS,
  ...CLUSTERS,
  ...SECURITY,
  ...TAGGING,
  ...TIERS,
  ...CAPTURE,
  ...CDC,
  ...APPLY,
  ...FAILOVER,
  ...MIGRATION,
  ...PROXY,
  ...CONTROL,
  ...TELEMETRY,
];
