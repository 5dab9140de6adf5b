/**
 * Where Node keeps what it has compiled (manual, node:module, "Module compile cache"): most verbs take less time than their modules took to be
 * read. What lies there is run unseen, so the folder is this user's and nobody else can write it. Without one only that time is lost.
 */
import { mkdirSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { cacheDir } from '@drover/local/paths.ts';

/** Null: there is none that can be trusted. `parent`: {@link cacheDir}, which throws for a user that has no home. */
export function compiledFolder(parent: () => string = cacheDir): string | null {
  try {
    const folder = join(parent(), 'compiled');
    if (!isAbsolute(folder)) return null;
    mkdirSync(parent(), { recursive: true, mode: 0o755 });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(folder);
    return uid === process.getuid?.() && (mode & 0o022) === 0 ? folder : null;
  } catch {
    return null;
  }
}
