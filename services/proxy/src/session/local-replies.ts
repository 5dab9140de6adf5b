/** Replies the proxy gives in the server's place when there is none: each segment gets one error and one ReadyForQuery. Pure. */
import { CLOSE_COMPLETE, PARSE_COMPLETE, READY_IDLE } from '../protocol/builders.ts';
import type { ParseNote } from './client-statements.ts';
import { ENTRY, KIND, type Replies, SWALLOW } from './replies.ts';

/** The reply to a Parse or Close that was answered without the server. */
export function forged(kind: number): Buffer {
  return kind === ENTRY.localParse ? PARSE_COMPLETE : CLOSE_COMPLETE;
}

/**
 * Answers for messages that were never sent. `skipping`: an error was told and the client's Sync has not come yet.
 * `left`: the client said good-bye.
 */
export function refuseAll(
  messages: Buffer,
  failure: Buffer,
  skippingBefore: boolean,
): { out: Buffer[]; left: boolean; skipping: boolean } {
  const out: Buffer[] = [];
  let skipping = skippingBefore;
  for (let p = 0; p < messages.length; p += 1 + messages.readUInt32BE(p + 1)) {
    switch (messages[p] ?? 0) {
      case 0x58: // Terminate
        return { out, left: true, skipping };
      case 0x53: // Sync
        skipping = false;
        out.push(READY_IDLE);
        break;
      case 0x64: // CopyData, CopyDone, CopyFail, Flush: nothing answers them
      case 0x63:
      case 0x66:
      case 0x48:
        break;
      case 0x51: // Query, FunctionCall
      case 0x46:
        if (!skipping) out.push(failure, READY_IDLE);
        break;
      default:
        if (!skipping) out.push(failure);
        skipping = true;
    }
  }
  return { out, left: false, skipping };
}

/** Answers for what a lost server still owed; `replies` is empty afterwards. `open`: the last segment's Sync has not come yet. */
export function failOwed(
  replies: Replies,
  failure: Buffer,
  segmentOpen: boolean,
  parseFailed: (note: ParseNote | undefined) => void,
): { out: Buffer[]; open: boolean } {
  const out: Buffer[] = [];
  let told = false;
  while (!replies.empty) {
    const code = replies.head;
    const kind = code & KIND;
    if (kind === ENTRY.parse || kind === ENTRY.localParse)
      parseFailed(replies.payload as ParseNote | undefined);
    replies.shift();
    if ((code & SWALLOW) !== 0) continue;
    if (!told) out.push(failure);
    told = kind !== ENTRY.sync && kind !== ENTRY.query;
    if (!told) out.push(READY_IDLE);
  }
  if (!told && segmentOpen && out.length === 0) out.push(failure);
  return { out, open: told || (segmentOpen && out.length === 1) };
}
