import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { NODE_FLAGS } from './node-flags.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

test('are known to this Node, and stand wherever a service is started by hand', () => {
  expect(execFileSync(process.execPath, [...NODE_FLAGS, '-p', '1'], { encoding: 'utf8' })).toBe('1\n');
  const command = `node ${NODE_FLAGS.join(' ')}`;
  expect(read('services/cli/src/main.ts').split('\n')[0]).toBe(`#!/usr/bin/env -S ${command}`);
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  expect(scripts['drover']).toBe(`${command} services/cli/src/main.ts`);
});
