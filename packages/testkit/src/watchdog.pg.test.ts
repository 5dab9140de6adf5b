import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { alive } from '@drover/local/process-tree.ts';
import { expect, test } from 'vitest';

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'servers and folders are gone after the process that started them died of %s',
  async (signal) => {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('./watchdog.fixture.ts', import.meta.url))],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const { pids, folder } = JSON.parse(line.toString()) as { pids: number[]; folder: string };
    expect(pids.map(alive)).toEqual([true, true]);
    child.kill(signal);
    await expect.poll(() => pids.map(alive), { timeout: 60_000 }).toEqual([false, false]);
    await expect.poll(() => existsSync(folder), { timeout: 60_000 }).toBe(false);
  },
);
