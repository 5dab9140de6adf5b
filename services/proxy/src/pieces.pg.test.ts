import { createServer, type Socket, connect as tcp } from 'node:net';
import { testPostgres } from '@drover/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  bind,
  describe as describeMessage,
  execute,
  flush,
  type Message,
  parse,
  query,
  RawClient,
  sync,
} from './raw.testing.ts';
import { PASSWORD, type World, world } from './world.testing.ts';

/** Passes bytes on in pieces of 1 to `max` bytes, each in a turn of its own. */
function dribble(from: Socket, to: Socket, max: () => number): void {
  let chain = Promise.resolve();
  to.setNoDelay(true);
  from.on('data', (chunk: Buffer) => {
    chain = chain.then(async () => {
      for (let at = 0; at < chunk.length; ) {
        const size = 1 + Math.floor(Math.random() * max());
        to.write(chunk.subarray(at, at + size));
        at += size;
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  });
  from.on('close', () => void chain.then(() => to.destroy()));
  from.on('error', () => undefined);
}

let w: World;
let limit = 100_000;
const relay = createServer();
const front = createServer();

beforeAll(async () => {
  const server = await testPostgres();
  relay.on('connection', (near) => {
    const far = tcp({ host: '127.0.0.1', port: server.port });
    dribble(near, far, () => limit);
    dribble(far, near, () => limit);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const { port } = relay.address() as { port: number };
  w = await world({
    servers: { east: server },
    via: { east: port },
    tenants: ['acme', 'globex'],
    proxy: 'pool_size = 2',
  });
  front.on('connection', (near) => {
    const far = tcp({ host: '127.0.0.1', port: w.port });
    dribble(near, far, () => limit);
    dribble(far, near, () => limit);
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  limit = 100_000;
  await w.close();
  relay.close();
  front.close();
});

const battery: Buffer[][] = [
  [query('SELECT 1; SELECT repeat(chr(97), 50), NULL; ; SELECT 1/0; SELECT 2')],
  [parse('s', 'SELECT $1::text'), describeMessage('S', 's'), sync, bind('', 's', ['x']), execute(), sync],
  [
    parse('s', 'SELECT 2'),
    sync,
    bind('', 's', ['again']),
    execute(),
    flush,
    bind('', 's', ['z']),
    execute(),
    sync,
  ],
  [
    query('BEGIN'),
    query('SAVEPOINT a'),
    query('SELECT 1/0'),
    query('SELECT 1'),
    query('ROLLBACK TO a'),
    query('COMMIT'),
  ],
  [
    query("SET TimeZone = 'Asia/Tokyo'"),
    query("SELECT current_setting('TimeZone')"),
    query('RESET ALL'),
    query(''),
  ],
  [
    parse('', 'SELECT generate_series(1, 5)'),
    bind('p', ''),
    execute('p', 2),
    execute('p', 2),
    execute('p', 9),
    sync,
  ],
  [query('COPY (SELECT generate_series(1, 4)) TO STDOUT'), query('SELECT drover.tenant()')],
  [
    bind('', 'unknown'),
    execute(),
    parse('t', 'SELECT 3'),
    sync,
    bind('', 't'),
    sync,
    query('DEALLOCATE s'),
    bind('', 's'),
    sync,
  ],
];
const rounds = battery.map((pieces) => pieces.filter((b) => b[0] === 0x53 || b[0] === 0x51).length);

async function conversation(port: number, user: string): Promise<string[]> {
  const client = new RawClient(port);
  await client.login({ user, database: w.database }, PASSWORD);
  const out: string[] = [];
  for (const [i, pieces] of battery.entries()) {
    client.send(...pieces);
    for (let ready = 0; ready < (rounds[i] ?? 0); ) {
      const m: Message = await client.next();
      if (m.type === 'Z') ready++;
      if (m.type === '') throw new Error('the connection ended');
      // Names the proxy chose appear in the texts of some errors.
      out.push(`${m.type} ${m.body.toString('latin1').replace(/_drover_[\w-]{16}/g, '?')}`);
    }
  }
  client.socket.destroy();
  return out;
}

test('however the bytes are cut on either side, the client sees the same', async () => {
  const whole = await conversation(w.port, 'acme.app');
  expect(whole.length).toBeGreaterThan(60);
  for (const max of [1, 3, 17]) {
    limit = max;
    const { port } = front.address() as { port: number };
    const [a, b, c] = await Promise.all([
      conversation(port, 'acme.app'),
      conversation(port, 'globex.app'),
      conversation(port, 'acme.app'),
    ]);
    expect(a).toEqual(whole);
    expect(c).toEqual(whole);
    const neutral = (lines: string[]) =>
      lines.map((line) => (/acme|globex/.test(line) ? 'the tenant' : line));
    expect(neutral(b)).toEqual(neutral(whole));
    expect(b.some((line) => line.includes('globex'))).toBe(true);
    expect(b.some((line) => line.includes('acme'))).toBe(false);
  }
});
