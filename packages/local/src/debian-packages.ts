/**
 * Programs from Debian's archive without installing them: the packages are downloaded from the mirror this machine
 * is configured with, by apt itself (which checks their signatures) in a state folder of its own, and unpacked into
 * the cache. Needs no root and changes nothing of the system.
 */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DroverError } from '@drover/core';
import {
  type AptSource,
  mainArchives,
  parseDeb822,
  parseOneLine,
  parseOsRelease,
  renderSource,
} from './debian-sources.ts';
import { cacheDir, exists, findInPath, isRoot } from './paths.ts';
import { type RunResult, run } from './run.ts';
import type { Notice } from './types.ts';

export interface FetchedPackages {
  /** The folder that stands for `/`: programs are in its usr/bin and so on. */
  readonly root: string;
  readonly suite: string;
}

const APT_TIMEOUT_MS = 300_000;

/** Whether this machine has apt and a Debian (or derived) release. */
export async function hasApt(): Promise<boolean> {
  return (
    (await findInPath('apt-get')) !== null &&
    (await findInPath('dpkg-deb')) !== null &&
    (await exists('/etc/os-release'))
  );
}

export interface FetchOptions {
  /** Tried in this order; default: the release this machine runs. */
  readonly suites?: readonly string[];
  /** Also what they depend on and this machine lacks. Only sensible with the machine's own release. */
  readonly withDependencies?: boolean;
  readonly notice?: Notice;
}

/**
 * Downloads and unpacks `names` from the first of `suites` that has them all.
 * The result stays in the cache under the packages' names and the suite.
 * @throws DroverError local.missing with apt's own words
 */
export async function fetchDebianPackages(
  names: readonly string[],
  options: FetchOptions = {},
): Promise<FetchedPackages> {
  const notice = options.notice ?? (() => {});
  const os = parseOsRelease(await readFile('/etc/os-release', 'utf8').catch(() => ''));
  const codename = os.get('VERSION_CODENAME') ?? 'stable';
  const [archive] = mainArchives(await configuredSources(), codename);
  if (archive === undefined || !(await hasApt())) {
    throw new DroverError(
      'local.missing',
      `${names.join(', ')}: this machine has no apt archive to fetch it from`,
    );
  }
  const wanted = options.suites ?? [codename];
  for (const suite of wanted) {
    const root = join(cacheDir(), `deb-${suite}-${names.join('+')}`);
    if (await exists(root)) return { root, suite };
  }
  let failure = '';
  for (const suite of wanted) {
    const root = join(cacheDir(), `deb-${suite}-${names.join('+')}`);
    notice(`fetching ${names.join(', ')} from the configured Debian archive (${suite})`);
    const result = await download(archive, suite, names, options.withDependencies === true, root);
    if (result === null) return { root, suite };
    failure = result;
  }
  throw new DroverError('local.missing', `apt could not fetch ${names.join(', ')}: ${failure}`, {
    hint: 'check the network and the apt configuration, or install the program yourself so that it is in PATH',
  });
}

async function configuredSources(): Promise<AptSource[]> {
  const folder = '/etc/apt/sources.list.d';
  const files = (await readdir(folder).catch((): string[] => [])).sort().map((name) => join(folder, name));
  const sources: AptSource[] = [];
  for (const file of ['/etc/apt/sources.list', ...files]) {
    const parse = file.endsWith('.sources') ? parseDeb822 : file.endsWith('.list') ? parseOneLine : null;
    if (parse !== null) sources.push(...parse(await readFile(file, 'utf8').catch(() => '')));
  }
  return sources;
}

/** Returns null when done, or why not. */
async function download(
  archive: AptSource,
  suite: string,
  names: readonly string[],
  withDependencies: boolean,
  root: string,
): Promise<string | null> {
  await mkdir(cacheDir(), { recursive: true, mode: 0o755 });
  const work = await mkdtemp(join(cacheDir(), 'apt-'));
  try {
    for (const folder of ['lists/partial', 'archives/partial', 'debs', 'root']) {
      await mkdir(join(work, folder), { recursive: true, mode: 0o755 });
    }
    const status = withDependencies ? await readFile('/var/lib/dpkg/status') : '';
    await writeFile(join(work, 'status'), status); // what counts as installed
    await writeFile(join(work, 'sources.list'), renderSource(archive, suite));
    const options = aptOptions(work);
    const updated = await apt([...options, 'update', '--error-on=any'], work);
    if (updated.code !== 0) return reason(updated);
    const debs = withDependencies ? join(work, 'archives') : join(work, 'debs');
    const action = withDependencies
      ? ['install', '--yes', '--download-only', '--no-install-recommends', '--reinstall']
      : ['download'];
    const fetched = await apt([...options, ...action, ...names], debs);
    if (fetched.code !== 0) return reason(fetched);
    for (const file of (await readdir(debs)).filter((name) => name.endsWith('.deb'))) {
      const unpacked = await run('dpkg-deb', ['-x', join(debs, file), join(work, 'root')]);
      if (unpacked.code !== 0) return reason(unpacked);
    }
    await rename(join(work, 'root'), root).catch(async (error: unknown) => {
      if (!(await exists(root))) throw error; // another process was first
    });
    return null;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function aptOptions(work: string): string[] {
  const options: Record<string, string> = {
    'Dir::State': work,
    'Dir::State::lists': join(work, 'lists'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': work,
    'Dir::Cache::archives': join(work, 'archives'),
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::Etc::preferencesparts': '-',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Debug::NoLocking': '1',
    ...(isRoot ? { 'APT::Sandbox::User': 'root' } : {}),
  };
  return Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

function apt(args: readonly string[], cwd: string): Promise<RunResult> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  return run('apt-get', ['-q', ...args], { cwd, env, timeoutMs: APT_TIMEOUT_MS });
}

function reason(result: RunResult): string {
  const lines = `${result.stderr}\n${result.stdout}`.split('\n').filter((line) => /^(E|Err|W):?/.test(line));
  return (
    (lines[0] ?? result.stderr.trim().split('\n').at(-1) ?? '').replace(/^[EW]:\s*/, '') ||
    `code ${result.code}`
  );
}
