import { expect, test } from 'vitest';
import {
  createVerifier,
  mockVerifier,
  parseVerifier,
  ScramClient,
  ScramError,
  ScramServer,
} from './scram.ts';

const exchange = (client: ScramClient, server: ScramServer): string | null =>
  server.final(client.final(server.first(client.first())));
const verifier = (password: string) => parseVerifier(createVerifier(password))!;

test('the vector of RFC 7677', () => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  const server = new ScramServer(parseVerifier(createVerifier('pencil', 4096, salt))!, {
    nonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  });
  expect(server.first('n,,n=user,r=rOprNGfwEbeRWgbNEkqO')).toBe(
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  );
  expect(
    server.final(
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    ),
  ).toBe('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
});

test('client and server agree on the right password only', () => {
  const client = new ScramClient('pässword');
  const final = exchange(client, new ScramServer(verifier('pässword')));
  expect(final).not.toBeNull();
  expect(client.verify(final ?? '')).toBe(true);
  expect(client.verify('v=AAAA')).toBe(false);
  expect(exchange(new ScramClient('wrong'), new ScramServer(verifier('right')))).toBeNull();
  expect(exchange(new ScramClient(''), new ScramServer(mockVerifier('secret', 'nobody')))).toBeNull();
});

test('an unknown user has the same salt at every try, and another than its neighbour', () => {
  expect(mockVerifier('s', 'a')).toEqual(mockVerifier('s', 'a'));
  expect(mockVerifier('s', 'a').salt).not.toEqual(mockVerifier('s', 'b').salt);
});

test('tampering is refused', () => {
  const first =
    (text: string, plus = false) =>
    () =>
      new ScramServer(verifier('x')).first(text, plus);
  for (const text of ['', 'n,,n=u', 'p=tls-server-end-point,,n=,r=abc', 'x,,n=,r=abc', 'n,,n=,r='])
    expect(first(text), text).toThrow(ScramError);
  expect(first('y,,n=,r=abc', true)).toThrow(/offered/);
  const server = new ScramServer(verifier('x'), { nonce: 'NONCE' });
  server.first('n,,n=,r=abc');
  expect(() => server.final(`c=biws,r=abcOTHER,p=${'A'.repeat(43)}=`)).toThrow(/nonce/);
  expect(() => server.final(`c=eSws,r=abcNONCE,p=${'A'.repeat(43)}=`)).toThrow(/binding/);
  expect(server.final('c=biws,r=abcNONCE,p=AAAA')).toBeNull();
});

test('malformed verifiers are none', () => {
  for (const text of ['', 'md5abc', 'SCRAM-SHA-256$4096:abc$x:y']) expect(parseVerifier(text)).toBeNull();
});
