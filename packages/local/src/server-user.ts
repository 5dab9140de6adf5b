/**
 * PostgreSQL refuses to run as root. When we are root, its servers run as the system user `drover`
 * (made when missing), or as `nobody` where no user can be made; otherwise as whoever we are.
 */
import { readFile } from 'node:fs/promises';
import { isRoot } from './paths.ts';
import { run } from './run.ts';
import type { Notice } from './types.ts';

export interface ServerUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const NAME = 'drover';

/** The entry of `name` in a passwd file's text. */
export function parsePasswd(text: string, name: string): ServerUser | null {
  for (const line of text.split('\n')) {
    const [user, , uid, gid] = line.split(':');
    if (user !== name) continue;
    const entry = { name, uid: Number(uid), gid: Number(gid) };
    if (Number.isInteger(entry.uid) && Number.isInteger(entry.gid)) return entry;
  }
  return null;
}

async function lookUp(name: string): Promise<ServerUser | null> {
  return parsePasswd(await readFile('/etc/passwd', 'utf8'), name);
}

let known: Promise<ServerUser | null> | undefined;

/** The user the servers run as, or null: as ourselves. Found once a process. */
export function serverUser(notice: Notice = () => {}): Promise<ServerUser | null> {
  known ??= find(notice);
  return known;
}

async function find(notice: Notice): Promise<ServerUser | null> {
  if (!isRoot) return null;
  const present = await lookUp(NAME);
  if (present !== null) return present;
  const made = await run('useradd', [
    '--system',
    '--user-group',
    '--no-create-home',
    '--shell',
    '/usr/sbin/nologin',
    NAME,
  ]);
  const user = await lookUp(NAME); // two processes may have tried at once: what counts is that it is there
  if (user !== null) {
    notice(`created the system user "${NAME}": PostgreSQL does not run as root`);
    return user;
  }
  const nobody = await lookUp('nobody');
  if (nobody === null) return null;
  notice(
    `PostgreSQL will run as "nobody": the system user "${NAME}" could not be created (${made.stderr.trim()})`,
  );
  return nobody;
}

/** Options of spawn that make the child that user. */
export function asUser(user: ServerUser | null): { uid?: number; gid?: number } {
  return user === null ? {} : { uid: user.uid, gid: user.gid };
}
