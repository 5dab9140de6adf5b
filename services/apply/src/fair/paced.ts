/** A transaction of several parts, each of them a turn of its own: who writes two gigabytes lets the others in between any two parts. */

import type { Pass, Share } from '@drover/core';
import type { Entry } from '../changes/entry.ts';

export class Paced {
  readonly #share: Share;
  readonly #signal: AbortSignal;
  #turn: Pass | undefined;
  #bytes = 0;

  constructor(share: Share, signal: AbortSignal) {
    this.#share = share;
    this.#signal = signal;
  }

  /** The next part, when it may be written; the one before is. @throws DroverError `internal.cancelled` */
  async next(part: () => Promise<Entry>): Promise<Entry> {
    this.end();
    const entry = await part();
    this.#turn = await this.#share.take(this.#signal);
    this.#bytes = entry.size;
    return entry;
  }

  /** The last one is written, or nothing will be. */
  end(): void {
    this.#turn?.done(this.#bytes);
    this.#turn = undefined;
  }
}
