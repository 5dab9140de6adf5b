/**
 * The PostgreSQL programs that came with `npm ci` (one platform package a major version), in a place where the
 * user that runs the servers can reach them.
 */
import { chmod, cp, lstat, mkdir, readdir, readFile, realpath, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { DroverError } from '@drover/core';
import { cacheDir, exists } from './paths.ts';
import { run } from './run.ts';
import { asUser, type ServerUser, serverUser } from './server-user.ts';
import type { Notice } from './types.ts';

export type PgMajor = 16 | 17 | 18;

export interface PgBinaries {
  readonly major: PgMajor;
  /** As `postgres --version` says it, for example "18.4". */
  readonly version: string;
  readonly postgres: string;
  readonly initdb: string;
  /** The folder that holds `bin`, `lib` and `share`. */
  readonly root: string;
}

interface Link {
  readonly source: string;
  readonly target: string;
}

const found = new Map<PgMajor, Promise<PgBinaries>>();

/** @throws DroverError local.missing when the package is not installed or its programs do not run on this machine. */
export function findPostgres(major: PgMajor, notice: Notice = () => {}): Promise<PgBinaries> {
  let binaries = found.get(major);
  if (binaries === undefined) {
    binaries = locate(major, notice);
    binaries.catch(() => found.delete(major));
    found.set(major, binaries);
  }
  return binaries;
}

async function locate(major: PgMajor, notice: Notice): Promise<PgBinaries> {
  const { root, packageVersion } = await packageRoot(major);
  const user = await serverUser(notice);
  const linked = await makeLinks(root).then(
    () => true,
    () => false, // a read-only node_modules: the copy gets the links
  );
  const direct = linked ? await probe(root, user) : null;
  if (direct !== null) return { major, version: direct, ...programs(root) };

  const copy = join(cacheDir(), `pg-${packageVersion}-${process.platform}-${process.arch}`);
  if (!(await exists(copy))) {
    notice(`copying PostgreSQL ${major} to ${copy}: the servers' user cannot reach it where npm put it`);
    await copyTo(root, copy);
  }
  const version = await probe(copy, user);
  if (version === null) {
    const failure = await run(programs(copy).postgres, ['--version'], asUser(user));
    throw new DroverError(
      'local.missing',
      `PostgreSQL ${major} does not run on this machine: ${failure.stderr.trim()}`,
      {
        hint: 'the packaged binaries need glibc 2.28 or newer (or macOS on arm64)',
      },
    );
  }
  return { major, version, ...programs(copy) };
}

function programs(root: string) {
  return { root, postgres: join(root, 'bin', 'postgres'), initdb: join(root, 'bin', 'initdb') };
}

async function packageRoot(major: PgMajor): Promise<{ root: string; packageVersion: string }> {
  const name = `pg${major}-${process.platform}-${process.arch}`;
  try {
    // The package exports only its main file (dist/index.js): its folder is two levels above that.
    const main = createRequire(import.meta.url).resolve(name);
    const folder = dirname(dirname(await realpath(main)));
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string };
    return { root: join(folder, 'native'), packageVersion: manifest.version };
  } catch (cause) {
    throw new DroverError('local.missing', `PostgreSQL ${major} is not installed (package ${name})`, {
      hint: 'run `npm ci`; there are packages for linux (x64, arm64) and macOS (arm64)',
      cause,
    });
  }
}

/** The packages ship their libraries' symbolic links as a list, made by an install script that npm may have refused to run. */
async function makeLinks(root: string): Promise<void> {
  const list = JSON.parse(await readFile(join(root, 'pg-symlinks.json'), 'utf8')) as Link[];
  for (const { source, target } of list) {
    const path = join(dirname(root), target);
    if (await lstat(path).catch(() => null)) continue;
    await symlink(relative(dirname(path), join(dirname(root), source)), path).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      },
    );
  }
}

/** Runs it as the user who will; null when that user cannot reach or run it. */
async function probe(root: string, user: ServerUser | null): Promise<string | null> {
  const { postgres, initdb } = programs(root);
  const script = 'test -r "$1/share/postgresql/postgres.bki" && test -x "$2" && exec "$3" --version';
  const result = await run('/bin/sh', ['-c', script, 'sh', root, initdb, postgres], {
    ...asUser(user),
    cwd: '/',
  });
  return result.code === 0 ? (/\d+(\.\d+)?/.exec(result.stdout)?.[0] ?? 'unknown') : null;
}

/** Copies beside the final name and renames, so that a copy is whole or absent. */
async function copyTo(root: string, target: string): Promise<void> {
  const temporary = `${target}.${process.pid}.tmp`;
  await mkdir(dirname(target), { recursive: true, mode: 0o755 });
  await cp(root, join(temporary, 'native'), { recursive: true, verbatimSymlinks: true });
  await makeLinks(join(temporary, 'native'));
  await openUp(join(temporary, 'native'));
  try {
    await rename(join(temporary, 'native'), target);
  } catch (error) {
    if (!(await exists(target))) throw error; // another process was first: its copy is the same
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** chmod -R a+rX, whatever the umask of `npm ci` was. */
async function openUp(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openUp(path);
    else if (entry.isFile()) await chmod(path, folder.endsWith('/bin') ? 0o755 : 0o644);
  }
}
