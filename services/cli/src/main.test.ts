/** The command's beginning: what Node has compiled is kept where nobody else can write, and nothing depends on it. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir } from '@drover/local';
import { testFolder } from '@drover/testkit';
import { expect, it } from 'vitest';
import { compiledFolder } from './compiled-folder.ts';

function version(env: NodeJS.ProcessEnv = {}): string {
  return execFileSync(process.execPath, [join(import.meta.dirname, 'main.ts'), '--version'], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

it('keeps compiled modules for the next time', () => {
  expect(version()).toBe('0.1.0\n');
  expect(readdirSync(join(cacheDir(), 'compiled')).length).toBeGreaterThan(0);
  expect(version()).toBe('0.1.0\n');
});

it('leaves it when told to', () => {
  expect(version({ NODE_DISABLE_COMPILE_CACHE: '1' })).toBe('0.1.0\n');
});

it('makes the folder for this user alone, whatever the umask', () => {
  const parent = join(testFolder('compiled'), 'cache', 'drover');
  const before = process.umask(0);
  try {
    expect(compiledFolder(() => parent)).toBe(join(parent, 'compiled'));
  } finally {
    process.umask(before);
  }
  expect(statSync(join(parent, 'compiled')).mode & 0o777).toBe(0o700);
  expect(statSync(parent).mode & 0o022).toBe(0);
});

it.each(['a folder that others can write', 'a relative one', 'no home', 'a file in the way'])(
  '%s is not used',
  (what) => {
    const parent = testFolder('compiled');
    const folder = join(parent, 'compiled');
    if (what === 'a folder that others can write') {
      mkdirSync(folder);
      chmodSync(folder, 0o777);
    }
    const at = {
      'a relative one': () => 'drover-cache',
      'no home': () => {
        throw new Error('no home');
      },
      'a file in the way': () => '/proc/version',
    }[what];
    expect(compiledFolder(at ?? (() => parent))).toBeNull();
  },
);
