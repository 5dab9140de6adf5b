/**
 * Real nats-server with JetStream for tests: a fresh one at each call (it starts in tens of milliseconds).
 * It ends with the process (see `watchdog.ts`).
 */
import { join } from 'node:path';
import { DroverError } from '@drover/core';
import { type LocalNats, type NatsOptions, startNats } from '@drover/local';
import { testPort } from './test-port.ts';
import { testFolder, watch } from './watchdog.ts';

export type TestNatsOptions = Omit<NatsOptions, 'dir' | 'port' | 'notice'>;

export interface TestNats {
  readonly url: string;
  readonly port: number;
  /** The server at the moment: another one after {@link restart}. */
  readonly server: LocalNats;
  /** Stops (or leaves stopped) and starts again on the same streams and port. */
  restart(): Promise<void>;
  /** SIGKILL, awaited. */
  kill9(): Promise<void>;
  stop(): Promise<void>;
}

export async function testNats(options: TestNatsOptions = {}): Promise<TestNats> {
  const dir = join(testFolder('nats'), 'nats');
  let server = await start(dir, options, await testPort(), 5);
  return {
    url: server.url,
    port: server.port,
    get server() {
      return server;
    },
    async restart() {
      await server.stop();
      server = await start(dir, options, server.port, 0);
    },
    async kill9() {
      server.kill9();
      await server.exited;
    },
    stop: () => server.stop(),
  };
}

async function start(
  dir: string,
  options: TestNatsOptions,
  port: number,
  otherPorts: number,
): Promise<LocalNats> {
  try {
    return watch(await startNats({ ...options, dir, port }), 'SIGKILL');
  } catch (error) {
    const taken = error instanceof DroverError && error.code === 'local.port_in_use';
    if (!taken || otherPorts === 0) throw error;
    return start(dir, options, await testPort(), otherPorts - 1); // somebody took it since we looked
  }
}
