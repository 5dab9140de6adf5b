/** A peer that has died without a word, with wal_sender_timeout set and switched off, behind a connection that stays open. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { LSN_ZERO, sleep, until } from '@drover/core';
import { afterEach, expect, test } from 'vitest';
import { slotFromRow } from './slot.ts';
import { WalStream } from './stream.ts';

const SLOT = slotFromRow({
  active: 'true',
  active_pid: null,
  plugin: 'pgoutput',
  database: 'd',
  wal_status: 'reserved',
  safe_wal_size: null,
  confirmed_flush_lsn: null,
  restart_lsn: null,
  invalidation_reason: null,
  conflicting: null,
  two_phase: null,
  failover: null,
});
const HANDLER = { data: () => {}, keepalive: () => {}, batchEnd: () => {} };

let server: Server | undefined;
afterEach(() => server?.close());

/** A walsender that answers status reports asking for it with a keepalive, or not at all. */
async function streamFrom(answers: boolean, walSenderTimeoutMs: number, peerTimeoutMs?: number) {
  const asked: number[] = [];
  const keepalive = Buffer.from(`6400000016${'6b'}${'00'.repeat(17)}`, 'hex');
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      if (bytes[0] !== 0x64) return;
      asked.push(bytes[38] ?? -1);
      if (answers && bytes[38] === 1) socket.write(keepalive);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(socket, 'connect');
  socket.pause();
  const stream = new WalStream({
    socket,
    reads: null,
    isLocal: false,
    systemId: '1',
    timeline: 1,
    branchedAt: null,
    slotName: 's',
    slot: SLOT,
    startLsn: LSN_ZERO,
    walSenderTimeoutMs,
    peerTimeoutMs,
  });
  return { stream, asked };
}

test('silence ends the stream after one and a half timeouts, having asked', async () => {
  const { stream, asked } = await streamFrom(false, 600);
  const start = performance.now();
  await expect(stream.read(HANDLER)).rejects.toMatchObject({ code: 'pg.unreachable', facts: { slot: 's' } });
  expect(performance.now() - start).toBeGreaterThan(850);
  expect(asked.filter((flag) => flag === 1).length).toBeGreaterThanOrEqual(2);
});

test('one who answers when asked lives on', async () => {
  const { stream, asked } = await streamFrom(true, 2000);
  const done = stream.read(HANDLER);
  const answered = until(() => asked.filter((flag) => flag === 1).length >= 6 || undefined, {
    everyMs: 20,
    timeoutMs: 60_000,
    onTimeout: () => new Error('it is not asked'),
  });
  await Promise.race([done, answered]);
  await answered;
  await stream.close();
  await done;
});

test('nobody is declared dead while we are paused; the clock starts with resume', async () => {
  const { stream } = await streamFrom(false, 600);
  const done = stream.read(HANDLER);
  done.catch(() => {});
  stream.pause();
  await sleep(2_000);
  expect(await Promise.race([done, sleep(0).then(() => 'alive')])).toBe('alive');
  const resumed = performance.now();
  stream.resume();
  await expect(done).rejects.toMatchObject({ code: 'pg.unreachable' });
  expect(performance.now() - resumed).toBeGreaterThan(850);
});

test('with wal_sender_timeout switched off, the reader keeps its own bound', async () => {
  const { stream } = await streamFrom(false, 0, 900);
  const start = performance.now();
  await expect(stream.read(HANDLER)).rejects.toMatchObject({ code: 'pg.unreachable' });
  expect(performance.now() - start).toBeLessThan(20_000); // without one of its own it is a minute and more
});
