/**
 * What is wrong before anything runs: the configuration, the password of a role, the version of a cluster. Each is told with its name, an
 * exit code, and what to do; nothing is touched.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { derivePassword, renderConfigTemplate } from '@drover/config';
import { type LocalServer, startNats, startPostgres } from '@drover/local';
import { testPort } from '@drover/testkit';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorOf, runDrover, System } from '../e2e/system.ts';
import { OLD_PASSWORD, type OldPostgres, startOldPostgres } from './old-postgres.ts';

const SECRET = 'a secret of thirty-two characters or more';
const dir = System.folder();
const file = (name: string) => join(dir, name);

const BAD = `
[nats]
url = "http://nats:4222"
max_bytes = "lots"
partitons = 4

[[clusters]]
name = "East!"
host = "db"
port = 70000
databases = []

[[clusters]]
name = "west"
databases = ["app"]
setup_password = "\${DROVER_NO_SUCH_VARIABLE}"

[security]
secret = "too short a secret"

[tagging]
mode = "row"

[cdc]
flush = "yesterday"

[proxi]
port = 1
`;

/** Key, what is wrong, example: of every mistake above. */
const MISTAKES: readonly (readonly [string, RegExp, string])[] = [
  ['nats.url', /http:\/\/nats:4222.* is not an address/, 'url = "nats://nats-1:4222"'],
  ['nats.max_bytes', /"lots" is not a size/, 'max_bytes = "8GiB"'],
  ['nats.partitons', /unknown key, did you mean partitions\?/, 'partitions = 4'],
  ['clusters[0].name', /"East!" is not a cluster name/, 'name = "east"'],
  ['clusters[0].port', /70000 is out of bounds: 1 to 65535/, 'port = 5432'],
  ['clusters[0].databases', /is empty/, 'databases = ["app"]'],
  ['clusters[1].host', /is missing/, 'host = "db-east.internal"'],
  ['clusters[1].setup_password', /DROVER_NO_SUCH_VARIABLE is not set/, 'export DROVER_NO_SUCH_VARIABLE='],
  ['security.secret', /18 characters, at least 32 are needed/, 'secret = "$'],
  ['tagging.mode', /"row" is not one of column, schema, database/, 'mode = "column"'],
  ['cdc.flush', /"yesterday" is not a duration/, 'flush = "10ms"'],
  ['[proxi]', /unknown section, did you mean \[proxy\]\?/, '[proxy]'],
];

let natsUrl = '';
const servers: LocalServer[] = [];

function configFor(name: string, cluster: { port: number; password: string }, secret = SECRET): string {
  writeFileSync(
    file(name),
    renderConfigTemplate({
      sections: { nats: { url: natsUrl, max_bytes: '64MiB' }, security: { secret }, telemetry: { port: 0 } },
      clusters: [
        {
          name: 'east',
          host: '127.0.0.1',
          port: cluster.port,
          databases: ['postgres'],
          setup_user: 'postgres',
          setup_password: cluster.password,
        },
      ],
    }),
  );
  return file(name);
}

beforeAll(async () => {
  const nats = await startNats({ dir: file('nats'), port: await testPort() });
  natsUrl = nats.url;
  servers.push(nats);
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop('immediate')));
  rmSync(dir, { recursive: true, force: true });
});

describe('a wrong configuration', () => {
  it('is told with every mistake at once: file, key, what is wrong, and an example', async () => {
    writeFileSync(file('bad.toml'), BAD);
    const answer = await runDrover('run', 'cdc', '--cluster', 'east', '--config', file('bad.toml'));
    expect(answer.code).toBe(2);
    const lines = answer.stderr
      .replace(/^drover: /, '')
      .trim()
      .split('\n');
    for (const [key, wrong, example] of MISTAKES) {
      const line = lines.find((l) => l.startsWith(`${file('bad.toml')}: ${key}: `)) ?? '';
      expect(line, `${key} in\n${answer.stderr}`).toMatch(wrong);
      expect(line).toContain(`; for example ${example}`);
    }
    expect(lines).toHaveLength(MISTAKES.length);
    // A secret is not shown, not even a wrong one.
    expect(answer.stderr).not.toContain('too short a secret');
  });

  it('is told to programs field by field', async () => {
    const answer = await runDrover('doctor', '--json', '--config', file('bad.toml'));
    expect(answer.code).toBe(2);
    const told = errorOf(answer) as ReturnType<typeof errorOf> & {
      faults?: { key: string }[];
      file?: string;
    };
    expect(told).toMatchObject({ error: 'config.invalid', file: file('bad.toml') });
    expect(told.faults?.map((fault) => fault.key).sort()).toEqual(MISTAKES.map(([key]) => key).sort());
    expect(answer.stdout).toBe('');
  });

  it('names an unknown cluster and an unknown service, with those there are', async () => {
    const config = configFor('one.toml', { port: 1, password: '' });
    const run = (...args: string[]) => runDrover('run', ...args, '--json', '--config', config);
    const cluster = await run('cdc', '--cluster', 'north');
    expect([cluster.code, errorOf(cluster)]).toEqual([
      2,
      expect.objectContaining({
        error: 'config.invalid',
        message: `${config} has no cluster north`,
        hint: 'it has east',
      }),
    ]);
    const none = await run('apply');
    expect([none.code, errorOf(none).hint]).toEqual([2, 'name it: --cluster east']);
    const service = await run('cdx', '--cluster', 'east');
    expect([service.code, errorOf(service).message]).toEqual([2, 'there is no service cdx']);
    expect(errorOf(service).hint).toMatch(/cdc, apply, failover, migration, proxy, control, or all/);
  });

  it('that is not there, or is not TOML, is told with its place', async () => {
    const absent = await runDrover('status', '--json', '--config', file('absent.toml'));
    expect([absent.code, errorOf(absent)]).toEqual([
      2,
      expect.objectContaining({
        error: 'config.missing',
        message: expect.stringContaining(file('absent.toml')),
      }),
    ]);
    writeFileSync(file('broken.toml'), '[security]\nsecret = "a secret that must not be shown');
    const broken = await runDrover('status', '--json', '--config', file('broken.toml'));
    expect([broken.code, errorOf(broken).message]).toEqual([
      2,
      expect.stringMatching(/broken\.toml:2:\d+: not valid TOML/),
    ]);
    expect(broken.stderr).not.toContain('must not be shown');
  });
});

describe('a wrong password', () => {
  it('of a role (another secret than the cluster was set up with) ends the service, and says what to do', async () => {
    const server = await startPostgres({
      dir: file('east'),
      port: await testPort(),
      major: 18,
      superPassword: 'super',
    });
    servers.push(server);
    const right = configFor('right.toml', { port: server.port, password: 'super' });
    expect((await runDrover('setup', '--config', right)).code).toBe(0);
    const wrong = configFor('secret.toml', { port: server.port, password: 'super' }, `another ${SECRET}`);
    const cdc = await runDrover('run', 'cdc', '--cluster', 'east', '--json', '--config', wrong);
    expect([cdc.code, errorOf(cdc)]).toEqual([
      1,
      expect.objectContaining({
        error: 'pg.auth',
        message: `PostgreSQL at 127.0.0.1:${server.port} refused role drover_cdc`,
        hint: expect.stringMatching(/\[security\] secret.*drover setup/),
      }),
    ]);
    const user = configFor('user.toml', { port: server.port, password: 'not it' });
    const setup = await runDrover('setup', '--json', '--config', user);
    expect([setup.code, errorOf(setup)]).toEqual([
      1,
      expect.objectContaining({ error: 'pg.auth', hint: expect.stringMatching(/setup_password/) }),
    ]);
    expect(cdc.stderr + setup.stderr).not.toContain('not it');
  });
});

describe('a cluster of too old a version', () => {
  let old: OldPostgres;
  let config = '';
  let before = '';
  const needed = (text: string) => {
    expect(text).toMatch(new RegExp(`PostgreSQL ${old.major}\\.\\d+`));
    expect(text).toMatch(/older than 16/);
  };

  beforeAll(async () => {
    old = await startOldPostgres(file('old'));
    config = configFor('old.toml', { port: old.port, password: OLD_PASSWORD });
    await ask(`CREATE TABLE orders (tenant_id text, id int, PRIMARY KEY (tenant_id, id))`);
    before = await everything();
  });
  afterAll(() => old.stop());

  async function ask(text: string): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: old.url });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Whatever setup would make. */
  async function everything(): Promise<string> {
    const rows = await ask(`
      SELECT concat('relation ', oid::regclass, ' ', relreplident, relrowsecurity, relacl) AS what FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace
      UNION ALL SELECT 'schema ' || nspname || coalesce(nspacl::text, '') FROM pg_namespace
      UNION ALL SELECT 'role ' || rolname || coalesce(rolpassword, '') FROM pg_authid
      UNION ALL SELECT concat('function ', oid::regprocedure, proacl) FROM pg_proc
      UNION ALL SELECT 'publication ' || pubname FROM pg_publication
      UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
      UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin
      UNION ALL SELECT 'policy ' || policyname FROM pg_policies
      UNION ALL SELECT 'database ' || datname || coalesce(datacl::text, '') FROM pg_database
      ORDER BY 1`);
    return rows.map((row) => String(row['what'])).join('\n');
  }

  it('is an obstacle that doctor names', async () => {
    const answer = await runDrover('doctor', '--json', '--config', config);
    expect(answer.code, answer.stderr).toBe(3);
    const findings = answer.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { code?: string; severity?: string; message?: string });
    const found = findings.find((f) => f.code === 'server_version');
    expect(found?.severity).toBe('error');
    needed(found?.message ?? '');
    expect(await everything()).toBe(before);
  });

  it('is refused by setup, which changes nothing there', async () => {
    const answer = await runDrover('setup', '--adopt', '--json', '--config', config);
    expect([answer.code, errorOf(answer).error]).toEqual([1, 'pg.version']);
    needed(errorOf(answer).message);
    expect(await everything()).toBe(before);
  });

  it('is refused by the reader, which ends', async () => {
    const cdc = () => runDrover('run', 'cdc', '--cluster', 'east', '--json', '--config', config);
    // Never set up, so the role is not there: who follows the hint learns of the version.
    const stranger = await cdc();
    expect([stranger.code, errorOf(stranger).error]).toEqual([1, 'pg.auth']);
    expect(errorOf(stranger).hint).toMatch(/drover setup/);
    expect(await everything()).toBe(before);
    // Restored from a dump of one that was set up, for example.
    await ask(`CREATE ROLE drover_cdc LOGIN REPLICATION PASSWORD '${derivePassword(SECRET, 'drover_cdc')}'`);
    before = await everything();
    const answer = await cdc();
    expect([answer.code, errorOf(answer).error]).toEqual([1, 'pg.version']);
    needed(errorOf(answer).message);
    expect(await everything()).toBe(before);
  });
});
