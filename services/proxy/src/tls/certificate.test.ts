import { X509Certificate } from 'node:crypto';
import { connect, createServer } from 'node:tls';
import { expect, test } from 'vitest';
import { generateSelfSigned } from './certificate.ts';

test('a certificate that node accepts for the names it was made for', async () => {
  const { cert, key } = generateSelfSigned(['db.example', 'localhost', '127.0.0.1', '::1', 'fe80::1:2']);
  const parsed = new X509Certificate(cert);
  expect(parsed.subject).toBe('CN=db.example');
  expect(parsed.checkHost('db.example')).toBe('db.example');
  expect(parsed.checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(parsed.checkIP('::1')).toBeDefined();
  expect(parsed.checkIP('fe80::1:2')).toBeDefined();
  expect(parsed.checkHost('other')).toBeUndefined();
  expect(parsed.verify(parsed.publicKey)).toBe(true);
  const server = createServer({ cert, key }, (socket) => socket.end('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const got = await new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca: cert, servername: 'db.example' });
    socket.on('data', (chunk) => resolve(chunk.toString()));
    socket.on('error', reject);
  });
  expect(got).toBe('hello');
  server.close();
});
