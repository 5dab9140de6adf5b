/**
 * What the header of a sealed block says about its seal, the last thing in it: u32 key id, u32 check of the key, 16 bytes of the session's salt, u32
 * number of the block in its session. The nonce is that number. The tag stands behind the body.
 */
export const SALT_BYTES = 16;
export const MARK_BYTES = 4 + 4 + SALT_BYTES + 4;
export const TAG_BYTES = 16;
const NONCE_BYTES = 12;

export interface SealMark {
  readonly keyId: number;
  readonly check: number;
  readonly salt: Buffer;
  readonly number: number;
}

export function packMark({ keyId, check, salt, number }: SealMark): Buffer {
  const bytes = Buffer.alloc(MARK_BYTES);
  bytes.writeUInt32BE(keyId, 0);
  bytes.writeUInt32BE(check, 4);
  salt.copy(bytes, 8);
  bytes.writeUInt32BE(number, 8 + SALT_BYTES);
  return bytes;
}

export function unpackMark(bytes: Buffer): SealMark {
  return {
    keyId: bytes.readUInt32BE(0),
    check: bytes.readUInt32BE(4),
    salt: bytes.subarray(8, 8 + SALT_BYTES),
    number: bytes.readUInt32BE(8 + SALT_BYTES),
  };
}

/** Which key it is: its number, and what tells it from another of that number. */
export function keyOfMark(mark: Buffer): string {
  return mark.toString('hex', 0, 8);
}

export function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeUInt32BE(number, NONCE_BYTES - 4);
  return nonce;
}
