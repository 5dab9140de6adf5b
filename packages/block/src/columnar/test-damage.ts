/** Damage to stored columns, for tests: to the bytes as they are, and to what the frames hold, which compression would hide otherwise. */
import { DroverError } from '@drover/core';
import { ByteReader, ByteWriter } from './bytes.ts';
import { decodeColumnar } from './decode.ts';
import { readFrame, writeFrame } from './frames.ts';
import { below, pickOne, type Random } from './test-numbers.ts';

const NOTABLE = [0, 1, 2, 3, 4, 5, 6, 7, 0x0e, 0x10, 0x7f, 0x80, 0xff];

export function damage(random: Random, stored: Buffer): Buffer {
  const manner = below(random, 10);
  if (manner === 0) return stored.subarray(0, below(random, stored.length));
  if (manner === 1) return Buffer.concat([stored, Buffer.alloc(1 + below(random, 4), below(random, 256))]);
  if (manner === 2) return hit(random, Buffer.from(stored));
  return insideFrames(random, stored);
}

function hit(random: Random, bytes: Buffer): Buffer {
  if (bytes.length === 0) return bytes;
  for (let times = 1 + below(random, 3); times > 0; times--) {
    const at = below(random, bytes.length);
    const manner = below(random, 4);
    if (manner === 0) bytes[at] = (bytes[at] as number) ^ (1 << below(random, 8));
    else if (manner === 1) bytes[at] = pickOne(random, NOTABLE);
    else if (manner === 2) bytes[at] = below(random, 256);
    else {
      // A run of continuation bytes: a varint as large as can be.
      bytes.fill(0xff, at, Math.min(bytes.length, at + 7));
      if (at + 7 < bytes.length) bytes[at + 7] = 0x0f;
    }
  }
  return bytes;
}

/** One frame's content is hit, cut, doubled or swapped with another's; the frames are then stored as they are. */
function insideFrames(random: Random, stored: Buffer): Buffer {
  const input = new ByteReader(stored);
  const version = input.u8();
  const frames: Buffer[] = [];
  while (input.left > 0) frames.push(Buffer.from(readFrame(input, () => undefined)));
  const which = random() < 0.6 ? 0 : below(random, frames.length);
  const frame = frames[which] as Buffer;
  const manner = below(random, 12);
  if (manner === 0) frames[which] = frame.subarray(0, below(random, frame.length + 1));
  else if (manner === 1) frames[which] = Buffer.concat([frame, frame]);
  else if (manner === 2) {
    const at = below(random, frame.length + 1);
    frames[which] = Buffer.concat([
      frame.subarray(0, at),
      Buffer.alloc(1, below(random, 256)),
      frame.subarray(at),
    ]);
  } else if (manner === 3) frames.reverse();
  else frames[which] = hit(random, frame);
  const out = new ByteWriter();
  out.u8(version);
  for (const content of frames) writeFrame(content, 0, out);
  return out.written;
}

/** What decoding comes to: a body of exactly that length, or a refusal. @throws on everything else */
export function outcome(stored: Buffer, rawBytes: number): 'decoded' | 'refused' {
  try {
    const raw = decodeColumnar(stored, rawBytes);
    if (raw.length !== rawBytes) throw new Error(`${raw.length} bytes instead of ${rawBytes}`);
    return 'decoded';
  } catch (error) {
    if (error instanceof DroverError && error.code === 'block.corrupt') return 'refused';
    throw error;
  }
}
