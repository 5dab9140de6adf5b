/**
 * The official release archive of nats-server, for machines without apt. Its checksum is pinned here (as the
 * project's own container files of that release state it) and verified before anything is unpacked.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DroverError, describeError } from '@drover/core';
import { cacheDir } from './paths.ts';
import { run } from './run.ts';
import type { Notice } from './types.ts';

/** What a way of fetching leaves: the program, and the folder to remove once it has been kept. */
export interface Fetched {
  readonly program: string;
  readonly folder: string;
}

export interface NatsRelease {
  readonly version: string;
  /** SHA-256 of the .tar.gz by `<platform>-<arch>` as Node names them. */
  readonly archives: Readonly<Record<string, { readonly name: string; readonly sha256: string }>>;
}

const RELEASE: NatsRelease = {
  version: '2.14.5',
  archives: {
    'linux-x64': {
      name: 'nats-server-v2.14.5-linux-amd64',
      sha256: '5e3b603d47c447bda1f77f9ac16dbf91c90aac4ff3681f8fbbc7201e4ed99355',
    },
    'linux-arm64': {
      name: 'nats-server-v2.14.5-linux-arm64',
      sha256: '673a98d3faa79dde3f9ebf16d6dfac36a5f694e7ad2015e4954dd7939c85cd4c',
    },
  },
};

const DOWNLOADS = 'https://github.com/nats-io/nats-server/releases/download';
const TIMEOUT_MS = 120_000;

/** @throws DroverError local.missing when there is none for this machine, no network, or the checksum differs */
export async function fetchNatsRelease(
  notice: Notice,
  release: NatsRelease = RELEASE,
  downloads: string = DOWNLOADS,
  cache: string = cacheDir(),
): Promise<Fetched> {
  const archive = release.archives[`${process.platform}-${process.arch}`];
  if (archive === undefined) {
    throw new DroverError(
      'local.missing',
      `no nats-server release is pinned for ${process.platform}-${process.arch}`,
    );
  }
  notice(`fetching nats-server ${release.version}, the official release`);
  const bytes = await download(`${downloads}/v${release.version}/${archive.name}.tar.gz`);
  const sum = createHash('sha256').update(bytes).digest('hex');
  if (sum !== archive.sha256) {
    throw new DroverError(
      'local.missing',
      `the downloaded nats-server release has a wrong checksum (${sum}) and was not used`,
    );
  }
  await mkdir(cache, { recursive: true, mode: 0o755 });
  const folder = await mkdtemp(join(cache, 'release-'));
  try {
    await writeFile(join(folder, 'archive.tar.gz'), bytes);
    const unpacked = await run('tar', ['-xzf', 'archive.tar.gz'], { cwd: folder });
    if (unpacked.code !== 0)
      throw new DroverError('local.missing', `tar could not unpack it: ${unpacked.stderr.trim()}`);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  return { program: join(folder, archive.name, 'nats-server'), folder };
}

async function download(url: string): Promise<Buffer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } catch (cause) {
    const why = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
    throw new DroverError(
      'local.missing',
      `the official release could not be downloaded: ${describeError(why)}`,
      { cause },
    );
  }
}
