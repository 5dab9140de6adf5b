/**
 * A PostgreSQL data directory: made by initdb, owned by the user the server runs as.
 */
import { appendFile, chmod, chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DroverError } from '@drover/core';
import { exists } from './paths.ts';
import type { PgBinaries } from './pg-binaries.ts';
import { type PgSettings, renderSettings } from './pg-settings.ts';
import { run } from './run.ts';
import { asUser, type ServerUser } from './server-user.ts';

export interface ClusterFolder {
  /** What the caller named: holds `data` and the log. */
  readonly dir: string;
  readonly data: string;
  readonly logFile: string;
}

export function clusterFolder(dir: string): ClusterFolder {
  const absolute = resolve(dir);
  return { dir: absolute, data: join(absolute, 'data'), logFile: join(absolute, 'postgres.log') };
}

/** The major version a data directory was made by, or null when there is none. */
export async function dataMajor(folder: ClusterFolder): Promise<string | null> {
  const text = await readFile(join(folder.data, 'PG_VERSION'), 'utf8').catch(() => null);
  return text === null ? null : text.trim();
}

/** Makes the folder and checks that the server's user can walk to it. @throws DroverError local.failed when it cannot. */
export async function prepareFolder(folder: ClusterFolder, user: ServerUser | null): Promise<void> {
  await mkdir(folder.dir, { recursive: true, mode: 0o755 });
  if (user === null) return;
  await chown(folder.dir, user.uid, user.gid);
  const reach = await run('/bin/sh', ['-c', 'cd "$1"', 'sh', folder.dir], { ...asUser(user), cwd: '/' });
  if (reach.code === 0) return;
  throw new DroverError('local.failed', `user "${user.name}" cannot reach ${folder.dir}`, {
    hint: 'PostgreSQL does not run as root: choose a data folder outside of private home folders, for example with --data-dir /var/lib/drover',
  });
}

/**
 * initdb with scram, superuser `postgres`, UTF8, byte-order collation (the same on every machine and major).
 * A directory that an interrupted initdb left is made anew.
 * @throws DroverError local.failed with initdb's last lines
 */
export async function initData(
  folder: ClusterFolder,
  binaries: PgBinaries,
  user: ServerUser | null,
  superPassword: string,
): Promise<void> {
  const unfinished = join(folder.dir, 'initdb.unfinished');
  if (await exists(unfinished)) await rm(folder.data, { recursive: true, force: true });
  await writeFile(unfinished, '');
  const passwordFile = join(folder.dir, `.password.${process.pid}`);
  await writeFile(passwordFile, `${superPassword}\n`, { mode: 0o600 });
  try {
    if (user !== null) await chown(passwordFile, user.uid, user.gid);
    const locale =
      binaries.major >= 17
        ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C']
        : ['--locale-provider=libc', '--locale=C'];
    const result = await run(
      binaries.initdb,
      [
        `--pgdata=${folder.data}`,
        '--username=postgres',
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        ...locale,
        '--no-instructions',
        '--no-sync', // the first checkpoint of a server with fsync on writes what matters
      ],
      {
        ...asUser(user),
        cwd: dirname(folder.data),
        env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
      },
    );
    if (result.code !== 0) {
      const lines = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-8).join('\n');
      throw new DroverError('local.failed', `initdb failed in ${folder.data}:\n${lines}`);
    }
    await appendFile(join(folder.data, 'postgresql.conf'), "\ninclude = 'drover.conf'\n");
    await writeSettings(folder, user, {});
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rm(unfinished);
}

export async function writeSettings(
  folder: ClusterFolder,
  user: ServerUser | null,
  settings: PgSettings,
): Promise<void> {
  const path = join(folder.data, 'drover.conf');
  await writeFile(path, renderSettings(settings));
  await chmod(path, 0o600);
  if (user !== null) await chown(path, user.uid, user.gid);
}
