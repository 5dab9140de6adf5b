import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { freePort, portInUse } from './port.ts';

test('a free port is free, below those of outgoing connections, and seen when taken', async () => {
  const port = await freePort();
  expect(port).toBeGreaterThanOrEqual(20_000);
  expect(port).toBeLessThan(32_768);
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  expect(await portInUse(port)).toBe(true);
  server.close();
  await once(server, 'close');
  expect(await portInUse(port)).toBe(false);
});
