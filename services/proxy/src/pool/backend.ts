/**
 * One connection to a server, logged in and attached. It knows what state the server-side session is in, so that a pool can
 * tell whom it fits; it moves bytes for its owner and understands nothing of them but what arrives while nobody owns it.
 */
import type { Socket } from 'node:net';
import { parameterFields } from '../protocol/fields.ts';
import { PreparedSet, type Statement } from '../session/statements.ts';
import type { Share } from './line.ts';
import type { Waiter } from './pool.ts';

export interface BackendOwner {
  onServerBytes(chunk: Buffer): void;
  /** The connection is gone. Called once, while owned. */
  onServerClosed(error: Error | undefined): void;
  /** The send buffer is empty again after {@link Backend.send} returned false. */
  onServerDrain(): void;
}

/** Statements one backend keeps prepared. */
const PREPARED_MAX = 500;

export class Backend {
  readonly socket: Socket;
  /** What drover.attach() returned: the number contexts are signed for. */
  readonly number: string;
  /** The prepared statement that sets `drover.context`. */
  readonly contextStatement: string;
  readonly pid: number;
  readonly secret: Buffer;
  readonly parameters: Map<string, string>;
  /** Of all parameters; '' when it must be computed anew. */
  #parametersKey = '';
  readonly prepared = new PreparedSet(PREPARED_MAX);
  /** `<tenant>|<epoch>` the context was set for; '' when unknown. */
  context = '';
  tenant = '';
  /** Settings.signature in force. */
  settings = '';
  /** Something may have touched the session: context and settings are not what is noted here. */
  dirty = false;
  /** Not fit for another owner: closed when it is given back. */
  tainted = false;
  /** Statements whose server-side plan is out of date: closed before they are prepared again. */
  readonly stale = new Set<Statement>();
  /** The unnamed statement that is prepared now: identity of its owner's Parse, or null. */
  unnamed: object | null = null;
  /** The pool's: whom it serves, or served last. */
  share: Share<Waiter> | null = null;
  /** The pool's: it was handed out and has not come back. */
  serving = false;
  /** The pool's: since when it serves its tenant while others wait, `performance.now()`; 0: nobody does. */
  turnBegan = 0;
  /** Cancel requests under way; while there is one, the backend is not given to anybody else. */
  cancels = 0;
  onCancelsDone: (() => void) | null = null;
  owner: BackendOwner | null = null;
  closed = false;
  /** Told once when the connection is gone, owned or not. */
  onGone: () => void = () => undefined;

  constructor(options: {
    socket: Socket;
    number: string;
    contextStatement: string;
    pid: number;
    secret: Buffer;
    parameters: Map<string, string>;
  }) {
    this.socket = options.socket;
    this.number = options.number;
    this.contextStatement = options.contextStatement;
    this.pid = options.pid;
    this.secret = options.secret;
    this.parameters = options.parameters;
    let failure: Error | undefined;
    this.socket.on('data', (chunk: Buffer) => {
      if (this.owner !== null) this.owner.onServerBytes(chunk);
      else this.#idleBytes(chunk);
    });
    this.socket.on('error', (error) => {
      failure = error;
    });
    this.socket.on('end', () => this.#gone(failure));
    this.socket.on('close', () => this.#gone(failure));
    this.socket.on('drain', () => this.owner?.onServerDrain());
  }

  /** @returns false when the kernel did not take all: the caller pauses its source. */
  send(bytes: Buffer): boolean {
    return this.socket.write(bytes);
  }

  /** Equal for backends whose parameters are. */
  get parametersKey(): string {
    if (this.#parametersKey === '') {
      this.#parametersKey = [...this.parameters]
        .map(([name, value]) => `${name}=${value}`)
        .sort()
        .join('\n');
    }
    return this.#parametersKey;
  }

  /** A ParameterStatus. @returns it, or null when it is malformed. */
  noteParameter(bytes: Buffer, start: number, end: number): { name: string; value: string } | null {
    const found = parameterFields(bytes, start, end);
    if (found === null) return null;
    this.parameters.set(found.name, found.value);
    this.#parametersKey = '';
    return found;
  }

  /** Ends the connection now; a running statement is rolled back by the server when it notices. */
  destroy(): void {
    this.socket.destroy();
    this.#gone(undefined);
  }

  /** What a server says to nobody in particular: settings after a reload, notices. Anything else makes it unfit. */
  #idleBytes(chunk: Buffer): void {
    let at = 0;
    while (at + 5 <= chunk.length) {
      const end = at + 1 + chunk.readUInt32BE(at + 1);
      const type = chunk[at];
      if (end > chunk.length || (type !== 0x53 && type !== 0x4e && type !== 0x41)) break;
      if (type === 0x53) this.noteParameter(chunk, at, end);
      at = end;
    }
    if (at < chunk.length) this.destroy();
  }

  #gone(error: Error | undefined): void {
    if (this.closed) return;
    this.closed = true;
    this.socket.destroy();
    const { owner } = this;
    this.owner = null;
    this.onGone();
    owner?.onServerClosed(error);
  }
}
