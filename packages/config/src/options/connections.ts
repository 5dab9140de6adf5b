// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the placeholders of drover.toml look like those of template strings
/** What Drover connects to, and the secret that everything is derived from. */
import { GiB, HOUR, MINUTE, type Option, optionsOf } from './option.ts';

const nats = optionsOf('nats');
const clusters = optionsOf('clusters');
const security = optionsOf('security');

export const NATS: readonly Option[] = [
  nats('url', 'text', 'nats://127.0.0.1:4222', '"nats://nats-1:4222"', 'Server to connect to.'),
  nats('user', 'text', null, '"drover"', 'User, when the server asks for one.'),
  nats('password', 'secret', null, '"${DROVER_NATS_PASSWORD}"', 'Its password.'),
  nats('replicas', 'integer', 1, '3', 'Copies of each stream and bucket; 3 over three zones in production.', {
    min: 1,
    max: 5,
  }),
  nats('partitions', 'integer', 4, '4', 'Streams per cluster. Fixed once streams exist.', {
    min: 1,
    max: 256,
  }),
  nats(
    'max_bytes',
    'size',
    2 * GiB,
    '"8GiB"',
    'Bound of one stream; JetStream sets as much aside, times partitions, clusters and replicas. When it is reached publishing waits and the source keeps its WAL.',
    { min: 1024 },
  ),
  nats(
    'max_age',
    'duration',
    72 * HOUR,
    '"3d"',
    'Messages older than this are removed; a replica that was away for longer is copied anew.',
    {
      min: MINUTE,
    },
  ),
  nats(
    'durability',
    'choice',
    'nats-fsync',
    '"applied"',
    'When a source may forget its WAL: once NATS has it, which must then fsync each message (`sync_interval: always`, 3 replicas); or only once all replicas have applied it.',
    { choices: ['nats-fsync', 'applied'] },
  ),
  nats(
    'monitor',
    'text',
    null,
    '"http://nats-1:8222"',
    "Monitoring address of nats-server, several separated by commas; there the server's settings are checked against `durability`.",
  ),
];

export const CLUSTERS: readonly Option[] = [
  clusters(
    'name',
    'text',
    undefined,
    '"east"',
    'A lower-case letter, then up to 30 of a-z, 0-9 and -. Fixed once streams exist.',
  ),
  clusters('host', 'text', undefined, '"db-east.internal"', 'Host of the primary.'),
  clusters('port', 'integer', 5432, '5432', 'Its port.', { min: 1, max: 65535 }),
  clusters(
    'databases',
    'list',
    undefined,
    '["app"]',
    'Databases whose tenants are captured; the first is the default.',
  ),
  clusters(
    'sslmode',
    'choice',
    'prefer',
    '"verify-full"',
    'TLS towards this cluster: never; only towards other machines, unverified; always, unverified; always, with a certificate that a known authority signed (NODE_EXTRA_CA_CERTS adds one).',
    {
      choices: ['disable', 'prefer', 'require', 'verify-full'],
    },
  ),
  clusters('setup_user', 'text', 'postgres', '"postgres"', 'Who `doctor` and `setup` connect as.'),
  clusters('setup_password', 'secret', '', '"${PGPASSWORD_EAST}"', 'Its password.'),
];

export const SECURITY: readonly Option[] = [
  security(
    'secret',
    'secret',
    undefined,
    '"${DROVER_SECRET}"',
    'At least 32 characters; everything that is secret is derived from it.',
  ),
  security(
    'master_key',
    'map',
    null,
    '{ file = "/etc/drover/master.keys" }',
    'Where the keys stand under which the keys of sealed tenants are kept: `file`, or `env` with the name of a variable. One line a generation, `<number>:<32 bytes in base64>`; the highest is used (docs/sealing.md).',
  ),
];
