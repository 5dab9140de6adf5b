/**
 * nats-server on this machine: from PATH, else from the cache, else fetched once.
 */
import { chmod, copyFile, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DroverError, describeError } from '@drover/core';
import { fetchDebianPackages, hasApt } from './debian-packages.ts';
import { versionAtLeast } from './nats-config.ts';
import { type Fetched, fetchNatsRelease } from './nats-release.ts';
import { cacheDir, findInPath } from './paths.ts';
import { run } from './run.ts';
import type { Notice } from './types.ts';

export interface NatsBinary {
  readonly path: string;
  /** As it says itself, for example "2.12.1". */
  readonly version: string;
}

/** Debian suites that carry 2.10 or newer, newest first. */
const SUITES = ['sid', 'trixie'];

let found: Promise<NatsBinary> | undefined;

/** @throws DroverError local.missing when it is nowhere and cannot be fetched */
export function findNatsServer(notice: Notice = () => {}): Promise<NatsBinary> {
  if (found === undefined) {
    found = locate(notice);
    found.catch(() => {
      found = undefined;
    });
  }
  return found;
}

async function locate(notice: Notice): Promise<NatsBinary> {
  const installed = await findInPath('nats-server', ['/usr/sbin', '/usr/local/bin']);
  if (installed !== null) {
    const binary = await probe(installed);
    if (binary !== null) return binary;
    notice(`${installed} is older than 2.10 or does not run: another one is used`);
  }
  return (await cached()) ?? (await fetchOnce(notice));
}

/** null when it does not run here or is older than 2.10. */
async function probe(path: string): Promise<NatsBinary | null> {
  const result = await run(path, ['--version'], { timeoutMs: 20_000 });
  const version = /v?(\d+\.\d+\.\d+[\w.-]*)/.exec(result.stdout)?.[1];
  if (result.code !== 0 || version === undefined || !versionAtLeast(version, 2, 10)) return null;
  return { path, version };
}

const PREFIX = 'nats-server-';

async function cached(): Promise<NatsBinary | null> {
  const names = (await readdir(cacheDir()).catch(() => []))
    .filter((name) => name.startsWith(PREFIX))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  for (const name of names.reverse()) {
    const binary = await probe(join(cacheDir(), name, 'nats-server'));
    if (binary !== null) return binary;
  }
  return null;
}

async function fetchOnce(notice: Notice): Promise<NatsBinary> {
  const failures: string[] = [];
  const release = () => fetchNatsRelease(notice);
  const ways = (await hasApt()) ? [() => fromDebian(notice), release] : [release];
  for (const way of ways) {
    try {
      return await keep(await way());
    } catch (error) {
      failures.push(describeError(error));
    }
  }
  throw new DroverError(
    'local.missing',
    `nats-server 2.10 or newer was not found and could not be fetched: ${failures.join('; ')}`,
    {
      hint: `install nats-server so that it is in PATH${process.platform === 'darwin' ? ' (`brew install nats-server`)' : ''}`,
    },
  );
}

async function fromDebian(notice: Notice): Promise<Fetched> {
  const { root } = await fetchDebianPackages(['nats-server'], { suites: SUITES, notice });
  for (const folder of ['usr/sbin', 'usr/bin']) {
    const program = join(root, folder, 'nats-server');
    if ((await probe(program)) !== null) return { program, folder: root };
  }
  await rm(root, { recursive: true, force: true });
  throw new DroverError(
    'local.missing',
    'the Debian package of nats-server is older than 2.10 or does not run here',
  );
}

/** Puts the program at its place in the cache by a rename, so that it is there whole or not at all. */
async function keep(fetched: Fetched): Promise<NatsBinary> {
  const binary = await probe(fetched.program);
  if (binary === null)
    throw new DroverError('local.missing', 'the fetched nats-server does not run on this machine');
  const folder = join(cacheDir(), `${PREFIX}${binary.version}`);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const temporary = join(folder, `.${process.pid}.tmp`);
  await copyFile(fetched.program, temporary);
  await chmod(temporary, 0o755);
  const path = join(folder, 'nats-server');
  await rename(temporary, path);
  await rm(fetched.folder, { recursive: true, force: true });
  return { path, version: binary.version };
}
