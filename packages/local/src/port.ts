/**
 * Ports of this machine.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { DroverError } from '@drover/core';

/** Below the range (from 32768) from which Linux gives ports to outgoing connections, so that none is taken meanwhile. */
const FIRST = 20_000;
const LAST = 32_000;

/** Whether something listens on 127.0.0.1:`port`, found by binding it. */
export function portInUse(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(true);
      else reject(error);
    });
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(false)));
  });
}

/** A port nobody listens on at the moment, from 20000 to 31999. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(FIRST, LAST);
    if (!(await portInUse(port))) return port;
  }
  throw new DroverError('local.failed', `no free port between ${FIRST} and ${LAST}`);
}

export function portInUseError(what: string, port: number): DroverError {
  return new DroverError(
    'local.port_in_use',
    `port ${port}, wanted by ${what}, is taken by another process`,
    {
      facts: { port },
      hint: 'stop that process or choose another port',
    },
  );
}
