/**
 * SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5803, RFC 7677; scram-common.c): passwords are hashed here, so that
 * none travels in a statement or ends in a server's log. Pure but for the salt.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

const ITERATIONS = 4096;

export function scramVerifier(
  password: string,
  salt: Buffer = randomBytes(16),
  iterations = ITERATIONS,
): string {
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest('base64');
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

/** Whether a stored verifier is one of this password. False for md5, empty and malformed ones. */
export function verifierMatches(stored: string | null, password: string): boolean {
  const parts = /^SCRAM-SHA-256\$([0-9]{1,8}):([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$/.exec(
    stored ?? '',
  );
  if (stored === null || parts?.[1] === undefined || parts[2] === undefined) return false;
  const expected = Buffer.from(scramVerifier(password, Buffer.from(parts[2], 'base64'), Number(parts[1])));
  const actual = Buffer.from(stored);
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}
