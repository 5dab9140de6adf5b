/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, as PostgreSQL speaks it. Pure but for the random bytes handed in.
 * The server side works from a stored verifier, never from a password, and compares in constant time.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

export const SCRAM = 'SCRAM-SHA-256';

export interface Verifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** What went wrong in the exchange; never says which half of the credentials. */
export class ScramError extends Error {}

const hmac = (key: Buffer, text: string | Buffer): Buffer => createHmac('sha256', key).update(text).digest();
const hash = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`; null when it is not one. */
export function parseVerifier(text: string): Verifier | null {
  const m = /^SCRAM-SHA-256\$(\d{1,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})$/.exec(
    text,
  );
  if (m === null) return null;
  const [, iterations, salt = '', stored = '', server = ''] = m;
  return {
    iterations: Number(iterations),
    salt: Buffer.from(salt, 'base64'),
    storedKey: Buffer.from(stored, 'base64'),
    serverKey: Buffer.from(server, 'base64'),
  };
}

/** The stored form of a password. Passwords are taken as they are when ASCII, else in NFKC (close to SASLprep). */
export function createVerifier(password: string, iterations = 4096, salt: Buffer = randomBytes(16)): string {
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256');
  const stored = hash(hmac(salted, 'Client Key')).toString('base64');
  const server = hmac(salted, 'Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${server}`;
}

/** A verifier no password fits, always the same for the same name: an unknown user looks like a known one. */
export function mockVerifier(secret: string, user: string): Verifier {
  const seed = hmac(Buffer.from(secret), `scram-mock:${user}`);
  return {
    iterations: 4096,
    salt: seed.subarray(0, 16),
    storedKey: hmac(seed, 'stored'),
    serverKey: hmac(seed, 'server'),
  };
}

/** One exchange on the server's side: {@link first}, then {@link final}. */
export class ScramServer {
  readonly #verifier: Verifier;
  readonly #nonce: string;
  readonly #binding: { readonly type: string; readonly data: Buffer } | null;
  #authPrefix = '';
  #fullNonce = '';
  #gs2 = '';

  /** @param binding data of `tls-server-end-point` when the client chose SCRAM-SHA-256-PLUS, else null. */
  constructor(verifier: Verifier, options: { nonce?: string; binding?: Buffer } = {}) {
    this.#verifier = verifier;
    this.#nonce = options.nonce ?? randomBytes(18).toString('base64');
    this.#binding =
      options.binding === undefined ? null : { type: 'tls-server-end-point', data: options.binding };
  }

  /** @param plusOffered whether PLUS was offered: then a client that says it saw no offer was tampered with. */
  first(clientFirst: string, plusOffered = false): string {
    const m = /^(n|y|p=([a-z0-9-]+)),(?:a=[^,]*)?,(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+))$/.exec(clientFirst);
    const [whole, flag, bindingType, bare, nonce] = m ?? [];
    if (whole === undefined || flag === undefined || bare === undefined || nonce === undefined) {
      throw new ScramError('malformed SCRAM message');
    }
    if (this.#binding === null ? bindingType !== undefined : bindingType !== this.#binding.type) {
      throw new ScramError('channel binding type does not fit');
    }
    if (flag === 'y' && plusOffered)
      throw new ScramError('channel binding was offered, but the client did not see it');
    this.#gs2 = whole.slice(0, whole.length - bare.length);
    this.#fullNonce = nonce + this.#nonce;
    const reply = `r=${this.#fullNonce},s=${this.#verifier.salt.toString('base64')},i=${this.#verifier.iterations}`;
    this.#authPrefix = `${bare},${reply}`;
    return reply;
  }

  /** @returns the server-final message, or null when the proof is wrong. */
  final(clientFinal: string): string | null {
    const m = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)),p=([A-Za-z0-9+/=]+)$/.exec(clientFinal);
    const [, withoutProof, channel, nonce, proof] = m ?? [];
    if (withoutProof === undefined || channel === undefined || nonce === undefined || proof === undefined) {
      throw new ScramError('malformed SCRAM message');
    }
    const expected = Buffer.concat([Buffer.from(this.#gs2), this.#binding?.data ?? Buffer.alloc(0)]);
    if (!equal(Buffer.from(channel, 'base64'), expected))
      throw new ScramError('channel binding does not match');
    if (nonce !== this.#fullNonce) throw new ScramError('nonce does not match');
    const authMessage = `${this.#authPrefix},${withoutProof}`;
    const signature = hmac(this.#verifier.storedKey, authMessage);
    const given = Buffer.from(proof, 'base64');
    if (given.length !== 32) return null;
    const clientKey = Buffer.from(signature.map((byte, i) => byte ^ (given[i] ?? 0)));
    if (!equal(hash(clientKey), this.#verifier.storedKey)) return null;
    return `v=${hmac(this.#verifier.serverKey, authMessage).toString('base64')}`;
  }
}

function equal(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** One exchange on the client's side, for the proxy's own logins at servers. */
export class ScramClient {
  readonly #password: string;
  readonly #nonce: string;
  readonly #bare: string;
  #serverSignature = '';

  constructor(password: string, nonce: string = randomBytes(18).toString('base64')) {
    this.#password = password;
    this.#nonce = nonce;
    this.#bare = `n=,r=${nonce}`;
  }

  first(): string {
    return `n,,${this.#bare}`;
  }

  /** @throws ScramError when the server's message is malformed or asks for an absurd amount of work. */
  final(serverFirst: string): string {
    const m = /^r=([^,]+),s=([A-Za-z0-9+/=]+),i=(\d{1,7})$/.exec(serverFirst);
    const [, nonce, salt, iterations] = m ?? [];
    if (nonce === undefined || salt === undefined || !nonce.startsWith(this.#nonce)) {
      throw new ScramError('malformed SCRAM message of the server');
    }
    const salted = saltPassword(this.#password, salt, Number(iterations));
    const clientKey = hmac(salted, 'Client Key');
    const withoutProof = `c=biws,r=${nonce}`;
    const authMessage = `${this.#bare},${serverFirst},${withoutProof}`;
    const signature = hmac(hash(clientKey), authMessage);
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] ?? 0)));
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), authMessage).toString('base64');
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** Whether the server proved that it knows the password too. */
  verify(serverFinal: string): boolean {
    return serverFinal === `v=${this.#serverSignature}`;
  }
}

const salted = new Map<string, Buffer>();

/** Salting costs milliseconds of CPU and the proxy logs in with few passwords: the last 64 results are kept. */
function saltPassword(password: string, salt: string, iterations: number): Buffer {
  const key = `${iterations}:${salt}:${password}`;
  let found = salted.get(key);
  if (found === undefined) {
    if (salted.size >= 64) salted.clear();
    found = pbkdf2Sync(password.normalize('NFKC'), Buffer.from(salt, 'base64'), iterations, 32, 'sha256');
    salted.set(key, found);
  }
  return found;
}
