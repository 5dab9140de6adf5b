/**
 * One direction of a proxied connection: what comes out of `source` goes into `sink`, in order, under a fault.
 * Nothing is ever lost in the middle of a stream, as TCP would not lose it either: held bytes arrive after healing.
 */
import type { Socket } from 'node:net';

export type Fault =
  | { readonly kind: 'pass' }
  /** Bytes (and the end of the stream) are held until the fault is lifted: an unplugged cable. */
  | { readonly kind: 'blackhole' }
  /** Each piece arrives this many milliseconds late. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** After this many more bytes the connection is reset, even in the middle of a message. */
  | { readonly kind: 'resetAfter'; readonly bytes: number };

/** Bytes held in one direction before its source is no longer read. */
const HELD_MAX = 4 * 1024 * 1024;

interface Piece {
  /** null: the end of the stream. */
  readonly bytes: Buffer | null;
  /** performance.now() from which on it may pass. */
  readonly due: number;
}

export class FaultPipe {
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #onReset: () => void;
  readonly #queue: Piece[] = [];
  #held = 0;
  #fault: Fault = { kind: 'pass' };
  #left = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #draining = false;
  /** Bytes that went through. */
  passed = 0;

  constructor(source: Socket, sink: Socket, fault: Fault, onReset: () => void) {
    this.#source = source;
    this.#sink = sink;
    this.#onReset = onReset;
    this.set(fault);
    source.on('data', (bytes: Buffer) => this.#take(bytes));
    source.on('end', () => this.#take(null));
    sink.on('drain', () => {
      this.#draining = false;
      this.#flush();
    });
  }

  set(fault: Fault): void {
    this.#fault = fault;
    this.#left = fault.kind === 'resetAfter' ? fault.bytes : Number.POSITIVE_INFINITY;
    this.#flush();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#queue.length = 0;
  }

  #take(bytes: Buffer | null): void {
    const wait = this.#fault.kind === 'delay' ? this.#fault.ms : 0;
    this.#queue.push({ bytes, due: performance.now() + wait });
    this.#held += bytes?.length ?? 0;
    this.#flush();
    if (this.#held > HELD_MAX) this.#source.pause();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    while (this.#fault.kind !== 'blackhole' && !this.#draining && !this.#sink.destroyed) {
      const piece = this.#queue[0];
      if (piece === undefined) break;
      const wait = piece.due - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.#flush(), Math.ceil(wait));
        break;
      }
      this.#queue.shift();
      this.#pass(piece.bytes);
    }
    if (this.#held <= HELD_MAX && this.#source.isPaused()) this.#source.resume();
  }

  #pass(bytes: Buffer | null): void {
    if (bytes === null) {
      this.#sink.end();
      return;
    }
    this.#held -= bytes.length;
    if (bytes.length >= this.#left) {
      this.#sink.write(bytes.subarray(0, this.#left), () => this.#onReset());
      this.passed += this.#left;
      this.#left = Number.POSITIVE_INFINITY;
      this.#fault = { kind: 'blackhole' };
      return;
    }
    this.#left -= bytes.length;
    this.passed += bytes.length;
    this.#draining = !this.#sink.write(bytes);
  }
}
