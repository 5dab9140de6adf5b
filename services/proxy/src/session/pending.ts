/** What a client has sent while it has no backend, in order. */
import { READY_IDLE } from '../protocol/builders.ts';
import type { Account } from './account.ts';

/** Bytes a client may send while it waits; above it its socket is not read. */
const PENDING_MAX = 256 * 1024;

export class Pending {
  #runs: Buffer[] = [];
  #bytes = 0;

  /** @returns whether the client has sent enough for now */
  push(run: Buffer): boolean {
    this.#runs.push(run);
    this.#bytes += run.length;
    return this.#bytes > PENDING_MAX;
  }

  /** In front of what is there. */
  unshift(runs: readonly Buffer[]): void {
    this.#runs = [...runs, ...this.#runs];
    this.#bytes = this.#runs.reduce((sum, run) => sum + run.length, 0);
  }

  /** All of it; nothing is left. */
  take(): Buffer[] {
    const runs = this.#runs;
    this.#runs = [];
    this.#bytes = 0;
    return runs;
  }
}

/** How a run of messages begins whose client has no transaction. */
export type Opening =
  /** With what needs a backend. */
  | { readonly kind: 'work'; readonly rest: Buffer }
  | { readonly kind: 'nothing' }
  /** The client says good-bye. */
  | { readonly kind: 'end' };

const NOTHING: Opening = { kind: 'nothing' };
const END: Opening = { kind: 'end' };

/** Passes over what needs no backend: late copy data, Sync and Flush with nothing before them. @param reply for the client. */
export function openingOf(b: Buffer, account: Account, reply: (bytes: Buffer) => void): Opening {
  let p = 0;
  while (p < b.length) {
    const type = b[p];
    const e = p + 1 + b.readUInt32BE(p + 1);
    if (type === 0x58) return END;
    if (type === 0x53) {
      account.skipping = false;
      reply(READY_IDLE);
    } else if (!account.skipping && type !== 0x64 && type !== 0x63 && type !== 0x66 && type !== 0x48) {
      return { kind: 'work', rest: p === 0 ? b : b.subarray(p) };
    }
    p = e;
  }
  return NOTHING;
}
