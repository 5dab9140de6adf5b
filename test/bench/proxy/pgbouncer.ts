/**
 * PgBouncer beside Drover's proxy: transaction mode, as many connections, the same role. Every connection of its pools carries a tenant's
 * context from the start, so that PostgreSQL checks the same row-level policies behind both: for several tenants it gets a pool for each.
 */
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Closeable, must, sleep } from '@drover/core';
import { findTool, freePort } from '@drover/local';
import { fetchDebianPackages } from '@drover/local/debian-packages.ts';
import { portInUse } from '@drover/local/port.ts';
import { run } from '@drover/local/run.ts';
import { asUser, serverUser } from '@drover/local/server-user.ts';
import { watchProcess } from '@drover/testkit';
import { lastLines } from '../lib/service.ts';

/** Sets the context of a tenant under epoch 1 for this backend, as the proxy would; see packages/pg/src/schema/context.sql.ts. */
export const ATTACH_FUNCTION = `
CREATE FUNCTION public.bench_attach(tenant text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  message text := tenant || '|1';
  number bigint := drover.attach();
  pads record;
BEGIN
  SELECT n.pad_inner, n.pad_outer INTO pads FROM drover.node n;
  PERFORM set_config('drover.context', message || '|' || encode(sha256(pads.pad_outer || sha256(pads.pad_inner
    || convert_to(message || '|' || number, 'UTF8'))), 'hex'), false);
END $$;
GRANT EXECUTE ON FUNCTION public.bench_attach(text) TO drover_tenant;`;

interface Binary {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly version: string;
}

export interface PgBouncer extends Closeable {
  readonly pid: number;
  readonly port: number;
  readonly version: string;
  /** Prepared statements in transaction mode: from 1.21 on. */
  readonly prepares: boolean;
  /** The database that stands for a tenant's connections while `of` tenants are at work. */
  databaseOf(tenant: number, of: number): string;
}

export interface PgBouncerOptions {
  readonly folder: string;
  readonly poolSize: number;
  /** Divides `poolSize`. */
  readonly tenants: number;
  readonly server: {
    readonly port: number;
    readonly database: string;
    readonly user: string;
    readonly password: string;
  };
  readonly client: { readonly user: string; readonly password: string };
}

export async function startPgBouncer(options: PgBouncerOptions): Promise<PgBouncer> {
  const { folder, poolSize, tenants, server, client } = options;
  const binary = await findPgBouncer();
  const user = await serverUser(); // it refuses to run as root
  const port = await freePort();
  const dir = join(folder, 'pgbouncer');
  mkdirSync(dir, { mode: 0o755 });
  const databaseOf = (tenant: number, of: number): string =>
    of === 1 ? server.database : `${server.database}_${tenant}`;
  const entry = (name: string, tenant: number, size: number): string =>
    `${name} = host=127.0.0.1 port=${server.port} dbname=${server.database} user=${server.user} password=${server.password} ` +
    `pool_size=${size} connect_query='SELECT public.bench_attach(''${tenant}'')'`;
  const shares = Array.from({ length: tenants }, (_, i) =>
    entry(databaseOf(i + 1, tenants), i + 1, poolSize / tenants),
  );
  const files = {
    'users.txt': `"${client.user}" "${client.password}"\n`,
    'pgbouncer.ini': `[databases]
${[entry(databaseOf(1, 1), 1, poolSize), ...shares].join('\n')}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${join(dir, 'users.txt')}
pool_mode = transaction
max_client_conn = 1000
ignore_startup_parameters = extra_float_digits,options
log_connections = 0
log_disconnections = 0
${prepares(binary.version) ? 'max_prepared_statements = 200\n' : ''}`,
  };
  for (const [name, text] of Object.entries(files)) {
    const path = join(dir, name);
    writeFileSync(path, text);
    chmodSync(path, 0o600);
    if (user !== null) chownSync(path, user.uid, user.gid);
  }
  const logFile = join(dir, 'pgbouncer.log');
  const log = openSync(logFile, 'a');
  const child = spawn(binary.command, [...binary.args, join(dir, 'pgbouncer.ini')], {
    ...asUser(user),
    cwd: '/',
    detached: true,
    stdio: ['ignore', log, log],
    env: { PATH: process.env['PATH'], ...binary.env },
  });
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('exit', () => resolve());
  });
  const pid = must(child.pid, 'process of pgbouncer');
  watchProcess(pid, exited);
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  while (!ended && !(await portInUse(port))) await sleep(20);
  if (ended) throw new Error(`pgbouncer did not start: ${lastLines(logFile)}`);
  const close = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  return { pid, port, version: binary.version, prepares: prepares(binary.version), databaseOf, close };
}

function prepares(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 1 || (major === 1 && minor >= 21);
}

/** A newer Debian's, started with that Debian's own loader and libraries, where the machine's own cannot prepare. */
async function findPgBouncer(): Promise<Binary> {
  const tool = await findTool('pgbouncer');
  const own = await probe({ command: tool.path, args: [], env: tool.env });
  if (own !== null && prepares(own.version)) return own;
  const newer = await newerPgBouncer().catch(() => null);
  const found = newer ?? own;
  if (found === null) throw new Error(`${tool.path} does not run`);
  return found;
}

const PACKAGES = [
  ...[
    'pgbouncer',
    'libc6',
    'libevent-2.1-7t64',
    'libssl3t64',
    'libcares2',
    'libpam0g',
    'libsystemd0',
    'libaudit1',
  ],
  ...['libcap-ng0', 'libcap2', 'libldap2', 'libsasl2-2', 'libzstd1'],
];
const LIBRARIES: Readonly<Record<string, readonly [folder: string, loader: string]>> = {
  x64: ['usr/lib/x86_64-linux-gnu', 'ld-linux-x86-64.so.2'],
  arm64: ['usr/lib/aarch64-linux-gnu', 'ld-linux-aarch64.so.1'],
};

async function newerPgBouncer(): Promise<Binary | null> {
  const libraries = LIBRARIES[process.arch];
  if (libraries === undefined) return null;
  const { root } = await fetchDebianPackages(PACKAGES, { suites: ['trixie'] });
  const folder = join(root, libraries[0]);
  const args = ['--library-path', folder, join(root, 'usr/sbin/pgbouncer')];
  return probe({ command: join(folder, libraries[1]), args, env: {} });
}

async function probe(candidate: Omit<Binary, 'version'>): Promise<Binary | null> {
  const { command, args, env } = candidate;
  const result = await run(command, [...args, '--version'], { env: { ...process.env, ...env } });
  const version = /PgBouncer (\d+\.\d+\.\d+)/.exec(result.stdout)?.[1];
  return result.code === 0 && version !== undefined ? { ...candidate, version } : null;
}
