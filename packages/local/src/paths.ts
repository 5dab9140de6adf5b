/**
 * Where things are kept on this machine when nobody says otherwise.
 */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

export const isRoot = process.getuid?.() === 0;

/** Programs that were fetched or copied once: root's is world-readable, so that the servers' user can run them. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env, root: boolean = isRoot): string {
  if (root) return '/var/cache/drover';
  const base = env['XDG_CACHE_HOME'];
  return join(base === undefined || base === '' ? join(homedir(), '.cache') : base, 'drover');
}

/**
 * Data of `drover up`. Root's servers run as a user of their own, which cannot be expected to reach the
 * repository's folder: hence /var/lib/drover; everybody else keeps it beside the code in `.drover`.
 */
export function defaultDataDir(cwd: string = process.cwd(), root: boolean = isRoot): string {
  return root ? '/var/lib/drover' : join(cwd, '.drover');
}

export async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}

/** The first file named `program` in PATH, or in `extra` folders behind it. */
export async function findInPath(program: string, extra: readonly string[] = []): Promise<string | null> {
  const folders = (process.env['PATH'] ?? '').split(':').filter((folder) => folder !== '');
  for (const folder of [...folders, ...extra]) {
    const path = join(folder, program);
    const runnable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runnable) return path;
  }
  return null;
}
