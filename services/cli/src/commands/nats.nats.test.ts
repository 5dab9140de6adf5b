import { connectBus, ensureStream, lacksRoom, type StorageNeed, storageNeed } from '@drover/bus';
import { configFromParts } from '@drover/config';
import { Closer, clusterId } from '@drover/core';
import { testNats } from '@drover/testkit';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { outputOf } from '../output/terminal.ts';
import { checkNats, makeStreams, setupNats } from './nats.ts';

const GIB = 1024 ** 3;
let closer = new Closer();
afterEach(async () => {
  await closer.close();
  closer = new Closer();
});

async function world(maxBytes: string, maxFileStore: number) {
  const nats = await testNats({ maxFileStore });
  closer.add({ close: () => nats.stop() });
  const config = configFromParts({
    clusters: ['east', 'west'].map((name) => ({ name, host: name, databases: ['app'] })),
    sections: { nats: { url: nats.url, max_bytes: maxBytes } },
  });
  const bus = closer.add(await connectBus({ url: nats.url, name: 'test' }));
  const lines: string[] = [];
  return { config, bus, lines, out: outputOf(false, (text) => lines.push(text)) };
}

describe('the storage of the bus', () => {
  it('is named beside what the server has before the streams are made, and counts once', async () => {
    const { config, lines, out } = await world('2GiB', 20 * GIB);
    expect(await checkNats(config)).toContainEqual(
      expect.objectContaining({
        severity: 'ok',
        code: 'nats_storage',
        message: expect.stringMatching(
          /^8 streams may hold 16 GiB in all, 16 GiB more than now; .*0 GiB set aside/,
        ),
      }),
    );
    await setupNats(config, out);
    expect(lines[0]).toMatch(/8 streams may hold 16 GiB in all/);
    expect(lines.at(-1)).toBe('nats: 8 streams\n');
    await setupNats(config, out);
    expect(lines.at(-2)).toMatch(/16 GiB in all, 0 GiB more than now; the server has 16 GiB set aside/);
  });

  it('that a server without a limit for the account does not have is an error with both numbers', async () => {
    const { config, out } = await world('8GiB', 20 * GIB);
    await expect(setupNats(config, out)).rejects.toMatchObject({
      code: 'bus.full',
      message: expect.stringMatching(/8 streams may hold 64 GiB in all, 64 GiB more than now/),
      hint: expect.stringContaining('max_bytes'),
    });
  });

  it('that the account does not have is refused before anything is made', async () => {
    const { config, bus, out, lines } = await world('2GiB', 20 * GIB);
    const info = await bus.jsm.getAccountInfo();
    const limited = { ...info, limits: { ...info.limits, max_storage: 3 * GIB } };
    vi.spyOn(bus.jsm, 'getAccountInfo').mockResolvedValue(limited); // testkit's servers have one account, without a limit
    await expect(makeStreams(bus, config, out)).rejects.toMatchObject({
      code: 'bus.full',
      message: expect.stringContaining('the account has 3 GiB, of which 0 GiB set aside'),
    });
    expect(lines).toHaveLength(1);
    expect(await bus.jsm.streams.list().next()).toEqual([]);
  });

  it('of streams that shrink is enough, and they keep what they hold', async () => {
    const { bus } = await world('2GiB', 20 * GIB);
    const stream = { cluster: clusterId('east'), partition: 0, replicas: 1, maxAgeMs: 3_600_000 };
    await ensureStream(bus, { ...stream, maxBytes: 4 * 1024 ** 2 });
    for (let i = 0; i < 8; i++) await bus.js.publish('drover.cdc.east.0.a', new Uint8Array(200_000));
    const shrunk = await ensureStream(bus, { ...stream, maxBytes: 1024 ** 2 });
    expect(shrunk).toMatchObject({ messages: 8, firstSeq: 1 });
    const need = await storageNeed(bus, {
      clusters: [stream.cluster],
      partitions: 1,
      replicas: 1,
      maxBytes: 1024 ** 2,
    });
    expect(need.moreBytes).toBe(0);
  });
});

it.each<[StorageNeed, boolean]>([
  [{ streams: 8, neededBytes: 16, moreBytes: 16, reservedBytes: 4, limitBytes: 20 }, false],
  [{ streams: 8, neededBytes: 16, moreBytes: 16, reservedBytes: 5, limitBytes: 20 }, true],
  [{ streams: 8, neededBytes: 16, moreBytes: 0, reservedBytes: 25, limitBytes: 20 }, false],
  [{ streams: 8, neededBytes: 16, moreBytes: 16, reservedBytes: 5, limitBytes: null }, false],
])('%j lacks room: %s', (need, answer) => expect(lacksRoom(need)).toBe(answer));
