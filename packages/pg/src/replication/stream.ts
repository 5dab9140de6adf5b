/**
 * A running replication stream: takes the socket after CopyBothResponse, cuts frames, hands out WAL, and keeps the
 * connection alive. Ends once, for one reason: close(), a server's error, a broken protocol, a throwing handler, or a dead
 * peer. Why it is written like this, and not with pg-logical-replication: see start.ts.
 */
import type { Socket } from 'node:net';
import { type Deferred, DroverError, deferred, type Lsn } from '@drover/core';
import { malformed } from '../pgoutput/bytes.ts';
import { CopyDataReader } from './copy-data.ts';
import { FrameReader, type FrameSink } from './frames.ts';
import { judgePeer, peerTimeoutMs, statusIntervalMs } from './liveness.ts';
import { ReadPacer } from './pacing.ts';
import { BUFFER_BYTES, type Reads } from './reads.ts';
import { parseServerError, streamError } from './server-error.ts';
import type { Slot } from './slot.ts';
import { StatusSender } from './status-sender.ts';
import type { ReplicationStream, WalHandler } from './types.ts';

export interface StreamParts {
  /** Authenticated, in copy-both mode, paused. */
  readonly socket: Socket;
  /** Where its reads come from; null: from its events. */
  readonly reads: Reads | null;
  /** A Unix-domain socket. */
  readonly isLocal: boolean;
  readonly systemId: string;
  readonly timeline: number;
  readonly branchedAt: Lsn | null;
  readonly slotName: string;
  readonly slot: Slot;
  readonly startLsn: Lsn;
  readonly walSenderTimeoutMs: number;
  readonly peerTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const CLOSE_TIMEOUT_MS = 2_000;
/** What libuv reads at once: a read of this size left more behind. */
const CHUNK_BYTES = 65_536;
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);

export class WalStream implements ReplicationStream, FrameSink {
  readonly systemId: string;
  readonly timeline: number;
  readonly branchedAt: Lsn | null;
  readonly slot: Slot;
  readonly #slotName: string;
  readonly #socket: Socket;
  readonly #reads: Reads | null;
  readonly #status: StatusSender;
  readonly #copyData: CopyDataReader;
  readonly #frames = new FrameReader(this);
  readonly #pacer: ReadPacer;
  readonly #done: Deferred<void> = deferred();
  readonly #closed: Deferred<void> = deferred();
  readonly #stop = new AbortController();
  readonly #lookIntervalMs: number;
  readonly #peerTimeoutMs: number;
  #state: 'open' | 'closing' | 'ended' = 'open';
  #handler: WalHandler | null = null;
  /** Reasons not to read: the caller's, and between two rounds the pacer's. */
  #paused = false;
  #pacing = false;
  #listeningSinceMs: number | null = null;
  #lastReceivedMs = 0;
  #lastLookMs = performance.now();
  #round: { startMs: number; full: boolean; cut: boolean } | null = null;

  constructor(parts: StreamParts) {
    this.systemId = parts.systemId;
    this.timeline = parts.timeline;
    this.branchedAt = parts.branchedAt;
    this.slot = parts.slot;
    this.#slotName = parts.slotName;
    this.#socket = parts.socket;
    this.#reads = parts.reads;
    this.#pacer = new ReadPacer(!parts.isLocal);
    this.#peerTimeoutMs = parts.peerTimeoutMs ?? peerTimeoutMs(parts.walSenderTimeoutMs);
    // At least twice asked before judged.
    this.#lookIntervalMs = Math.min(statusIntervalMs(parts.walSenderTimeoutMs), this.#peerTimeoutMs / 3);
    this.#status = new StatusSender(parts.socket, parts.startLsn, () => this.#copyData.received);
    this.#copyData = new CopyDataReader(() => this.#status.send(false));
    this.#done.promise.catch(() => {}); // reported by read(), also when that is called later
    const onAbort = () => void this.close();
    parts.signal?.addEventListener('abort', onAbort, { once: true });
    const onClose = () => {
      parts.signal?.removeEventListener('abort', onAbort);
      this.#lost();
      this.#closed.resolve();
    };
    parts.socket.on('error', (cause) => this.#lost(cause));
    parts.socket.on('close', onClose);
    this.#status
      .run(this.#lookIntervalMs, () => this.#look(), this.#stop.signal)
      .catch((error: unknown) => this.#fail(error));
    if (parts.socket.closed)
      onClose(); // before we listened
    else if (parts.signal?.aborted) onAbort();
  }

  get received(): Lsn {
    return this.#copyData.received;
  }

  get confirmed(): Lsn {
    return this.#status.confirmed;
  }

  read(handler: WalHandler): Promise<void> {
    if (this.#handler !== null)
      throw new DroverError('internal.assertion', 'a replication stream is read once');
    this.#handler = handler;
    if (this.#state === 'open') {
      this.#socket.on('data', this.#onData);
      // What came with the answer to START_REPLICATION is still in the stream, and is told in the next tick, before any read.
      this.#reads?.take(this.#onData);
      this.#flow();
    }
    return this.#done.promise;
  }

  pause(): void {
    this.#paused = true;
    this.#flow();
  }

  resume(): void {
    this.#paused = false;
    this.#flow();
  }

  confirm(lsn: Lsn): void {
    if (this.#state === 'open') this.#status.confirm(lsn);
  }

  async close(): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'closing';
      this.#stop.abort();
      this.#status.send(false);
      this.#status.stop();
      // Terminate is obeyed even in the midst of a transaction, after the status before it. What still arrives is thrown
      // away: unread bytes would turn our FIN into a reset, which may overtake the status.
      this.#socket.removeListener('data', this.#onData);
      this.#reads?.take(() => {});
      this.#socket.on('data', () => {});
      this.#socket.resume();
      if (this.#socket.writable) this.#socket.end(TERMINATE);
      else this.#socket.destroy();
      const timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS);
      await this.#closed.promise;
      clearTimeout(timer);
      this.#state = 'ended';
      this.#done.resolve();
    }
    await this.#closed.promise;
  }

  /** One protocol message. Public for FrameReader only. */
  frame(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case 0x64: // d CopyData
        if (this.#handler !== null && this.#state === 'open') {
          this.#copyData.read(bytes, start, end, this.#handler);
        }
        return;
      case 0x45: // E ErrorResponse
        throw streamError(parseServerError(bytes, start, end), 'streaming', this.#slotName);
      case 0x63: // c CopyDone: the server is shutting down
      case 0x43: // C CommandComplete
      case 0x5a: // Z ReadyForQuery
        throw new DroverError('pg.unreachable', 'PostgreSQL ended the replication stream');
      case 0x4e: // N NoticeResponse
      case 0x53: // S ParameterStatus
        return;
      default:
        throw malformed(`frame of kind ${type}`);
    }
  }

  readonly #onData = (chunk: Buffer): void => {
    const now = performance.now();
    this.#lastReceivedMs = now;
    if (this.#round === null) {
      this.#round = { startMs: now, full: false, cut: false };
      // Runs when all that lay ready in the socket has been read (libuv reads on until it would block, within bounds).
      setImmediate(this.#endRound);
    }
    if (chunk.length >= CHUNK_BYTES) this.#round.full = true;
    if (chunk.length === BUFFER_BYTES) {
      this.#round.cut = true;
      this.#pacing = true; // until the round's end
      this.#flow();
    }
    try {
      this.#frames.push(chunk);
    } catch (error) {
      this.#fail(error);
    }
  };

  readonly #endRound = (): void => {
    const round = this.#round;
    this.#round = null;
    if (this.#state !== 'open' || round === null) return;
    try {
      this.#handler?.batchEnd();
    } catch (error) {
      this.#fail(error);
      return;
    }
    const pauseMs = this.#pacer.next({
      ...round,
      messages: this.#copyData.takeCount(),
      lagMs: this.#copyData.lagMs,
      endMs: performance.now(),
    });
    this.#pacing = pauseMs > 0;
    this.#flow();
    if (pauseMs === 0) return;
    setTimeout(() => {
      this.#pacing = false;
      this.#flow();
    }, pauseMs);
  };

  /** Makes the socket's state follow ours. */
  #flow(): void {
    if (this.#state !== 'open' || this.#handler === null) return;
    if (this.#paused) this.#listeningSinceMs = null;
    else this.#listeningSinceMs ??= performance.now();
    if (this.#paused || this.#pacing) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Looks after the peer; true when it should be asked for a sign of life. */
  #look(): boolean {
    const nowMs = performance.now();
    const verdict = judgePeer({
      nowMs,
      lastLookMs: this.#lastLookMs,
      lookIntervalMs: this.#lookIntervalMs,
      listeningSinceMs: this.#listeningSinceMs,
      lastReceivedMs: this.#lastReceivedMs,
      peerTimeoutMs: this.#peerTimeoutMs,
    });
    this.#lastLookMs = nowMs;
    if (verdict === 'stalled') this.#listeningSinceMs = nowMs;
    if (verdict === 'dead') {
      const silentMs = Math.round(nowMs - this.#lastReceivedMs);
      this.#fail(
        new DroverError('pg.unreachable', 'PostgreSQL has gone silent', {
          facts: { slot: this.#slotName, silentMs },
        }),
      );
    }
    return verdict === 'silent' || verdict === 'stalled';
  }

  #lost(cause?: Error): void {
    this.#fail(new DroverError('pg.unreachable', 'the replication connection was lost', { cause }));
  }

  #fail(error: unknown): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#stop.abort();
    this.#status.stop();
    this.#socket.removeListener('data', this.#onData);
    this.#socket.destroy();
    this.#done.reject(error);
  }
}
