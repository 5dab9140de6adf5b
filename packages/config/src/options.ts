// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the placeholders of drover.toml look like those of template strings
/**
 * The one table of options. Parsing, the commented `drover.toml`, help and the reference page are derived from it, so that none
 * of them can say another thing.
 */
export type OptionType =
  | 'text'
  | 'secret'
  | 'integer'
  | 'boolean'
  | 'duration'
  | 'size'
  | 'list'
  | 'map'
  | 'choice';

export interface Option {
  readonly section: string;
  /** In the file. */
  readonly key: string;
  /** Field of the parsed section. */
  readonly field: string;
  /** Durations are milliseconds when parsed, sizes bytes. The value of a `secret` is never shown. */
  readonly type: OptionType;
  /** undefined: required; null: optional without a default. */
  readonly fallback: unknown;
  /** One sentence. */
  readonly help: string;
  /** A value as it stands in the file. */
  readonly example: string;
  readonly choices?: readonly string[];
  /** Bounds of numbers, inclusive, in the parsed unit. */
  readonly min?: number;
  readonly max?: number;
}

export interface Section {
  /** `[name]` once, `[[name]]` once for each entry, or `[name.<entry>]`. */
  readonly kind: 'once' | 'list' | 'named';
  readonly help: string;
}

function option(
  section: string,
  key: string,
  type: OptionType,
  fallback: unknown,
  example: string,
  help: string,
  rest: Partial<Option> = {},
): Option {
  const camel = key.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase());
  const field = type === 'duration' ? `${camel}Ms` : camel;
  return { section, key, field, type, fallback, example, help, ...rest };
}

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;
const KiB = 1024;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

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
  option('nats', 'url', 'text', 'nats://127.0.0.1:4222', '"nats://nats-1:4222"', 'Server to connect to.'),
  option('nats', 'user', 'text', null, '"drover"', 'User, when the server asks for one.'),
  option('nats', 'password', 'secret', null, '"${DROVER_NATS_PASSWORD}"', 'Its password.'),
  option(
    'nats',
    'replicas',
    'integer',
    1,
    '3',
    'Copies of each stream and bucket; 3 over three zones in production.',
    { min: 1, max: 5 },
  ),
  option('nats', 'partitions', 'integer', 4, '4', 'Streams per cluster. Fixed once streams exist.', {
    min: 1,
    max: 256,
  }),
  option(
    'nats',
    'max_bytes',
    'size',
    2 * GiB,
    '"8GiB"',
    'Bound of one stream; JetStream sets as much aside, times partitions, clusters and replicas. When it is reached publishing waits and the source keeps its WAL.',
    { min: 1024 },
  ),
  option(
    'nats',
    'max_age',
    'duration',
    72 * HOUR,
    '"3d"',
    'Messages older than this are removed; a replica that was away for longer is copied anew.',
    {
      min: MINUTE,
    },
  ),
  option(
    'nats',
    'durability',
    'choice',
    'nats-fsync',
    '"applied"',
    'When a source may forget its WAL: once NATS has it, which must then fsync each message (`sync_interval: always`, 3 replicas); or only once all replicas have applied it.',
    { choices: ['nats-fsync', 'applied'] },
  ),
  option(
    'nats',
    'monitor',
    'text',
    null,
    '"http://nats-1:8222"',
    "Monitoring address of nats-server, several separated by commas; there the server's settings are checked against `durability`.",
  ),

  option(
    'clusters',
    'name',
    'text',
    undefined,
    '"east"',
    'A lower-case letter, then up to 30 of a-z, 0-9 and -. Fixed once streams exist.',
  ),
  option('clusters', 'host', 'text', undefined, '"db-east.internal"', 'Host of the primary.'),
  option('clusters', 'port', 'integer', 5432, '5432', 'Its port.', { min: 1, max: 65535 }),
  option(
    'clusters',
    'databases',
    'list',
    undefined,
    '["app"]',
    'Databases whose tenants are captured; the first is the default.',
  ),
  option(
    'clusters',
    'sslmode',
    'choice',
    'prefer',
    '"verify-full"',
    'TLS towards this cluster: never; only towards other machines, unverified; always, unverified; always, with a certificate that a known authority signed (NODE_EXTRA_CA_CERTS adds one).',
    {
      choices: ['disable', 'prefer', 'require', 'verify-full'],
    },
  ),
  option('clusters', 'setup_user', 'text', 'postgres', '"postgres"', 'Who `doctor` and `setup` connect as.'),
  option('clusters', 'setup_password', 'secret', '', '"${PGPASSWORD_EAST}"', 'Its password.'),

  option(
    'security',
    'secret',
    'secret',
    undefined,
    '"${DROVER_SECRET}"',
    'At least 32 characters; everything that is secret is derived from it.',
  ),
  option(
    'security',
    'master_key',
    'map',
    null,
    '{ file = "/etc/drover/master.keys" }',
    'Where the keys stand under which the keys of sealed tenants are kept: `file`, or `env` with the name of a variable. One line a generation, `<number>:<32 bytes in base64>`; the highest is used (docs/sealing.md).',
  ),

  option('tagging', 'mode', 'choice', 'column', '"column"', "Where a row's tenant stands.", {
    choices: ['column', 'schema', 'database'],
  }),
  option('tagging', 'column', 'text', 'tenant_id', '"tenant_id"', 'The tenant column of shared tables.'),
  option(
    'tagging',
    'overrides',
    'map',
    {},
    '{ "public.pgbench_accounts" = "bid" }',
    'Tables whose tenant column has another name, by `schema.table`.',
  ),
  option(
    'tagging',
    'reference',
    'list',
    [],
    '["public.plans"]',
    'Tables without a tenant, replicated everywhere: `schema.table` or `schema.*`.',
  ),
  option(
    'tagging',
    'exclude',
    'list',
    [],
    '["public.schema_migrations"]',
    'Tables that are not captured: `schema.table` or `schema.*`.',
  ),
  option(
    'tagging',
    'schema_prefix',
    'text',
    'tenant_',
    '"tenant_"',
    "Schema mode: the part of the schema's name before the tenant.",
  ),
  option(
    'tagging',
    'database_prefix',
    'text',
    'tenant_',
    '"tenant_"',
    "Database mode: the part of the database's name before the tenant.",
  ),

  option(
    'tiers',
    'weight',
    'integer',
    1,
    '4',
    'Share of the work beside tenants of other tiers, in bytes, where they compete: in lanes of their own and in copies.',
    {
      min: 1,
      max: 1000,
    },
  ),
  option(
    'tiers',
    'replicas',
    'integer',
    1,
    '1',
    'Clusters that stand by for a new tenant, as far as there are that many.',
    { min: 0, max: 15 },
  ),

  option(
    'capture',
    'ddl',
    'boolean',
    true,
    'true',
    'Schema changes travel with the rows; `drover setup` makes event triggers for it.',
  ),

  option('cdc', 'block_bytes', 'size', 256 * KiB, '"256KiB"', 'A block is closed at this size.', {
    min: 4096,
    max: 16 * MiB,
  }),
  option(
    'cdc',
    'compression',
    'choice',
    'auto',
    '"columns"',
    'How blocks are stored: as columns (fewest bytes, most CPU), by zstd, by snappy (half the CPU of zstd for blocks of 2 KB, about as much for large ones, 1.4 to 1.8 times the bytes), or not compressed; auto: columns for blocks of 8 KiB and more, zstd for the others and while catching up.',
    { choices: ['auto', 'columns', 'zstd', 'snappy', 'none'] },
  ),
  option('cdc', 'flush', 'duration', 10, '"10ms"', 'And at this age, while the bus is busy.', {
    min: 0,
    max: 10_000,
  }),
  option(
    'cdc',
    'in_flight_bytes',
    'size',
    64 * MiB,
    '"64MiB"',
    'Bytes read and not yet acknowledged; at this bound reading stops.',
    { min: MiB },
  ),
  option('cdc', 'heartbeat', 'duration', 1000, '"1s"', 'Interval of heartbeats through the pipeline.', {
    min: 100,
  }),
  option(
    'cdc',
    'key_patience',
    'duration',
    60_000,
    '"5m"',
    'How long a reader stands still for the key of a sealed tenant that cannot be had; then that tenant’s rows are withheld, and its replicas stop until they are copied anew.',
    { min: 0 },
  ),
  option(
    'cdc',
    'warn_retained',
    'size',
    4 * GiB,
    '"4GiB"',
    'WAL that a slot may keep on its source before it is warned of.',
    { min: MiB },
  ),
  option(
    'cdc',
    'warn_safe_wal',
    'size',
    GiB,
    '"1GiB"',
    'It is warned of when no more than this may be written before PostgreSQL invalidates the slot (`max_slot_wal_keep_size`).',
    { min: 0 },
  ),
  option(
    'cdc',
    'warn_time_left',
    'duration',
    30 * MINUTE,
    '"30m"',
    'And when that is so near at the rate at which WAL is written now.',
    { min: 0 },
  ),

  option(
    'apply',
    'batch_bytes',
    'size',
    4 * MiB,
    '"4MiB"',
    'Bytes merged into one transaction on the replica.',
    { min: 4096 },
  ),
  option('apply', 'linger', 'duration', 0, '"0ms"', 'How long a batch that is not full waits for more.', {
    min: 0,
    max: 10 * SECOND,
  }),

  option(
    'failover',
    'auto',
    'boolean',
    true,
    'true',
    'Promote the tenants of a dead cluster without asking.',
  ),
  option('failover', 'grace', 'duration', 3000, '"3s"', 'How long the signs of death must last.', {
    min: 500,
  }),
  option('failover', 'min_signals', 'integer', 3, '3', 'Different signals that must fail.', {
    min: 1,
    max: 8,
  }),
  option('failover', 'min_observers', 'integer', 2, '2', 'Observers that must see it.', { min: 1 }),
  option(
    'failover',
    'cooldown',
    'duration',
    MINUTE,
    '"60s"',
    'A tenant that was failed over stays for at least this long.',
    { min: 0 },
  ),
  option(
    'failover',
    'drain_timeout',
    'duration',
    5000,
    '"5s"',
    'A planned switch-over is called off when it waits longer.',
    { min: 100 },
  ),
  option('failover', 'parallel', 'integer', 16, '16', 'Tenants moved at once.', { min: 1, max: 256 }),

  option('migration', 'chunk_rows', 'integer', 10_000, '10000', 'Rows of one chunk of a copy.', { min: 1 }),
  option(
    'migration',
    'parallel',
    'integer',
    2,
    '2',
    'Tenants copied at once; of these, half move rows at any moment, by the weight of their tiers.',
    { min: 1, max: 64 },
  ),

  option('proxy', 'host', 'text', '127.0.0.1', '"0.0.0.0"', 'Address to listen on.'),
  option('proxy', 'port', 'integer', 6432, '6432', 'Port to listen on.', { min: 0, max: 65535 }),
  option('proxy', 'tls', 'choice', 'allow', '"require"', 'TLS towards clients.', {
    choices: ['off', 'allow', 'require'],
  }),
  option(
    'proxy',
    'cert_file',
    'text',
    null,
    '"/etc/drover/tls.crt"',
    'Certificate, PEM. Without one a self-signed certificate is made.',
  ),
  option('proxy', 'key_file', 'text', null, '"/etc/drover/tls.key"', 'Its key, PEM.'),
  option('proxy', 'pool_size', 'integer', 20, '20', 'Backends per cluster, database and role.', {
    min: 1,
    max: 10_000,
  }),
  option(
    'proxy',
    'hold',
    'duration',
    30_000,
    '"30s"',
    "A statement waits at most this long for its tenant's primary.",
    { min: 0 },
  ),
  option(
    'proxy',
    'lease',
    'duration',
    3000,
    '"3s"',
    'A proxy that cannot renew its lease for this long has stopped writing.',
    { min: 500 },
  ),
  option('proxy', 'max_clients', 'integer', 10_000, '10000', 'Client connections.', { min: 1 }),

  option('control', 'host', 'text', '127.0.0.1', '"0.0.0.0"', 'Address of gRPC.'),
  option('control', 'port', 'integer', 50051, '50051', 'Port of gRPC.', { min: 0, max: 65535 }),
  option(
    'control',
    'token',
    'secret',
    null,
    '"${DROVER_TOKEN}"',
    'Callers must show it (`authorization: Bearer …`); without one whoever reaches the port is let in.',
  ),

  option('telemetry', 'host', 'text', '127.0.0.1', '"0.0.0.0"', 'Address of /metrics, /livez, /readyz.'),
  option(
    'telemetry',
    'port',
    'integer',
    9090,
    '9090',
    'First port; each service adds its own offset. 0: any free port.',
    { min: 0, max: 65500 },
  ),
  option(
    'telemetry',
    'top_tenants',
    'integer',
    50,
    '50',
    'Tenants with a label of their own; the rest is `other`.',
    { min: 0, max: 10_000 },
  ),
  option(
    'telemetry',
    'otlp_url',
    'text',
    null,
    '"http://collector:4318"',
    'OpenTelemetry collector for traces.',
  ),
  option('telemetry', 'log_level', 'choice', 'info', '"info"', 'What is logged.', {
    choices: ['debug', 'info', 'warn', 'error'],
  }),
];
