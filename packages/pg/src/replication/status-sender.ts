/**
 * Reports to the walsender: what was received and what is safe. Guarantees: the flushed position only grows and
 * never passes what the caller confirmed; a report goes out at least every interval, whether or not anybody reads;
 * reports are never piled up on a socket that takes none.
 */
import type { Socket } from 'node:net';
import { assert, formatLsn, LSN_ZERO, type Lsn, maxLsn, sleep } from '@drover/core';
import { encodeStandbyStatus } from './standby-status.ts';

/** Two confirmations closer than this share one report. */
const CONFIRM_SPACING_MS = 5;
/** Unsent bytes at which further reports are left out: the newest says it all. */
const UNSENT_BYTES_MAX = 4096;

export class StatusSender {
  readonly #socket: Socket;
  readonly #startLsn: Lsn;
  readonly #received: () => Lsn;
  #confirmed: Lsn = LSN_ZERO;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** @param received furthest WAL position seen */
  constructor(socket: Socket, startLsn: Lsn, received: () => Lsn) {
    this.#socket = socket;
    this.#received = received;
    this.#startLsn = startLsn;
  }

  get confirmed(): Lsn {
    return this.#confirmed;
  }

  confirm(lsn: Lsn): void {
    if (lsn <= this.#confirmed) return;
    const received = this.#received();
    assert(lsn <= maxLsn(received, this.#startLsn), 'confirmed beyond what was received', {
      confirm: formatLsn(lsn),
      received: formatLsn(received),
    });
    this.#confirmed = lsn;
    if (this.#timer !== undefined || this.#stopped) return;
    const waitMs = Math.max(0, this.#sentAtMs + CONFIRM_SPACING_MS - performance.now());
    this.#timer = setTimeout(() => this.send(false), waitMs);
  }

  send(replyRequested: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#stopped || !this.#socket.writable || this.#socket.writableLength > UNSENT_BYTES_MAX) return;
    this.#sentAtMs = performance.now();
    this.#socket.write(
      encodeStandbyStatus({
        write: maxLsn(this.#received(), this.#confirmed),
        flush: this.#confirmed,
        nowUnixMs: Date.now(),
        replyRequested,
      }),
    );
  }

  /** Reports every `intervalMs` until the signal aborts. `silent` says whether to ask for a sign of life. */
  async run(intervalMs: number, silent: () => boolean, signal: AbortSignal): Promise<void> {
    while (await sleep(intervalMs, signal)) this.send(silent());
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#stopped = true;
  }
}
