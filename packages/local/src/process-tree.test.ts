import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { alive, childrenOf, processesIn, signalProcess, waitForEnd } from './process-tree.ts';

test('a process is found by its parent and its folder, also through a symbolic link, and seen to end', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-tree-'));
  symlinkSync(folder, `${folder}-link`);
  const child = spawn('sleep', ['60'], { cwd: folder });
  const pid = child.pid ?? -1;
  const exit = once(child, 'exit');
  try {
    await once(child, 'spawn');
    expect(alive(pid)).toBe(true);
    expect(childrenOf(process.pid)).toContain(pid);
    if (process.platform === 'linux') expect(processesIn(`${folder}-link`)).toEqual([pid]);
    expect(await waitForEnd(pid, 50)).toBe(false);
    signalProcess(pid, 'SIGKILL');
    expect(await waitForEnd(pid, 30_000)).toBe(true);
    await exit;
    expect(alive(pid)).toBe(false);
    signalProcess(pid, 'SIGKILL'); // nobody there: no error
  } finally {
    child.kill('SIGKILL');
    rmSync(`${folder}-link`);
    rmSync(folder, { recursive: true });
  }
});

test('a folder that is not there holds no process', () => {
  expect(processesIn('/nonexistent/drover')).toEqual([]);
});

test('waiting for the end of a foreign process does not keep ours alive', async () => {
  const script = `import { endOf } from ${JSON.stringify(new URL('./process-tree.ts', import.meta.url).href)}; void endOf(${process.pid});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
  expect(await once(child, 'exit')).toEqual([0, null]);
});
