// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the placeholders of drover.toml look like those of template strings
/** What others connect to: applications, operators, monitoring. */
import { type Option, optionsOf } from './option.ts';

const proxy = optionsOf('proxy');
const control = optionsOf('control');
const telemetry = optionsOf('telemetry');

export const PROXY: readonly Option[] = [
  proxy('host', 'text', '127.0.0.1', '"0.0.0.0"', 'Address to listen on.'),
  proxy('port', 'integer', 6432, '6432', 'Port to listen on.', { min: 0, max: 65535 }),
  proxy('tls', 'choice', 'allow', '"require"', 'TLS towards clients.', {
    choices: ['off', 'allow', 'require'],
  }),
  proxy(
    'cert_file',
    'text',
    null,
    '"/etc/drover/tls.crt"',
    'Certificate, PEM. Without one a self-signed certificate is made.',
  ),
  proxy('key_file', 'text', null, '"/etc/drover/tls.key"', 'Its key, PEM.'),
  proxy('pool_size', 'integer', 20, '20', 'Backends per cluster, database and role.', {
    min: 1,
    max: 10_000,
  }),
  proxy(
    'hold',
    'duration',
    30_000,
    '"30s"',
    "A statement waits at most this long for its tenant's primary.",
    { min: 0 },
  ),
  proxy(
    'lease',
    'duration',
    3000,
    '"3s"',
    'A proxy that cannot renew its lease for this long has stopped writing.',
    { min: 500 },
  ),
  proxy('max_clients', 'integer', 10_000, '10000', 'Client connections.', { min: 1 }),
];

export const CONTROL: readonly Option[] = [
  control('host', 'text', '127.0.0.1', '"0.0.0.0"', 'Address of gRPC.'),
  control('port', 'integer', 50051, '50051', 'Port of gRPC.', { min: 0, max: 65535 }),
  control(
    'token',
    'secret',
    null,
    '"${DROVER_TOKEN}"',
    'Callers must show it (`authorization: Bearer …`); without one whoever reaches the port is let in.',
  ),
];

export const TELEMETRY: readonly Option[] = [
  telemetry('host', 'text', '127.0.0.1', '"0.0.0.0"', 'Address of /metrics, /livez, /readyz.'),
  telemetry(
    'port',
    'integer',
    9090,
    '9090',
    'First port; each service adds its own offset. 0: any free port.',
    { min: 0, max: 65500 },
  ),
  telemetry('top_tenants', 'integer', 50, '50', 'Tenants with a label of their own; the rest is `other`.', {
    min: 0,
    max: 10_000,
  }),
  telemetry('otlp_url', 'text', null, '"http://collector:4318"', 'OpenTelemetry collector for traces.'),
  telemetry('log_level', 'choice', 'info', '"info"', 'What is logged.', {
    choices: ['debug', 'info', 'warn', 'error'],
  }),
];
