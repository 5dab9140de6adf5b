/**
 * The client's socket with back-pressure: while the client does not read, nothing more is read for it, neither from its server nor
 * of its own requests.
 */
import type { Socket } from 'node:net';

export class ClientLink {
  readonly socket: Socket;
  /** Since when the client does not keep up, `performance.now()`; 0: it does. */
  stalledSince = 0;
  readonly #onStall: () => void;
  #paused = false;

  /** @param onStall the server's socket is to be paused. @param onFlow it may go on. */
  constructor(socket: Socket, onStall: () => void, onFlow: () => void) {
    this.socket = socket;
    this.#onStall = onStall;
    socket.on('drain', () => {
      this.stalledSince = 0;
      this.resume();
      onFlow();
    });
  }

  write(bytes: Buffer): void {
    if (this.socket.write(bytes)) return;
    if (this.stalledSince === 0) this.stalledSince = performance.now();
    this.pause();
    this.#onStall();
  }

  writeAll(pieces: readonly Buffer[]): void {
    const [only] = pieces;
    if (only !== undefined) this.write(pieces.length === 1 ? only : Buffer.concat(pieces));
  }

  /** Stops reading the client. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#paused || this.stalledSince > 0) return;
    this.#paused = false;
    this.socket.resume();
  }
}
