/**
 * AES-256-GCM over a body, with the block's header as additional authenticated data: all of it but the checksum, which is taken over what is sealed.
 * Nothing of a body is given out before its tag was found right.
 */
import { createCipheriv, createDecipheriv, type Decipheriv, type KeyObject } from 'node:crypto';
import { CRC_END, CRC_OFFSET } from '../format.ts';
import { TAG_BYTES } from './mark.ts';

const ALGORITHM = 'aes-256-gcm';
const OPTIONS = { authTagLength: TAG_BYTES } as const;
/** A body may be larger than what one call takes, and each call's result is copied. */
const STEP_BYTES = 16 * 1024 * 1024;

/** Writes the sealed body and its tag behind the header, which must be complete but for the checksum. */
export function encryptInto(
  block: Buffer,
  headerBytes: number,
  body: Buffer,
  key: KeyObject,
  nonce: Buffer,
): void {
  const cipher = createCipheriv(ALGORITHM, key, nonce, OPTIONS);
  cipher.setAAD(authenticated(block, headerBytes));
  let at = headerBytes;
  for (let from = 0; from < body.length; from += STEP_BYTES) {
    at += cipher.update(body.subarray(from, from + STEP_BYTES)).copy(block, at);
  }
  cipher.final();
  cipher.getAuthTag().copy(block, at);
}

/** The body behind the header; null when the tag is wrong: another key, another header, other bytes. */
export function decrypt(block: Buffer, headerBytes: number, key: KeyObject, nonce: Buffer): Buffer | null {
  const end = block.length - TAG_BYTES;
  const decipher = createDecipheriv(ALGORITHM, key, nonce, OPTIONS);
  decipher.setAAD(authenticated(block, headerBytes));
  decipher.setAuthTag(block.subarray(end));
  const body = updateAll(decipher, block.subarray(headerBytes, end));
  try {
    decipher.final();
  } catch {
    body.fill(0);
    return null;
  }
  return body;
}

/** Most bodies take one call, whose result need not be copied. */
function updateAll(decipher: Decipheriv, sealed: Buffer): Buffer {
  if (sealed.length <= STEP_BYTES) return decipher.update(sealed);
  const body = Buffer.allocUnsafe(sealed.length);
  for (let at = 0; at < sealed.length; at += STEP_BYTES) {
    decipher.update(sealed.subarray(at, at + STEP_BYTES)).copy(body, at);
  }
  return body;
}

function authenticated(block: Buffer, headerBytes: number): Buffer {
  const header = Buffer.from(block.subarray(0, headerBytes));
  header.fill(0, CRC_OFFSET, CRC_END);
  return header;
}
