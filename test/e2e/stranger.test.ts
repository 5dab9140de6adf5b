/**
 * Clusters that Drover did not make, with a schema it has never seen: pgbench's own tables, `bid` as the tenant column. Doctor names what is
 * in the way, setup adopts, tenants with data are copied, TPC-B runs through the proxy, and the replicas are equal.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig, renderConfigTemplate, setupConnection } from '@drover/config';
import { until } from '@drover/core';
import { findTool, type LocalServer, startNats, startPostgres } from '@drover/local';
import { connectPg } from '@drover/pg';
import { testPort } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, System } from './system.ts';

const ENTRY = join(import.meta.dirname, '../../services/cli/src/main.ts');
const BRANCHES = 3;
const TRANSACTIONS = process.env['DROVER_FULL'] === '1' ? 5000 : 300;
const dir = System.folder();
const config = join(dir, 'drover.toml');
const password = 'stranger-password';
const servers: LocalServer[] = [];
const ports: Record<string, number> = {};
let services: ReturnType<typeof spawn> | undefined;
let ended: Promise<unknown> = Promise.resolve();

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { env: { ...process.env, ...env }, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}
const drover = (...args: string[]) => run(process.execPath, [ENTRY, ...args, '--config', config]);

async function pgbench(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Answer> {
  const tool = await findTool('pgbench');
  return run(tool.path, args, { ...tool.env, ...env });
}

beforeAll(async () => {
  for (const name of ['nats', 'east', 'west', 'proxy', 'control']) ports[name] = await testPort();
  servers.push(await startNats({ dir: join(dir, 'nats'), port: ports['nats']! }));
  for (const name of ['east', 'west']) {
    const server = await startPostgres({
      dir: join(dir, name),
      port: ports[name]!,
      major: 18,
      superPassword: password,
    });
    servers.push(server);
    const made = await pgbench(
      [
        '-h',
        '127.0.0.1',
        '-p',
        String(ports[name]),
        '-U',
        'postgres',
        '-q',
        '-i',
        ...(name === 'east' ? ['-s', String(BRANCHES)] : ['-I', 'dtp']),
        'postgres',
      ],
      {
        PGPASSWORD: password,
      },
    );
    expect(made.code, made.stderr).toBe(0);
  }
  writeFileSync(
    config,
    renderConfigTemplate({
      sections: {
        nats: { url: `nats://127.0.0.1:${ports['nats']}`, max_bytes: '256MiB' },
        security: { secret: 'a secret of thirty-two characters or more' },
        tagging: { column: 'bid' },
        proxy: { port: ports['proxy'] },
        control: { port: ports['control'] },
        telemetry: { port: 0 },
      },
      clusters: ['east', 'west'].map((name) => ({
        name,
        host: '127.0.0.1',
        port: ports[name],
        databases: ['postgres'],
        setup_user: 'postgres',
        setup_password: password,
      })),
    }),
  );
});

afterAll(async () => {
  services?.kill('SIGTERM');
  await ended;
  for (const server of servers.reverse()) await server.stop('immediate');
});

describe('a stranger’s clusters', () => {
  it('are named every obstacle, with the SQL that mends it', async () => {
    const answer = await drover('doctor', '--json');
    expect(answer.code, answer.stderr).toBe(3);
    const findings = answer.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { code?: string; object?: string; sql?: string; cluster?: string });
    for (const table of ['pgbench_accounts', 'pgbench_tellers']) {
      const found = findings.find(
        (f) => f.code === 'identity_without_tenant' && f.cluster === 'east' && f.object?.includes(table),
      );
      expect(found?.sql).toMatch(/REPLICA IDENTITY/);
    }
    expect(
      findings.some((f) => f.code === 'missing_primary_key' && f.object?.includes('pgbench_history')),
    ).toBe(true);
  });

  it('are adopted, after which doctor finds no obstacle, and setup nothing to do', async () => {
    const adopted = await drover('setup', '--adopt');
    expect(adopted.code, adopted.stderr).toBe(0);
    const clean = await drover('doctor');
    expect(clean.code, clean.stdout).toBe(0);
    expect((await drover('setup', '--adopt')).stdout).toMatch(/east: nothing to do/);
  });

  it('hold tenants with data, which are copied, written through the proxy, and equal', async () => {
    services = spawn(process.execPath, [ENTRY, 'run', 'all', '--config', config], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const child = services;
    ended = new Promise((resolve) => child.on('exit', resolve));
    await new Promise((resolve, reject) => {
      child.on('message', resolve);
      child.on('exit', (code) => reject(new Error(`drover run all ended with ${code}`)));
    });
    const tenants = Array.from({ length: BRANCHES }, (_, i) => String(i + 1));
    for (const tenant of tenants) {
      const made = await drover(
        'tenant',
        'create',
        tenant,
        '--primary',
        'east',
        '--has-data',
        '--password',
        'tenant-password',
      );
      expect(made.code, made.stderr).toBe(0);
    }
    await until(
      async () => {
        const list = JSON.parse((await drover('tenant', 'list', '--json')).stdout) as {
          replicas: { state: string }[];
        }[];
        return list.every((t) => t.replicas.every((r) => r.state === 'live')) ? true : undefined;
      },
      { everyMs: 500, timeoutMs: 300_000, onTimeout: () => new Error('the copies did not end within 300 s') },
    );
    mkdirSync(join(dir, 'scripts'), { recursive: true });
    const results = await Promise.all(
      tenants.map(async (tenant) => {
        const script = join(dir, 'scripts', `${tenant}.sql`);
        writeFileSync(script, tpcb(Number(tenant)));
        const what = tenant === '1' ? ['-b', 'tpcb-like'] : ['-f', script];
        return pgbench(
          [
            '-h',
            '127.0.0.1',
            '-p',
            String(ports['proxy']),
            '-U',
            `${tenant}.app`,
            '-n',
            '-c',
            '2',
            '-t',
            String(TRANSACTIONS),
            ...what,
            'postgres',
          ],
          { PGPASSWORD: 'tenant-password' },
        );
      }),
    );
    for (const result of results) {
      expect(result.code, result.stderr).toBe(0);
      expect(result.stdout).toMatch(
        new RegExp(`number of transactions actually processed: ${2 * TRANSACTIONS}/${2 * TRANSACTIONS}`),
      );
    }
    const verified = await drover('verify', '--all');
    expect(verified.code, verified.stdout + verified.stderr).toBe(0);
    const east = loadConfig({ file: config }).clusters[0]!;
    const client = await connectPg(setupConnection(east));
    const { rows } = await client.query<{ bid: number; n: number }>(
      'SELECT bid, count(*)::int AS n FROM public.pgbench_history GROUP BY bid ORDER BY bid',
    );
    await client.end();
    expect(rows).toEqual(tenants.map((tenant) => ({ bid: Number(tenant), n: 2 * TRANSACTIONS })));
  });
});

/** pgbench's TPC-B for one branch: its own accounts and tellers. */
function tpcb(branch: number): string {
  return `\\set bid ${branch}
\\set aid random(${(branch - 1) * 100_000 + 1}, ${branch * 100_000})
\\set tid random(${(branch - 1) * 10 + 1}, ${branch * 10})
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
`;
}
