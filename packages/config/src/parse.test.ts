// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the placeholders of drover.toml look like those of template strings
import type { DroverError } from '@drover/core';
import { describe, expect, it } from 'vitest';
import type { Fault } from './faults.ts';
import { parseConfig } from './parse.ts';

const SECRET = '0123456789012345678901234567890123';
const GOOD = `
[security]
secret = "${SECRET}"
[[clusters]]
name = "east"
host = "db-east"
databases = ["app"]
[[clusters]]
name = "west"
host = "db-west"
port = 6543
databases = ["app", "billing"]
`;

function failure(text: string, env: NodeJS.ProcessEnv = {}): DroverError {
  try {
    parseConfig(text, '/etc/drover.toml', env);
  } catch (error) {
    return error as DroverError;
  }
  throw new Error('it was accepted');
}

function faults(text: string, env: NodeJS.ProcessEnv = {}): readonly Fault[] {
  const error = failure(text, env);
  expect(error.code).toBe('config.invalid');
  return error.facts['faults'] as readonly Fault[];
}

describe('a configuration', () => {
  it('has defaults for what is not given', () => {
    const config = parseConfig(GOOD, 'drover.toml', {});
    expect(config).toMatchObject({
      file: 'drover.toml',
      nats: {
        url: 'nats://127.0.0.1:4222',
        user: undefined,
        partitions: 4,
        maxBytes: 2 * 1024 ** 3,
        maxAgeMs: 72 * 3_600_000,
      },
      clusters: [
        {
          name: 'east',
          host: 'db-east',
          port: 5432,
          databases: ['app'],
          sslmode: 'prefer',
          setupUser: 'postgres',
          setupPassword: '',
        },
        { name: 'west', port: 6543, databases: ['app', 'billing'] },
      ],
      tiers: { standard: { weight: 1, replicas: 1 } },
      cdc: { blockBytes: 262_144, flushMs: 10, heartbeatMs: 1000 },
      failover: { auto: true, graceMs: 3000 },
      control: { token: undefined },
      telemetry: { logLevel: 'info', otlpUrl: undefined },
    });
  });

  it('takes durations, sizes, tiers and what the environment says', () => {
    const text = `${GOOD}
[nats]
password = "\${PW}"
user = "u-\${NAME}-$\${x}"
partitions = "\${PARTITIONS}"
[cdc]
flush = "1.5s"
in_flight_bytes = "1GiB"
block_bytes = 8192
[failover]
auto = "\${AUTO}"
grace = 2500
[tiers.gold]
weight = 4
[tagging]
overrides = { "public.a" = "\${NAME}" }
`;
    const config = parseConfig(text, 'drover.toml', { PW: 'p', NAME: 'n', PARTITIONS: '7', AUTO: 'false' });
    expect(config).toMatchObject({
      nats: { password: 'p', user: 'u-n-${x}', partitions: 7 },
      cdc: { flushMs: 1500, inFlightBytes: 1024 ** 3, blockBytes: 8192 },
      failover: { auto: false, graceMs: 2500 },
      tiers: { standard: { weight: 1, replicas: 1 }, gold: { weight: 4, replicas: 1 } },
      tagging: { overrides: { 'public.a': 'n' } },
    });
  });

  it('tells all mistakes at once, each with file, key, what is wrong and an example', () => {
    const error = failure(`
[nats]
partitions = 0
replicas = "3"
[natts]
[cdc]
flsh = "3s"
[[clusters]]
name = "East"
host = "h"
databases = ["app"]
[[clusters]]
host = "h"
port = 70000
databases = ["app"]
[security]
secret = "short"
`);
    expect(error.message.split('\n')).toEqual([
      '/etc/drover.toml: [natts]: unknown section, did you mean [nats]?; for example [nats]',
      '/etc/drover.toml: nats.replicas: "3" is not a whole number; for example replicas = 3',
      '/etc/drover.toml: nats.partitions: 0 is out of bounds: 1 to 256; for example partitions = 4',
      '/etc/drover.toml: clusters[1].name: is missing; for example name = "east"',
      '/etc/drover.toml: clusters[1].port: 70000 is out of bounds: 1 to 65535; for example port = 5432',
      '/etc/drover.toml: cdc.flsh: unknown key, did you mean flush?; for example flush = "10ms"',
      expect.stringMatching(
        /^\/etc\/drover.toml: clusters\[0\].name: "East" is not a cluster name; .*for example name = "east"$/,
      ),
      expect.stringMatching(
        /^\/etc\/drover.toml: security.secret: \*\*\* has 5 characters, at least 32 are needed; for example secret = /,
      ),
    ]);
    expect(error.hint).toContain('drover init');
  });

  it.each<[mistake: string, text: string, key: string, wrong: RegExp]>([
    [
      'a duration without unit',
      '[cdc]\nflush = "3"',
      'cdc.flush',
      /"3" is not a duration \(ms, s, m, h, d\)/,
    ],
    ['a negative duration', '[cdc]\nflush = -5', 'cdc.flush', /not a duration/],
    ['a duration out of bounds', '[cdc]\nflush = "1h"', 'cdc.flush', /out of bounds: 0ms to 10s/],
    ['a decimal size', '[cdc]\nblock_bytes = "64MB"', 'cdc.block_bytes', /not a size \(B, KiB/],
    ['a size too small', '[nats]\nmax_bytes = "1B"', 'nats.max_bytes', /out of bounds: at least 1KiB/],
    ['a word for a boolean', '[failover]\nauto = "yes"', 'failover.auto', /"yes" is not true or false/],
    ['a choice that is none', '[proxy]\ntls = "on"', 'proxy.tls', /"on" is not one of off, allow, require/],
    ['a number for a text', '[proxy]\nhost = 5', 'proxy.host', /5 is not a text/],
    ['a fraction', '[nats]\npartitions = 1.5', 'nats.partitions', /not a whole number/],
    ['a list of numbers', '[tagging]\nreference = [1]', 'tagging.reference', /not a list of texts/],
    ['a list for a map', '[tagging]\noverrides = []', 'tagging.overrides', /not a map of texts/],
    [
      'a table without schema',
      '[tagging]\nreference = ["plans"]',
      'tagging.reference',
      /"plans" is not schema.table or schema.\*/,
    ],
    [
      'a table in two lists',
      '[tagging]\nreference = ["a.b"]\nexclude = ["a.b"]',
      'tagging.exclude',
      /stands twice, first at tagging.reference/,
    ],
    [
      'an override of a whole schema',
      '[tagging]\noverrides = { "a.*" = "x" }',
      'tagging.overrides',
      /is not schema.table$/,
    ],
    [
      'no schema prefix',
      '[tagging]\nmode = "schema"\nschema_prefix = ""',
      'tagging.schema_prefix',
      /every schema would be a tenant/,
    ],
    ['a section that is a value', 'nats = 1', 'nats', /must be a section/],
    ['tiers that are a value', 'tiers = 1', 'tiers', /must be sections by name/],
    ['an unknown key of a tier', '[tiers.gold]\nweigth = 2', 'tiers.gold.weigth', /did you mean weight/],
    ['a tier out of bounds', '[tiers.gold]\nweight = 0', 'tiers.gold.weight', /out of bounds/],
    ['a tier with a strange name', '[tiers."Gold!"]\nweight = 2', 'tiers.Gold!', /is not a name/],
    ['an address that is none', '[nats]\nurl = "http://x"', 'nats.url', /is not an address/],
    ['several addresses', '[nats]\nurl = "nats://a:1,nats://b:2"', 'nats.url', /is not an address/],
    [
      'credentials in an address',
      '[nats]\nurl = "nats://me:hush@n:4222"',
      'nats.url',
      /credentials do not belong/,
    ],
    [
      'a collector that is none',
      '[telemetry]\notlp_url = "ftp://x"',
      'telemetry.otlp_url',
      /is not an address/,
    ],
    ['a password without user', '[nats]\npassword = "p"', 'nats.user', /is missing beside password/],
    ['a certificate without key', '[proxy]\ncert_file = "a"', 'proxy.key_file', /go together/],
    ['one port for two', '[proxy]\nport = 50051', 'control.port', /the proxy's port already/],
    [
      'bounds that stop reading',
      '[cdc]\nblock_bytes = "1MiB"\nin_flight_bytes = "1MiB"',
      'cdc.in_flight_bytes',
      /less than two blocks/,
    ],
    [
      'a variable that is not set',
      '[control]\ntoken = "${NOPE}"',
      'control.token',
      /the environment variable NOPE is not set/,
    ],
    [
      'a misspelled key in another case',
      '[nats]\nMaxBytes = 1',
      'nats.MaxBytes',
      /unknown key, did you mean max_bytes/,
    ],
    ['a key that is like none', '[nats]\nzzzzzzzzzzzz = 1', 'nats.zzzzzzzzzzzz', /unknown key$/],
  ])('names %s', (_mistake, text, key, wrong) => {
    expect(faults(`${text}\n${GOOD}`)).toEqual([
      { key, wrong: expect.stringMatching(wrong), example: expect.stringMatching(/\S/) },
    ]);
  });

  it.each<[mistake: string, text: string, key: string, wrong: RegExp]>([
    ['no clusters', '', 'clusters', /at least one cluster is needed/],
    ['clusters that are no list', '[clusters]\nname = "east"', 'clusters', /must be a list of sections/],
    [
      'no databases',
      '[[clusters]]\nname = "a"\nhost = "h"\ndatabases = []',
      'clusters[0].databases',
      /is empty/,
    ],
    ['no host', '[[clusters]]\nname = "a"\nhost = " "\ndatabases = ["x"]', 'clusters[0].host', /is empty/],
    [
      'a name twice',
      '[[clusters]]\nname = "a"\nhost = "h"\ndatabases = ["x"]\n[[clusters]]\nname = "a"\nhost = "i"\ndatabases = ["x"]',
      'clusters[1].name',
      /"a" stands twice, first at clusters\[0\].name/,
    ],
    [
      'a database twice',
      '[[clusters]]\nname = "a"\nhost = "h"\ndatabases = ["x"]\n[[clusters]]\nname = "b"\nhost = "h"\ndatabases = ["y", "x"]',
      'clusters[1].databases',
      /"h:5432\/x" stands twice/,
    ],
    [
      'too many clusters',
      Array.from(
        { length: 17 },
        (_, i) => `[[clusters]]\nname = "c${i}"\nhost = "h${i}"\ndatabases = ["x"]`,
      ).join('\n'),
      'clusters',
      /17 are too many/,
    ],
  ])('names %s', (_mistake, text, key, wrong) => {
    const found = faults(`[security]\nsecret = "${SECRET}"\n${text}`);
    expect(found).toContainEqual({
      key,
      wrong: expect.stringMatching(wrong),
      example: expect.stringMatching(/\S/),
    });
  });

  it('names the place of a mistake in the TOML itself, and shows nothing of the text', () => {
    const error = failure('[security]\nsecret = "hush hush hush\n');
    expect(error.message).toMatch(/^\/etc\/drover.toml:2:\d+: not valid TOML: /);
    expect(error.message).not.toContain('hush');
  });
});

describe('secrets', () => {
  it('never stand in a message', () => {
    const text = '[security]\nsecret = "hush"\n[control]\ntoken = 4711\n[nats]\nurl = "ftp://me:hush@n"';
    const error = failure(text);
    expect(`${error.message}${JSON.stringify(error.facts)}`).not.toMatch(/hush|4711/);
    expect(error.message).toContain('***');
  });
});
