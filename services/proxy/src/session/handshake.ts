/** Reads what a client sends before it is logged in: little, bounded, and with a deadline. */
import type { Socket } from 'node:net';
import { FramingError } from '../protocol/assembler.ts';

const KEPT_MAX = 64 * 1024;

export class HandshakeError extends Error {}

/** Byte-wise reading of a socket. {@link detach} hands on what was read and not used. */
export class Handshake {
  readonly socket: Socket;
  readonly #deadline: AbortSignal;
  #bytes: Buffer = Buffer.alloc(0);
  #ended: Error | null = null;
  #wake: (() => void) | null = null;
  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    if (this.#bytes.length > KEPT_MAX) this.#end(new FramingError('too much before the login'));
    this.#wake?.();
  };
  readonly #onEnd = (): void => this.#end(new HandshakeError('the client left'));
  readonly #onDeadline = (): void => this.#end(new HandshakeError('the login took too long'));

  constructor(socket: Socket, deadline: AbortSignal) {
    this.socket = socket;
    this.#deadline = deadline;
    socket.on('data', this.#onData).on('error', this.#onEnd).on('end', this.#onEnd).on('close', this.#onEnd);
    deadline.addEventListener('abort', this.#onDeadline, { once: true });
    if (deadline.aborted) this.#onDeadline();
  }

  get buffered(): number {
    return this.#bytes.length;
  }

  /** What `read` makes of the bytes so far, once it does not give null; its length is consumed. @throws HandshakeError */
  async take<T>(read: (bytes: Buffer) => { readonly value: T; readonly length: number } | null): Promise<T> {
    for (;;) {
      const found = this.#bytes.length === 0 ? null : read(this.#bytes);
      if (found !== null) {
        this.#bytes = this.#bytes.subarray(found.length);
        return found.value;
      }
      if (this.#ended !== null) throw this.#ended;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }

  /** Stops listening. @returns bytes that were not consumed. */
  detach(): Buffer {
    this.socket
      .off('data', this.#onData)
      .off('error', this.#onEnd)
      .off('end', this.#onEnd)
      .off('close', this.#onEnd);
    this.#deadline.removeEventListener('abort', this.#onDeadline);
    const rest = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    return rest;
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#wake?.();
  }
}
