/**
 * A PostgreSQL server on this machine: started directly (no pg_ctl) in its own process group, ready when it
 * answers a query, stopped for sure.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { open, stat } from 'node:fs/promises';
import { DroverError, until } from '@drover/core';
import pg from 'pg';
import { logTail } from './log-tail.ts';
import { findPostgres, type PgMajor } from './pg-binaries.ts';
import {
  type ClusterFolder,
  clusterFolder,
  dataMajor,
  initData,
  prepareFolder,
  writeSettings,
} from './pg-data.ts';
import { clearCrashed, readPidFile, runningPostmaster } from './pg-pidfile.ts';
import { localSettings, type PgSettings } from './pg-settings.ts';
import { portInUse, portInUseError } from './port.ts';
import { childrenOf, endOf, processesIn, signalProcess, waitForEnd } from './process-tree.ts';
import { asUser, serverUser } from './server-user.ts';
import type { LocalServer, Notice, ServerExit, StopMode } from './types.ts';

export interface LocalPostgres extends LocalServer {
  readonly major: PgMajor;
  /** The data directory itself. */
  readonly dataDir: string;
  readonly user: 'postgres';
  readonly password: string;
  /** Ends what a killed postmaster left behind (SIGKILL), so that the machine looks as after a power cut. */
  killOrphans(): Promise<void>;
}

export interface PostgresOptions {
  /** Folder of this server; its data goes to `data` in it. Created and initialised when empty. */
  readonly dir: string;
  readonly port: number;
  readonly major: PgMajor;
  readonly superPassword: string;
  /** On top of {@link localSettings}. */
  readonly settings?: PgSettings;
  readonly notice?: Notice;
  /** Milliseconds until it must answer, crash recovery included. Default 120 s. */
  readonly startTimeoutMs?: number;
}

/** After SIGINT a server has this long to roll back and write its checkpoint, then SIGQUIT follows, then SIGKILL. */
const FAST_STOP_MS = 20_000;
const QUIT_MS = 5_000;

/**
 * @throws DroverError local.port_in_use; local.failed with the last log lines when it does not come up, or when
 * a server runs in that folder already (see {@link attachPostgres}); local.missing
 */
export async function startPostgres(options: PostgresOptions): Promise<LocalPostgres> {
  const notice = options.notice ?? (() => {});
  const binaries = await findPostgres(options.major, notice);
  const user = await serverUser(notice);
  const folder = clusterFolder(options.dir);
  await prepareFolder(folder, user);
  await refuseRunning(folder);
  if (await portInUse(options.port)) throw portInUseError(`PostgreSQL in ${folder.dir}`, options.port);
  await refuseOtherMajor(folder, options.major);
  if ((await dataMajor(folder)) === null || (await hasUnfinishedInit(folder))) {
    await initData(folder, binaries, user, options.superPassword);
  }
  await clearCrashed(folder.data);
  await writeSettings(folder, user, localSettings(options.port, options.major, options.settings));

  const log = await open(folder.logFile, 'a');
  const logStart = (await stat(folder.logFile)).size;
  let child: ChildProcess;
  try {
    child = spawn(binaries.postgres, ['-D', folder.data], {
      ...asUser(user),
      cwd: '/',
      detached: true, // its own process group: Ctrl-C at our terminal is ours to handle
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
    });
  } finally {
    await log.close();
  }
  const exited = exitOf(child);
  const server = control(folder, options, child.pid ?? -1, exited);
  try {
    await untilReady(options, folder.data, child.pid ?? -1, exited, options.startTimeoutMs ?? 120_000);
  } catch (cause) {
    await server.stop('immediate');
    const lines = await logTail(folder.logFile, 12, logStart);
    if (lines.some((line) => line.includes('could not bind') || line.includes('Address already in use'))) {
      throw portInUseError(`PostgreSQL in ${folder.dir}`, options.port);
    }
    if (cause instanceof DroverError) throw cause;
    throw new DroverError(
      'local.failed',
      `PostgreSQL ${options.major} in ${folder.dir} did not start:\n${lines.join('\n')}`,
      {
        cause,
      },
    );
  }
  child.unref();
  return server;
}

/** The server that already runs in `dir`, for example because the process that started it was killed; else null. */
export async function attachPostgres(
  options: Omit<PostgresOptions, 'port' | 'settings'>,
): Promise<LocalPostgres | null> {
  const folder = clusterFolder(options.dir);
  const running = await runningPostmaster(folder.data);
  if (running === null || running.port === 0) return null;
  const exited = endOf(running.pid).then((): ServerExit => ({ code: null, signal: null }));
  await untilReady(
    { port: running.port, superPassword: options.superPassword },
    folder.data,
    running.pid,
    exited,
    options.startTimeoutMs ?? 120_000,
  );
  return control(folder, { ...options, port: running.port }, running.pid, exited);
}

async function refuseRunning(folder: ClusterFolder): Promise<void> {
  const running = await runningPostmaster(folder.data);
  if (running === null) return;
  throw new DroverError(
    'local.failed',
    `a PostgreSQL server runs in ${folder.dir} already (process ${running.pid})`,
    {
      facts: { pid: running.pid, port: running.port },
      hint: 'stop it, or use another data folder',
    },
  );
}

async function refuseOtherMajor(folder: ClusterFolder, major: PgMajor): Promise<void> {
  const present = await dataMajor(folder);
  if (present === null || present === String(major)) return;
  throw new DroverError('local.failed', `${folder.data} was made by PostgreSQL ${present}, not ${major}`, {
    hint: 'choose that version or another data folder',
  });
}

function hasUnfinishedInit(folder: ClusterFolder): Promise<boolean> {
  return stat(`${folder.dir}/initdb.unfinished`).then(
    () => true,
    () => false,
  );
}

function exitOf(child: ChildProcess): Promise<ServerExit> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: -1, signal: null }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

function control(
  folder: ClusterFolder,
  options: { port: number; major: PgMajor; superPassword: string },
  pid: number,
  exited: Promise<ServerExit>,
): LocalPostgres {
  let children: number[] = [];
  let gone = pid <= 0; // from then on the pid may be somebody else's
  void exited.then(() => {
    gone = true;
  });
  return {
    pid,
    port: options.port,
    major: options.major,
    url: `postgresql://postgres:${encodeURIComponent(options.superPassword)}@127.0.0.1:${options.port}/postgres`,
    dataDir: folder.data,
    logFile: folder.logFile,
    user: 'postgres',
    password: options.superPassword,
    exited,
    async stop(mode = 'fast') {
      if (!gone) await stopPostmaster(pid, mode, exited, folder.data);
    },
    kill9() {
      if (gone) return;
      children = childrenOf(pid);
      signalProcess(pid, 'SIGKILL');
    },
    async killOrphans() {
      const orphans = new Set([...children, ...processesIn(folder.data)]);
      orphans.delete(pid);
      for (const orphan of orphans) signalProcess(orphan, 'SIGKILL');
      for (const orphan of orphans) await waitForEnd(orphan, 5000);
    },
  };
}

async function stopPostmaster(
  pid: number,
  mode: StopMode,
  exited: Promise<ServerExit>,
  data: string,
): Promise<void> {
  const ended = exited.then(() => true as const);
  const within = (ms: number) => Promise.race([ended, waitForEnd(pid, ms)]);
  if (mode === 'fast') {
    signalProcess(pid, 'SIGINT');
    if (await within(FAST_STOP_MS)) return;
  }
  signalProcess(pid, 'SIGQUIT');
  if (await within(QUIT_MS)) return;
  signalProcess(pid, 'SIGKILL');
  await within(QUIT_MS);
  await clearCrashed(data);
}

/** Ready when the server in *this* data directory answers a query as the superuser. */
async function untilReady(
  options: { port: number; superPassword: string },
  data: string,
  pid: number,
  exited: Promise<ServerExit>,
  timeoutMs: number,
): Promise<void> {
  let gone: ServerExit | undefined;
  void exited.then((exit) => {
    gone = exit;
  });
  let last: unknown;
  await until(
    async () => {
      if (gone !== undefined) throw new Error(`it ended with ${gone.signal ?? `code ${gone.code}`}`);
      const file = await readPidFile(data);
      if (file?.pid !== pid || file.status !== 'ready') return undefined;
      last = await tryQuery(options);
      if (last === null) return true;
      if (isAuthFailure(last)) {
        throw new DroverError('local.failed', `the superuser's password does not fit the data in ${data}`, {
          hint: 'use the password the data folder was made with, or a fresh data folder',
          cause: last,
        });
      }
      return undefined;
    },
    {
      everyMs: 15,
      timeoutMs,
      onTimeout: () => new Error(`it did not answer within ${timeoutMs} ms`, { cause: last }),
    },
  );
}

async function tryQuery(options: { port: number; superPassword: string }): Promise<Error | null> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: options.port,
    user: 'postgres',
    password: options.superPassword,
    database: 'postgres',
    connectionTimeoutMillis: 5000,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return null;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    await client.end().catch(() => {});
  }
}

function isAuthFailure(error: unknown): boolean {
  return error instanceof Error && (error as Error & { code?: string }).code === '28P01';
}
