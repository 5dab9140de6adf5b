/**
 * A plain socket whose reads all land in one buffer. Node otherwise makes a buffer for each read, and a stream of tens of megabytes a second in
 * buffers that are garbage a moment later keeps the collector busy: a quarter of the reader's CPU (docs/benchmarks.md). Until
 * {@link Reads.take} the socket is an ordinary stream, so that `pg` can connect and authenticate on it.
 */
import { Socket } from 'node:net';

/** Of the one buffer: a read of this size left more behind. */
export const BUFFER_BYTES = 256 * 1024;

export class Reads {
  #sink: ((bytes: Buffer) => void) | null = null;

  /** Not for TLS, which reads beside the socket. */
  socket(): Socket {
    const socket: Socket = new Socket({
      onread: {
        buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
        callback: (count, buffer) => {
          const bytes = (buffer as Buffer).subarray(0, count);
          if (this.#sink === null) socket.push(Buffer.from(bytes));
          else this.#sink(bytes);
          return true;
        },
      },
    });
    return socket;
  }

  /** From now on what is read goes to `sink`, valid during the call only; pause() and resume() of the socket hold as before. */
  take(sink: (bytes: Buffer) => void): void {
    this.#sink = sink;
  }
}
