/**
 * A nats-server with JetStream on this machine: ready when it greets, stopped for sure.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { DroverError, until } from '@drover/core';
import { logTail } from './log-tail.ts';
import { findNatsServer } from './nats-binary.ts';
import { type NatsGreeting, parseGreeting, renderNatsConfig } from './nats-config.ts';
import { portInUse, portInUseError } from './port.ts';
import { alive, endOf, signalProcess, waitForEnd, workingFolder } from './process-tree.ts';
import type { LocalServer, Notice, ServerExit } from './types.ts';

export interface LocalNats extends LocalServer {
  readonly version: string;
  readonly storeDir: string;
}

export interface NatsOptions {
  /** Folder of this server: configuration, log and, in `jetstream`, the streams. Created when missing. */
  readonly dir: string;
  readonly port: number;
  /** Bytes of the largest message. Default: the server's own, 1 MiB. */
  readonly maxPayload?: number;
  /** "always" or a duration; see {@link renderNatsConfig}. */
  readonly syncInterval?: string;
  /** Upper bound of JetStream's file storage, bytes. */
  readonly maxFileStore?: number;
  readonly notice?: Notice;
  /** Milliseconds until it must greet, recovery of its streams included. Default 60 s. */
  readonly startTimeoutMs?: number;
}

/** SIGTERM lets it flush and close its files; SIGKILL follows after this time. */
const STOP_MS = 10_000;

interface Folder {
  readonly dir: string;
  readonly config: string;
  readonly pidFile: string;
  readonly logFile: string;
  readonly storeDir: string;
}

function natsFolder(dir: string): Folder {
  const absolute = resolve(dir);
  return {
    dir: absolute,
    config: join(absolute, 'nats.conf'),
    pidFile: join(absolute, 'nats.pid'),
    logFile: join(absolute, 'nats.log'),
    storeDir: join(absolute, 'jetstream'),
  };
}

/** @throws DroverError local.port_in_use; local.failed with its last log lines; local.missing */
export async function startNats(options: NatsOptions): Promise<LocalNats> {
  const binary = await findNatsServer(options.notice);
  const folder = natsFolder(options.dir);
  await mkdir(folder.storeDir, { recursive: true });
  const running = await runningNats(folder);
  if (running !== null) {
    throw new DroverError(
      'local.failed',
      `a nats-server runs in ${folder.dir} already (process ${running})`,
      {
        facts: { pid: running },
        hint: 'stop it, or use another data folder',
      },
    );
  }
  if (await portInUse(options.port)) throw portInUseError(`nats-server in ${folder.dir}`, options.port);
  await writeFile(folder.config, renderNatsConfig({ ...folder, ...options }));
  const log = await open(folder.logFile, 'a');
  const logStart = (await stat(folder.logFile)).size;
  let child: ChildProcess;
  try {
    child = spawn(binary.path, ['-c', folder.config], {
      cwd: folder.dir,
      detached: true, // its own process group: Ctrl-C at our terminal is ours to handle
      stdio: ['ignore', log.fd, log.fd],
    });
  } finally {
    await log.close();
  }
  const exited = exitOf(child);
  try {
    await untilGreeted(options, exited);
  } catch (cause) {
    if (child.pid !== undefined) signalProcess(child.pid, 'SIGKILL');
    await exited;
    const lines = await logTail(folder.logFile, 12, logStart);
    if (lines.some((line) => line.includes('address already in use'))) {
      throw portInUseError(`nats-server in ${folder.dir}`, options.port);
    }
    throw new DroverError(
      'local.failed',
      `nats-server in ${folder.dir} did not start:\n${lines.join('\n')}`,
      { cause },
    );
  }
  child.unref();
  return control(folder, options.port, child.pid ?? -1, binary.version, exited);
}

/** The nats-server that already runs in `dir`, or null. `port` is the one it was started with. */
export async function attachNats(options: NatsOptions): Promise<LocalNats | null> {
  const folder = natsFolder(options.dir);
  const pid = await runningNats(folder);
  if (pid === null) return null;
  const exited = endOf(pid).then((): ServerExit => ({ code: null, signal: null }));
  const port = /^port: (\d+)$/m.exec(await readFile(folder.config, 'utf8'))?.[1];
  const greeting = await untilGreeted({ ...options, port: Number(port ?? options.port) }, exited);
  return control(folder, Number(port ?? options.port), pid, greeting.version, exited);
}

async function runningNats(folder: Folder): Promise<number | null> {
  const pid = Number(await readFile(folder.pidFile, 'utf8').catch(() => 'none'));
  if (!Number.isInteger(pid) || pid <= 0 || !alive(pid)) return null;
  const cwd = workingFolder(pid);
  return cwd === null || cwd === (await realpath(folder.dir)) ? pid : null;
}

function exitOf(child: ChildProcess): Promise<ServerExit> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: -1, signal: null }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

function control(
  folder: Folder,
  port: number,
  pid: number,
  version: string,
  exited: Promise<ServerExit>,
): LocalNats {
  let gone = pid <= 0; // from then on the pid may be somebody else's
  void exited.then(() => {
    gone = true;
  });
  return {
    pid,
    port,
    version,
    url: `nats://127.0.0.1:${port}`,
    storeDir: folder.storeDir,
    logFile: folder.logFile,
    exited,
    async stop(mode = 'fast') {
      if (gone) return;
      const ended = exited.then(() => true);
      const within = (ms: number) => Promise.race([ended, waitForEnd(pid, ms)]);
      signalProcess(pid, mode === 'fast' ? 'SIGTERM' : 'SIGKILL');
      if (!(await within(STOP_MS))) {
        signalProcess(pid, 'SIGKILL');
        await within(STOP_MS);
      }
      await rm(folder.pidFile, { force: true });
    },
    kill9() {
      if (!gone) signalProcess(pid, 'SIGKILL');
    },
  };
}

/** The client port opens only after JetStream has recovered, so a greeting means ready. */
async function untilGreeted(
  options: { port: number; startTimeoutMs?: number },
  exited: Promise<ServerExit>,
): Promise<NatsGreeting> {
  let gone: ServerExit | undefined;
  void exited.then((exit) => {
    gone = exit;
  });
  const timeoutMs = options.startTimeoutMs ?? 60_000;
  const greeting = await until(
    () => {
      if (gone !== undefined) throw new Error(`it ended with ${gone.signal ?? `code ${gone.code}`}`);
      return readGreeting(options.port);
    },
    { everyMs: 15, timeoutMs, onTimeout: () => new Error(`it did not greet within ${timeoutMs} ms`) },
  );
  if (!greeting.jetstream) throw new Error('JetStream is off');
  return greeting;
}

/** undefined when nobody greets (yet). */
function readGreeting(port: number): Promise<NatsGreeting | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ port, host: '127.0.0.1' });
    const done = (greeting: NatsGreeting | undefined) => {
      socket.destroy();
      resolve(greeting);
    };
    socket.setTimeout(2000, () => done(undefined));
    socket.once('error', () => done(undefined));
    socket.once('end', () => done(undefined));
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\r\n');
      if (end >= 0) done(parseGreeting(text.slice(0, end)) ?? undefined);
    });
  });
}
