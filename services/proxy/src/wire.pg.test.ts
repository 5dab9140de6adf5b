/** The protocol, message by message: what comes back for what was sent, however it was cut, pipelined or broken. */
import { connect as tcp } from 'node:net';
import { connect as tls } from 'node:tls';
import { testPostgres } from '@drover/testkit';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { cancelRequest, int32, message, SSL_REQUEST } from './protocol/builders.ts';
import {
  bind,
  describe as describeMessage,
  execute,
  flush,
  parse,
  query,
  RawClient,
  sync,
} from './raw.testing.ts';
import { isAt, PASSWORD, type World, world } from './world.testing.ts';

let w: World;

beforeAll(async () => {
  w = await world({
    servers: { east: await testPostgres() },
    tenants: ['acme', 'globex'],
    proxy: 'pool_size = 2',
  });
});
afterEach(() => w.endClients());
afterAll(() => w.close());

test('pipelines: several Syncs in flight, one error each, Flush, row limits, queries between', async () => {
  const c = await w.raw();
  const run = [bind('', ''), execute()];
  c.send(parse('', 'SELECT 1'), ...run, sync);
  c.send(parse('', 'SELECT 1/0'), ...run, parse('', 'SELECT 2'), ...run, sync);
  c.send(
    query('SELECT 3; SELECT 4'),
    parse('', 'SELECT 5'),
    bind('', ''),
    describeMessage('P', ''),
    execute(),
    sync,
  );
  expect((await c.untilReady(4)).join(' ')).toBe('1 2 D C ZI 1 E:22012 ZI T D C T D C ZI 1 2 T D C ZI');
  c.send(parse('', 'SELECT generate_series(1, 3)'), bind('p', ''), execute('p', 2), flush);
  expect([
    (await c.next()).type,
    (await c.next()).type,
    (await c.next()).type,
    (await c.next()).type,
    (await c.next()).type,
  ]).toEqual(['1', '2', 'D', 'D', 's']);
  c.send(execute('p', 2), sync);
  expect(await c.untilReady()).toEqual(['D', 'C', 'ZI']);
  c.send(message('F', int32(2078), Buffer.alloc(6)), query(''));
  expect(await c.untilReady(2)).toEqual(['E:0A000', 'ZI', 'I', 'ZI']);
  c.send(message('d', Buffer.from('late')), message('c'), sync, query('SELECT 1'));
  expect(await c.untilReady(2)).toEqual(['ZI', 'T', 'D', 'C', 'ZI']);
  c.socket.destroy();
});

test('COPY by the extended protocol counts Syncs as the server does', async () => {
  const c = await w.raw();
  c.send(query('CREATE TEMP TABLE k (a int)'));
  await c.untilReady();
  c.send(parse('', 'COPY k FROM STDIN'), bind('', ''), execute(), sync);
  expect([(await c.next()).type, (await c.next()).type, (await c.next()).type]).toEqual(['1', '2', 'G']);
  c.send(message('d', Buffer.from('1\n2\n')), message('c'), sync, query('SELECT count(*) FROM k'));
  expect(await c.untilReady(2)).toEqual(['C', 'ZI', 'T', 'D', 'C', 'ZI']);
  c.socket.destroy();
});

test('protocol versions: 3.2 is spoken, newer is negotiated once, 3.0 hears nothing of it, 2.0 and 4.0 are refused', async () => {
  const login = (version: number, more: Record<string, string> = {}) => {
    const client = new RawClient(w.port);
    return client
      .login({ user: 'acme.app', database: w.database, ...more }, PASSWORD, version)
      .then((types) => ({ client, types }));
  };
  const three = await login(0x30000);
  expect(three.types).not.toContain('v');
  expect(three.client.secret.length).toBe(4);
  const two = await login(0x30002);
  expect(two.types).not.toContain('v');
  expect(two.client.secret.length).toBe(32);
  const newer = await login((3 << 16) | 9999, { '_pq_.test_protocol_negotiation': '' });
  expect(newer.types.filter((type) => type === 'v').length).toBe(1);
  expect(newer.types.at(-1)).toBe('Z');
  expect((await login(0x20000)).types).toEqual(['E:0A000']);
  expect((await login(0x40000)).types).toEqual(['E:0A000']);
  expect((await login(0x30000, { replication: 'database' })).types).toEqual(['E:0A000']);
  expect((await login(0x30000, { client_encoding: 'SJIS' })).types).toEqual(['E:0A000']);
  expect((await login(0x30000, { 'drover.context': 'x' })).types).toEqual(['E:0A000']);
  expect((await login(0x30000, { options: '-c role=postgres' })).types).toEqual(['E:42501']);
  expect((await login(0x30000, { statement_timeout: 'never' })).types.at(-1)).toBe('E:22023');
  expect((await login(0x30000)).client.parameters.get('standard_conforming_strings')).toBe('on');
});

test('garbage ends its own connection only', async () => {
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.alloc(64, 0xff),
    Buffer.from([0, 0, 0, 4]),
    int32(11_000),
  ]) {
    const socket = tcp({ host: '127.0.0.1', port: w.port });
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.resume();
    socket.write(bytes);
    await closed;
  }
  const c = await w.raw();
  c.send(Buffer.from([0x51, 0, 0, 0, 1]));
  expect(await c.untilReady()).toEqual(['E:08P01', '']);
  const d = await w.raw();
  d.send(Buffer.from([0x7a, 0, 0, 0, 4]));
  expect(await d.untilReady()).toEqual(['E:08P01', '']);
  expect((await (await w.client('acme')).query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
});

test('TLS: after a request, directly with ALPN, never with bytes smuggled in front', async () => {
  const client = await w.client('acme', { ssl: { rejectUnauthorized: false } });
  expect((await client.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  const direct = (ALPNProtocols: string[]) =>
    new Promise<string>((resolve) => {
      const socket = tls({ host: '127.0.0.1', port: w.port, ALPNProtocols, rejectUnauthorized: false });
      socket.on('secureConnect', () => {
        const body = Buffer.from(`\0\x03\0\0user\0acme.app\0database\0${w.database}\0\0`, 'latin1');
        socket.write(Buffer.concat([int32(body.length + 4), body]));
      });
      socket.on('data', (chunk: Buffer) => {
        resolve(String.fromCharCode(chunk[0] ?? 0));
        socket.destroy();
      });
      socket.on('error', () => resolve('refused'));
      socket.on('close', () => resolve('refused'));
    });
  expect(await direct(['postgresql'])).toBe('R');
  expect(await direct(['http/1.1'])).toBe('refused');
  expect(await direct([])).toBe('refused');
  const smuggler = new RawClient(w.port);
  smuggler.send(SSL_REQUEST, Buffer.from('smuggled'));
  expect(await smuggler.untilReady()).toEqual(['E:08P01', '']);
});

test('a cancel request stops the own statement, and only with the right key', async () => {
  const c = await w.raw();
  const cancel = (pid: number, secret: Buffer) =>
    new Promise<void>((resolve) => {
      const socket = tcp({ host: '127.0.0.1', port: w.port });
      socket.on('close', () => resolve());
      socket.on('error', () => undefined);
      socket.resume();
      socket.end(cancelRequest(pid, secret));
    });
  c.send(query('SELECT pg_sleep(60)'));
  const root = await w.root();
  await isAt(root, 'SELECT pg_sleep(60)');
  await root.end();
  await cancel(c.pid, Buffer.alloc(4, 1));
  const begun = performance.now();
  await cancel(c.pid, c.secret);
  expect(await c.untilReady()).toEqual(['T', 'E:57014', 'ZI']);
  expect(performance.now() - begun).toBeLessThan(45_000);
  await cancel(c.pid, c.secret);
  c.send(query('SELECT 1'));
  expect(await c.untilReady()).toEqual(['T', 'D', 'C', 'ZI']);
  c.socket.destroy();
});

test('a client that does not read stops its server, and gets everything when it reads on', async () => {
  const slow = await w.raw();
  slow.socket.pause();
  slow.send(query("SELECT repeat('z', 10000) FROM generate_series(1, 10000)"));
  slow.send(query('SELECT 1'));
  const before = process.memoryUsage().rss;
  const other = await w.client('globex');
  for (let i = 0; i < 20; i++) {
    await other.query('SELECT pg_sleep(0.02)');
    expect(process.memoryUsage().rss - before).toBeLessThan(60_000_000);
  }
  slow.socket.resume();
  const seen = await slow.untilReady(2);
  expect(seen.length).toBe(10_000 + 3 + 4);
});
