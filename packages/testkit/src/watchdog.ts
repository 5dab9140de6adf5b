/**
 * What tests start is surely stopped: everything is registered with a small process that acts when this one is gone.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, realpathSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LocalServer } from '@drover/local';
import type { WatchdogLine } from './watchdog-main.ts';

let watchdog: ChildProcess | undefined;

function tell(line: WatchdogLine): void {
  if (watchdog === undefined) {
    watchdog = spawn(process.execPath, [fileURLToPath(new URL('./watchdog-main.ts', import.meta.url))], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
      cwd: '/',
    });
    watchdog.unref();
    const run = process.env['DROVER_TEST_RUN_DIR']; // scripts/test.mjs waits until it is removed
    if (run !== undefined) writeFileSync(join(run, `watchdog-${watchdog.pid}`), '');
    watchdog.stdin?.on('error', () => {});
    (watchdog.stdin as Socket | null)?.unref(); // neither process nor pipe keeps the test process alive
  }
  watchdog.stdin?.write(`${JSON.stringify(line)}\n`);
}

/** From now on the server ends with this process at the latest. */
export function watch<T extends LocalServer>(server: T, signal: NodeJS.Signals): T {
  tell({ kind: 'server', pid: server.pid, signal });
  void server.exited.then(() => tell({ kind: 'ended', pid: server.pid }));
  return server;
}

/** Like {@link watch} for any process of a test's own. */
export function watchProcess(
  pid: number,
  exited: Promise<unknown>,
  signal: NodeJS.Signals = 'SIGKILL',
): void {
  tell({ kind: 'server', pid, signal });
  void exited.then(() => tell({ kind: 'ended', pid }));
}

/** A new empty folder that every user can walk into, removed when this process has ended. */
export function testFolder(purpose: string): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), `drover-test-${purpose}-`)));
  chmodSync(path, 0o755);
  tell({ kind: 'folder', path });
  return path;
}
