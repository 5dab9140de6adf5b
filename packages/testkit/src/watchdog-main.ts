/**
 * Outlives the test process and cleans up after it, however it ended. Reads lines of JSON from stdin; when stdin
 * closes (the test process is gone, be it by SIGKILL) it ends the servers that are still registered, removes the
 * folders, and exits. Run by `watchdog.ts`; not to be imported.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { alive } from '@drover/local/process-tree.ts';

export type WatchdogLine =
  | { readonly kind: 'server'; readonly pid: number; readonly signal: NodeJS.Signals }
  | { readonly kind: 'ended'; readonly pid: number }
  | { readonly kind: 'folder'; readonly path: string };

const servers = new Map<number, NodeJS.Signals>();
const folders: string[] = [];
const GRACE_MS = 3000;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {}); // stdin decides

for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text) as WatchdogLine;
  if (line.kind === 'server') servers.set(line.pid, line.signal);
  else if (line.kind === 'ended') servers.delete(line.pid);
  else folders.push(line.path);
}

for (const [pid, signal] of servers) send(pid, signal);
const deadline = performance.now() + GRACE_MS;
while ([...servers.keys()].some(alive) && performance.now() < deadline) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
for (const pid of [...servers.keys(), ...leftIn(folders)]) send(pid, 'SIGKILL');
for (const folder of folders)
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
const run = process.env['DROVER_TEST_RUN_DIR'];
if (run !== undefined) await rm(join(run, `watchdog-${process.pid}`), { force: true });
process.exit(0);

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it has ended
  }
}

/** Linux: processes working in one of the folders (backends of a killed postmaster, say). */
function leftIn(roots: readonly string[]): number[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const cwd = readlinkSync(`/proc/${pid}/cwd`);
        return roots.some((root) => cwd.startsWith(`${root}/`));
      } catch {
        return false;
      }
    })
    .map(Number);
}
