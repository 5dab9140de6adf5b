/** The command's beginning: what Node has compiled is kept, and nothing depends on it. */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir } from '@drover/local';
import { expect, it } from 'vitest';

const ENTRY = join(import.meta.dirname, 'main.ts');
const FOLDER = join(cacheDir(), 'compiled');

function version(env: NodeJS.ProcessEnv = {}): string {
  return execFileSync(process.execPath, [ENTRY, '--version'], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

it('keeps compiled modules for the next time, where nobody else may write', () => {
  expect(version()).toBe('0.1.0\n');
  expect(readdirSync(FOLDER).length).toBeGreaterThan(0);
  for (const path of [FOLDER, ...readdirSync(FOLDER).map((name) => join(FOLDER, name))]) {
    const { mode, uid } = statSync(path);
    expect({ path, others: mode & 0o002, uid }).toEqual({ path, others: 0, uid: process.getuid?.() });
  }
});

it.runIf(process.getuid?.() !== 0)('works as well where nothing can be kept', () => {
  expect(version({ XDG_CACHE_HOME: '/proc' })).toBe('0.1.0\n');
});

it('leaves it when told to', () => {
  expect(version({ NODE_DISABLE_COMPILE_CACHE: '1' })).toBe('0.1.0\n');
});
