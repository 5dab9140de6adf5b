/**
 * PostgreSQL's client programs, for tests and benchmarks: from the machine if it has them, else from Debian's archive.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DroverError } from '@drover/core';
import { fetchDebianPackages } from './debian-packages.ts';
import { findInPath } from './paths.ts';
import type { Notice } from './types.ts';

export type ToolName = 'psql' | 'pgbench' | 'pgbouncer' | 'pg_dump';

export interface Tool {
  readonly path: string;
  /** Add to the environment when running it: the libraries that came with a fetched one. */
  readonly env: Readonly<Record<string, string>>;
}

const found = new Map<ToolName, Promise<Tool>>();

/** @throws DroverError local.missing */
export function findTool(name: ToolName, notice: Notice = () => {}): Promise<Tool> {
  let tool = found.get(name);
  if (tool === undefined) {
    tool = locate(name, notice);
    tool.catch(() => found.delete(name));
    found.set(name, tool);
  }
  return tool;
}

const PACKAGES: Readonly<Record<ToolName, readonly string[]>> = {
  psql: ['postgresql-client'],
  pg_dump: ['postgresql-client'],
  pgbench: ['postgresql'],
  pgbouncer: ['pgbouncer'],
};

async function locate(name: ToolName, notice: Notice): Promise<Tool> {
  const installed = await findInPath(name, [...(await versioned('/usr/lib/postgresql')), '/usr/sbin']);
  // Debian's /usr/bin/psql is a wrapper script that wants a server or a version: it works for our purposes.
  if (installed !== null) return { path: installed, env: {} };
  const { root } = await fetchDebianPackages(PACKAGES[name], { withDependencies: true, notice });
  const folders = [
    ...(await versioned(join(root, 'usr/lib/postgresql'))),
    join(root, 'usr/sbin'),
    join(root, 'usr/bin'),
  ];
  const path = await findInFolders(name, folders);
  if (path === null) {
    throw new DroverError('local.missing', `${name} is not in the Debian package it was expected in`, {
      facts: { packages: PACKAGES[name] },
    });
  }
  return { path, env: { LD_LIBRARY_PATH: (await libraryFolders(root)).join(':') } };
}

/** The `bin` folders below `/usr/lib/postgresql/<major>`, newest first. */
async function versioned(folder: string): Promise<string[]> {
  const majors = (await readdir(folder).catch(() => [])).filter((name) => /^\d+$/.test(name));
  return majors.sort((a, b) => Number(b) - Number(a)).map((major) => join(folder, major, 'bin'));
}

async function findInFolders(name: string, folders: readonly string[]): Promise<string | null> {
  for (const folder of folders) {
    if ((await readdir(folder).catch((): string[] => [])).includes(name)) return join(folder, name);
  }
  return null;
}

/** usr/lib and lib with their multiarch folders. */
async function libraryFolders(root: string): Promise<string[]> {
  const folders: string[] = [];
  for (const base of [join(root, 'usr/lib'), join(root, 'lib')]) {
    const names = await readdir(base).catch(() => []);
    folders.push(base, ...names.filter((name) => name.includes('-linux-')).map((name) => join(base, name)));
  }
  return folders;
}
