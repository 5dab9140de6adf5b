import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fetchNatsRelease, type NatsRelease } from './nats-release.ts';

let server: Server;
let url: string;
let folder: string;
let archive: Buffer;
const NAME = 'nats-server-v9.9.9-test';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'drover-release-'));
  mkdirSync(join(folder, NAME));
  writeFileSync(join(folder, NAME, 'nats-server'), 'the program');
  execFileSync('tar', ['-czf', 'a.tar.gz', NAME], { cwd: folder });
  archive = readFileSync(join(folder, 'a.tar.gz'));
  server = createServer((request, response) => {
    response.statusCode = request.url === `/v9.9.9/${NAME}.tar.gz` ? 200 : 404;
    response.end(response.statusCode === 200 ? archive : '');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const release = (sha256: string, name = NAME): NatsRelease => ({
  version: '9.9.9',
  archives: { [`${process.platform}-${process.arch}`]: { name, sha256 } },
});
const sum = () => createHash('sha256').update(archive).digest('hex');
const cache = () => join(folder, 'cache');

test('an archive with the pinned checksum is unpacked', async () => {
  const fetched = await fetchNatsRelease(() => {}, release(sum()), url, cache());
  expect(readFileSync(fetched.program, 'utf8')).toBe('the program');
  rmSync(fetched.folder, { recursive: true });
});

test('any other is refused before it is unpacked', async () => {
  await expect(fetchNatsRelease(() => {}, release('0'.repeat(64)), url, cache())).rejects.toThrow(
    'wrong checksum',
  );
  expect(readdirSync(cache())).toEqual([]);
});

test('absent, unreachable, no pin for this machine: one sentence each', async () => {
  const quiet = () => {};
  await expect(fetchNatsRelease(quiet, release(sum(), 'other'), url, cache())).rejects.toThrow('HTTP 404');
  await expect(fetchNatsRelease(quiet, release(sum()), 'http://127.0.0.1:1', cache())).rejects.toThrow(
    'could not be downloaded',
  );
  await expect(fetchNatsRelease(quiet, { version: '9.9.9', archives: {} }, url, cache())).rejects.toThrow(
    'no nats-server release is pinned',
  );
});
