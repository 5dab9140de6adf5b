import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { clusterId, must } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { roleConnection, setupConnection } from './connections.ts';
import { deriveContextKey, derivePassword } from './derive.ts';
import { loadConfig } from './load.ts';
import { OPTIONS, SECTIONS } from './options.ts';
import { parseConfig } from './parse.ts';
import { configFromParts } from './parts.ts';
import { METRICS_PORTS, metricsPort } from './ports.ts';
import { redacted } from './redact.ts';
import { renderConfigHelp, renderConfigReference } from './reference.ts';
import { renderConfigTemplate } from './template.ts';

const SECRET = 'x'.repeat(40);

describe('what is derived from the option table', () => {
  it('is the template of `drover init`', () => {
    expect(renderConfigTemplate()).toMatchSnapshot();
  });

  it('is the template that `drover init` writes, ready to be read back once the environment is set', () => {
    const env = { DROVER_SECRET: SECRET, PGPASSWORD_EAST: 'e', PGPASSWORD_WEST: 'w' };
    const config = parseConfig(renderConfigTemplate(), 'drover.toml', env);
    expect(config.clusters.map((c) => [c.name, c.setupPassword])).toEqual([
      ['east', 'e'],
      ['west', 'w'],
    ]);
  });

  it('is the reference page, as committed', () => {
    const page = readFileSync(new URL('../../../docs/reference/config.md', import.meta.url), 'utf8');
    expect(page, 'run: node packages/config/src/write-reference.ts').toBe(renderConfigReference());
  });

  it('is help for a terminal', () => {
    expect(renderConfigHelp('failover')).toContain(
      'grace = "3s"\n      How long the signs of death must last. (duration, at least 500ms, default: "3s")',
    );
    expect(renderConfigHelp('nothing')).toBeUndefined();
    for (const section of Object.keys(SECTIONS)) expect(renderConfigHelp()).toContain(`[${section}`);
  });

  it('has examples and defaults that are themselves valid', () => {
    for (const o of OPTIONS) {
      expect(o.help, `${o.section}.${o.key}`).toMatch(/\.$/);
      expect(Object.keys(SECTIONS)).toContain(o.section);
    }
    // Each example alone, in an otherwise good configuration.
    const env = Object.fromEntries(
      OPTIONS.flatMap((o) => [...o.example.matchAll(/\$\{(\w+)\}/g)]).map((m) => [m[1] ?? '', SECRET]),
    );
    for (const o of OPTIONS) {
      if (o.section === 'clusters') continue;
      const head = o.section === 'tiers' ? '[tiers.gold]' : `[${o.section}]`;
      const pair: Record<string, string> = {
        'nats.password': 'user = "u"\n',
        'security.master_key': `secret = "${SECRET}"\n`,
        'proxy.cert_file': 'key_file = "k"\n',
        'proxy.key_file': 'cert_file = "c"\n',
      };
      const secret = o.section === 'security' ? '' : `[security]\nsecret = "${SECRET}"\n`;
      const text = `${secret}${head}\n${pair[`${o.section}.${o.key}`] ?? ''}${o.key} = ${o.example}\n[[clusters]]\nname = "a"\nhost = "h"\ndatabases = ["d"]\n`;
      expect(() => parseConfig(text, 'x', env), text).not.toThrow();
    }
  });

  it('has the fields of the Config type', () => {
    const config = configFromParts();
    const fields: Record<string, readonly string[]> = {
      nats: [
        'url',
        'user',
        'password',
        'replicas',
        'partitions',
        'maxBytes',
        'maxAgeMs',
        'durability',
        'monitor',
      ],
      security: ['secret', 'masterKey'],
      tagging: ['mode', 'column', 'overrides', 'reference', 'exclude', 'schemaPrefix', 'databasePrefix'],
      capture: ['ddl'],
      cdc: [
        'blockBytes',
        'compression',
        'flushMs',
        'inFlightBytes',
        'heartbeatMs',
        'keyPatienceMs',
        'chunkBytes',
        'streamAboveBytes',
        'warnRetained',
        'warnSafeWal',
        'warnTimeLeftMs',
      ],
      apply: ['batchBytes', 'lingerMs'],
      failover: ['auto', 'graceMs', 'minSignals', 'minObservers', 'cooldownMs', 'drainTimeoutMs', 'parallel'],
      migration: ['chunkRows', 'parallel'],
      proxy: ['host', 'port', 'tls', 'certFile', 'keyFile', 'poolSize', 'holdMs', 'leaseMs', 'maxClients'],
      control: ['host', 'port', 'token'],
      telemetry: ['host', 'port', 'topTenants', 'otlpUrl', 'logLevel'],
    } satisfies {
      [S in Exclude<
        keyof typeof config,
        'file' | 'clusters' | 'tiers' | 'transform'
      >]: (keyof (typeof config)[S])[];
    };
    for (const [section, names] of Object.entries(fields)) {
      expect(Object.keys(config[section as keyof typeof config] ?? {}), section).toEqual(names);
    }
    expect(Object.keys(must(config.clusters[0], 'east'))).toEqual([
      'name',
      'host',
      'port',
      'databases',
      'sslmode',
      'setupUser',
      'setupPassword',
    ]);
    expect(config.tiers['standard']).toEqual({ weight: 1, replicas: 1 });
  });
});

describe('secrets', () => {
  const config = configFromParts({
    sections: {
      security: { secret: `hush-${SECRET}` },
      nats: { user: 'u', password: 'hush' },
      control: { token: 'hush' },
    },
    clusters: [{ name: 'east', host: 'h', databases: ['d'], setup_password: 'hush' }],
  });

  it('can be used, but do not show when the configuration is printed', () => {
    expect(config.nats.password).toBe('hush');
    for (const text of [
      JSON.stringify(config),
      inspect(config, { depth: 9 }),
      JSON.stringify(redacted(config)),
    ]) {
      expect(text).not.toContain('hush');
      expect(text.match(/\*\*\*/g)).toHaveLength(4);
    }
  });

  it('that are empty or absent show as they are', () => {
    expect(JSON.parse(JSON.stringify(configFromParts())).control).toEqual({ host: '127.0.0.1', port: 50051 });
  });

  it('yield passwords and a key, the same on every machine', () => {
    // printf 'role:drover_cdc' | openssl dgst -sha256 -hmac s -binary | base64, URL-safe
    expect(derivePassword('s', 'drover_cdc')).toBe('G990dRDo1bAlFZmYzYv04fspMWHvnrWI65yvxXIsH2Q');
    expect(derivePassword('s', 'drover_cdc')).not.toBe(derivePassword('s', 'drover_apply'));
    expect(deriveContextKey('s').toString('hex')).toBe(
      '8f4f91aba3e6184779fd73f5ef25a1d9ff3667ca922c9ccd3dd8066a32ea578e',
    );
  });
});

describe('connections', () => {
  const config = configFromParts({
    clusters: [{ name: 'east', host: 'db', databases: ['app', 'b'], setup_password: 'p' }],
  });
  const east = must(config.clusters[0], 'east');

  it('are those of a role, or of who sets up', () => {
    expect(roleConnection(east, 'drover_cdc', 's')).toEqual({
      host: 'db',
      port: 5432,
      user: 'drover_cdc',
      password: derivePassword('s', 'drover_cdc'),
      database: 'app',
      ssl: { rejectUnauthorized: false },
    });
    expect(setupConnection(east, 'postgres')).toMatchObject({
      user: 'postgres',
      password: 'p',
      database: 'postgres',
    });
  });

  it.each([
    ['disable', 'db', false],
    ['prefer', 'localhost', false],
    ['prefer', 'db', { rejectUnauthorized: false }],
    ['require', 'localhost', { rejectUnauthorized: false }],
    ['verify-full', '127.0.0.1', { rejectUnauthorized: true }],
  ] as const)('use TLS as asked: %s to %s', (sslmode, host, ssl) => {
    expect(
      roleConnection({ ...east, name: clusterId('east'), sslmode, host }, 'drover_cdc', 's').ssl,
    ).toEqual(ssl);
  });
});

describe('the rest', () => {
  it('says where a missing file would be', () => {
    expect(() => loadConfig({ file: 'nope.toml', cwd: '/nowhere' })).toThrow(
      expect.objectContaining({ code: 'config.missing', message: 'no configuration at /nowhere/nope.toml' }),
    );
  });

  it('gives every process a port of its own within the range', () => {
    const ports = ['control', 'failover', 'migration', 'proxy'].map((s) => metricsPort(9090, s, 0));
    for (const service of ['cdc', 'apply'])
      for (let i = 0; i < 16; i++) ports.push(metricsPort(9090, service, i));
    expect(new Set(ports).size).toBe(METRICS_PORTS);
    expect([Math.min(...ports), Math.max(...ports)]).toEqual([9090, 9090 + METRICS_PORTS - 1]);
    expect([metricsPort(0, 'cdc', 3), metricsPort(9090, 'other', 0), metricsPort(9090, 'cdc', 16)]).toEqual([
      0, 0, 0,
    ]);
  });
});
