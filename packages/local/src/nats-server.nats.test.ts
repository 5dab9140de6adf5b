/** Starting, stopping, killing and finding nats-server again. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { testFolder, watchProcess } from '@drover/testkit';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterEach, expect, test } from 'vitest';
import { findNatsServer } from './nats-binary.ts';
import { versionAtLeast } from './nats-config.ts';
import { attachNats, type LocalNats, type NatsOptions, startNats } from './nats-server.ts';
import { freePort } from './port.ts';
import { alive } from './process-tree.ts';

const started: LocalNats[] = [];

afterEach(async () => {
  for (const server of started.splice(0)) await server.stop();
});

async function start(over: Partial<NatsOptions> = {}): Promise<LocalNats & { options: NatsOptions }> {
  const options: NatsOptions = {
    dir: join(testFolder('local'), 'nats dir'),
    port: await freePort(),
    ...over,
  };
  const server = await startNats(options);
  started.push(server);
  watchProcess(server.pid, server.exited);
  return { ...server, options };
}

/** Publishes one message when asked to; returns how many the stream holds. */
async function messages(server: LocalNats, publish: boolean): Promise<number> {
  const nc = await connect({ servers: server.url });
  try {
    const manager = await jetstreamManager(nc);
    if (publish) {
      await manager.streams.add({ name: 'KEPT', subjects: ['kept'] });
      await jetstream(nc).publish('kept', 'x');
    }
    return (await manager.streams.info('KEPT')).state.messages;
  } finally {
    await nc.close();
  }
}

test('the server found is new enough', async () => {
  const binary = await findNatsServer();
  expect(versionAtLeast(binary.version, 2, 10)).toBe(true);
});

test('streams outlive stop and kill', async () => {
  const server = await start();
  expect(await messages(server, true)).toBe(1);
  await server.stop();
  await server.stop(); // twice is no error
  expect(alive(server.pid)).toBe(false);
  const second = await start(server.options);
  expect(await messages(second, true)).toBe(2);
  second.kill9();
  expect(await second.exited).toEqual({ code: null, signal: 'SIGKILL' });
  const third = await start(server.options);
  expect(await messages(third, false)).toBe(2);
});

test('max payload is the one asked for, else a mebibyte', async () => {
  for (const [maxPayload, expected] of [
    [undefined, 1024 * 1024],
    [4096, 4096],
  ] as const) {
    const server = await start(maxPayload === undefined ? {} : { maxPayload });
    const nc = await connect({ servers: server.url });
    expect(nc.info?.max_payload).toBe(expected);
    await nc.close();
  }
});

test('a port in use, a folder in use, a bad setting: each said in a sentence', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  await expect(start({ port })).rejects.toMatchObject({ code: 'local.port_in_use' });
  other.close();
  const server = await start();
  await expect(start({ ...server.options, port: await freePort() })).rejects.toMatchObject({
    code: 'local.failed',
  });
  const bad = start({ syncInterval: 'sometimes' });
  await expect(bad).rejects.toMatchObject({
    code: 'local.failed',
    message: expect.stringContaining('sync_interval'),
  });
});

test('attaching finds a running one and nothing else', async () => {
  const server = await start();
  const attached = await attachNats(server.options);
  expect(attached).toMatchObject({ pid: server.pid, port: server.port, version: server.version });
  await attached!.stop();
  await server.exited;
  expect(await attachNats(server.options)).toBeNull();
});
