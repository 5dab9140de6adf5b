/**
 * A real PostgreSQL server that is too old for Drover: from the machine, from the package that brought pgbench, or from Debian's archive.
 */
import { spawn } from 'node:child_process';
import { chownSync, closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DroverError, until } from '@drover/core';
import { fetchDebianPackages, findTool } from '@drover/local';
import { asUser, type ServerUser, serverUser } from '@drover/local/server-user.ts';
import { testPort } from '@drover/testkit';
import pg from 'pg';

export interface OldPostgres {
  readonly major: number;
  readonly port: number;
  readonly url: string;
  stop(): Promise<void>;
}

interface Programs {
  readonly major: number;
  readonly bin: string;
  readonly env: Readonly<Record<string, string>>;
}

const TOO_OLD = 16;
const PASSWORD = 'old-password';

/** @throws DroverError `local.missing` */
async function findPrograms(): Promise<Programs> {
  const installed = inFolder('/usr/lib/postgresql');
  if (installed !== undefined) return { ...installed, env: {} };
  const pgbench = await findTool('pgbench');
  const beside = inFolder(dirname(dirname(dirname(pgbench.path))));
  if (beside !== undefined) return { ...beside, env: pgbench.env };
  const { root } = await fetchDebianPackages(['postgresql-15'], { suites: ['bookworm'] });
  const fetched = inFolder(join(root, 'usr/lib/postgresql'));
  if (fetched !== undefined) return { ...fetched, env: {} };
  throw new DroverError('local.missing', `no PostgreSQL older than ${TOO_OLD} was found or could be fetched`);
}

/** The newest that is too old, below `<folder>/<major>/bin`. */
function inFolder(folder: string): { major: number; bin: string } | undefined {
  const names = listed(folder).filter((name) => /^\d+$/.test(name) && Number(name) < TOO_OLD);
  return names
    .map((name) => ({ major: Number(name), bin: join(folder, name, 'bin') }))
    .filter(({ bin }) => listed(bin).includes('initdb'))
    .sort((a, b) => b.major - a.major)[0];
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Ready when it answers; `dir` is reachable for the user that servers run as. Superuser `postgres`. */
export async function startOldPostgres(dir: string): Promise<OldPostgres> {
  const { major, bin, env } = await findPrograms();
  const user = await serverUser();
  const port = await testPort();
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  const password = join(dir, 'password');
  writeFileSync(password, `${PASSWORD}\n`);
  if (user !== null) for (const path of [dir, password]) chownSync(path, user.uid, user.gid);
  const data = join(dir, 'data');
  const log = join(dir, 'postgres.log');
  const start = (program: string, args: readonly string[]) =>
    run(join(bin, program), args, { user, env, log });
  const made = await start('initdb', [
    ...['-D', data, '-U', 'postgres', '--auth=scram-sha-256', `--pwfile=${password}`],
    ...['--encoding=UTF8', '--locale=C', '--no-sync'],
  ]).ended;
  if (made !== 0) throw new Error(`initdb ended with ${made}:\n${readFileSync(log, 'utf8')}`);
  const settings = { port, listen_addresses: '127.0.0.1', unix_socket_directories: '', wal_level: 'logical' };
  const server = start('postgres', [
    ...['-D', data],
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]);
  const url = `postgresql://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`;
  const stop = async () => {
    server.child.kill('SIGQUIT');
    await server.ended;
  };
  await until(async () => ((await answers(url)) ? true : undefined), {
    everyMs: 50,
    timeoutMs: 30_000,
    onTimeout: () => new Error(`PostgreSQL ${major} did not answer:\n${readFileSync(log, 'utf8')}`),
  }).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return { major, port, url, stop };
}

export const OLD_PASSWORD = PASSWORD;

function run(
  program: string,
  args: readonly string[],
  options: { user: ServerUser | null; env: Readonly<Record<string, string>>; log: string },
) {
  const out = openSync(options.log, 'a');
  const child = spawn(program, [...args], {
    ...asUser(options.user),
    cwd: '/',
    stdio: ['ignore', out, out],
    env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC', ...options.env },
  });
  closeSync(out);
  const ended = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(-1));
    child.once('exit', resolve);
  });
  return { child, ended };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 });
  client.on('error', () => undefined);
  const connected = await client.connect().then(
    () => true,
    () => false,
  );
  await client.end().catch(() => undefined);
  return connected;
}
