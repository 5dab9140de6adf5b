import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FaultProxy } from './fault-proxy.ts';

let echo: Server;
let proxy: FaultProxy;
const clients: Socket[] = [];

beforeEach(async () => {
  echo = createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  proxy = await FaultProxy.start({ port: (echo.address() as AddressInfo).port });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy.close();
  echo.close();
});

async function client(): Promise<{ socket: Socket; text: () => string; failed: () => string | undefined }> {
  const socket = connect(proxy.port, proxy.host);
  clients.push(socket);
  let text = '';
  let code: string | undefined;
  socket.setEncoding('utf8').on('data', (bytes: string) => {
    text += bytes;
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code;
  });
  await once(socket, 'connect');
  return { socket, text: () => text, failed: () => code };
}

const quiet = () => new Promise((resolve) => setTimeout(resolve, 100));

test('passes bytes and the end of the stream', async () => {
  const { socket, text } = await client();
  socket.end('hello');
  await once(socket, 'close');
  expect(text()).toBe('hello');
});

test('a black hole holds what is sent; it arrives once, in order, when lifted', async () => {
  const { socket, text } = await client();
  proxy.blackhole('toServer');
  socket.write('one ');
  socket.write('two');
  await quiet();
  expect(text()).toBe('');
  proxy.pass();
  await expect.poll(text).toBe('one two');
});

test('a black hole in one direction leaves the other alone', async () => {
  const { socket, text } = await client();
  proxy.blackhole('toClient');
  socket.write('ping');
  await expect.poll(() => proxy.passed.toServer).toBe(4);
  await quiet();
  expect(text()).toBe('');
  expect(proxy.passed.toClient).toBe(0);
});

test('a black hole does not swallow without bound: its source is no longer read', async () => {
  const { socket } = await client();
  proxy.blackhole('toServer');
  const chunk = Buffer.alloc(1024 * 1024);
  let written = 0;
  while (written < 256 && socket.write(chunk)) written++;
  for (let i = 0; i < 64; i++) socket.write(chunk);
  await quiet();
  expect(socket.writableLength).toBeGreaterThan(16 * 1024 * 1024);
});

test('delay', async () => {
  const { socket, text } = await client();
  proxy.delay(150, 'toServer');
  const start = performance.now();
  socket.write('late');
  await expect.poll(text, { interval: 5 }).toBe('late');
  expect(performance.now() - start).toBeGreaterThan(140);
});

test('reset ends open connections with ECONNRESET; the next one works', async () => {
  const first = await client();
  first.socket.write('x');
  await expect.poll(first.text).toBe('x');
  proxy.reset();
  await expect.poll(first.failed).toBe('ECONNRESET');
  const second = await client();
  second.socket.write('y');
  await expect.poll(second.text).toBe('y');
});

test('resetAfter cuts in the middle of what is sent', async () => {
  const { socket, text, failed } = await client();
  proxy.resetAfter(3, 'toClient');
  socket.write('abcdef');
  await expect.poll(failed).toBe('ECONNRESET');
  expect('abc'.startsWith(text())).toBe(true); // a reset may overtake bytes that were on the way
  const next = await client();
  next.socket.write('abcdef');
  await expect.poll(next.text).toBe('abcdef');
});

test('drop refuses, restore listens again on the same port', async () => {
  const { socket } = await client();
  await proxy.drop();
  if (!socket.destroyed) await once(socket, 'close');
  await expect(client()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await proxy.restore();
  const again = await client();
  again.socket.write('back');
  await expect.poll(again.text).toBe('back');
});
