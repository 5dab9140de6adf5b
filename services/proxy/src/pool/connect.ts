/**
 * Opens a backend: TCP (and TLS when asked), login by SCRAM, drover.attach(), and the one prepared statement that sets the
 * tenant context. Everything is verified before the backend is handed out.
 */
import { type Socket, connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { Assembler } from '../protocol/assembler.ts';
import { message, parse, query, SSL_REQUEST, SYNC, startup } from '../protocol/builders.ts';
import { errorFields, parameterFields, rowValues } from '../protocol/fields.ts';
import { ScramClient } from '../protocol/scram.ts';
import { secretStatementName } from '../session/statements.ts';
import { Backend } from './backend.ts';

export interface BackendTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly ssl: false | object;
}

/** A server's own refusal, with its SQLSTATE. */
export class ServerError extends Error {
  readonly code: string;
  constructor(code: string, text: string) {
    super(text);
    this.code = code;
  }
}

/** Sets the context, which is read back from the result, and seeds the session's random numbers. */
const CONTEXT_SQL = "SELECT pg_catalog.set_config('drover.context', $1, false), pg_catalog.setseed($2)";

const MESSAGE_MAX = 1 << 20;

/** @throws ServerError when the server refuses, Error with an errno code when it does not answer. */
export async function connectBackend(
  target: BackendTarget,
  options: { timeoutMs: number; attach: boolean },
): Promise<Backend> {
  const deadline = AbortSignal.timeout(options.timeoutMs);
  let socket = await opened(
    tcpConnect({ host: target.host, port: target.port, noDelay: true, keepAlive: true }),
    'connect',
    deadline,
  );
  try {
    if (target.ssl !== false) socket = await secured(socket, target, deadline);
    const reader = new MessageReader(socket, deadline);
    const parameters = new Map<string, string>();
    let pid = 0;
    let secret: Buffer = Buffer.alloc(4);
    socket.write(
      startup({
        user: target.user,
        database: target.database,
        application_name: 'drover',
        client_encoding: 'UTF8',
        standard_conforming_strings: 'on',
      }),
    );
    await authenticate(socket, reader, target.password);
    for (;;) {
      const m = await reader.next();
      if (m[0] === 0x53) {
        const found = parameterFields(m, 0, m.length);
        if (found !== null) parameters.set(found.name, found.value);
      } else if (m[0] === 0x4b) {
        pid = m.readInt32BE(5);
        secret = Buffer.from(m.subarray(9));
      } else if (m[0] === 0x5a) break;
    }
    let number = '';
    const contextStatement = secretStatementName();
    if (options.attach) {
      socket.write(
        Buffer.concat([query('SELECT drover.attach()'), parse(contextStatement, CONTEXT_SQL), SYNC]),
      );
      for (let ready = 0; ready < 2; ) {
        const m = await reader.next();
        if (m[0] === 0x44) number = rowValues(m, 0)[0] ?? '';
        else if (m[0] === 0x5a) ready++;
      }
    }
    reader.close();
    return new Backend({ socket, number, contextStatement, pid, secret, parameters });
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function authenticate(socket: Socket, reader: MessageReader, password: string): Promise<void> {
  let scram: ScramClient | undefined;
  for (;;) {
    const m = await reader.next();
    if (m[0] !== 0x52) throw new Error('unexpected message during authentication');
    const kind = m.readInt32BE(5);
    if (kind === 0) return;
    if (kind === 3) socket.write(message('p', password));
    else if (kind === 10) {
      scram = new ScramClient(password);
      const first = Buffer.from(scram.first());
      const size = Buffer.alloc(4);
      size.writeInt32BE(first.length);
      socket.write(message('p', 'SCRAM-SHA-256', size, first));
    } else if (kind === 11 && scram !== undefined) {
      socket.write(message('p', Buffer.from(scram.final(m.toString('utf8', 9)))));
    } else if (kind === 12 && scram !== undefined) {
      if (!scram.verify(m.toString('utf8', 9)))
        throw new Error('the server does not know the password either');
    } else
      throw new Error(
        `the server asks for authentication method ${kind}, which is not supported: use scram-sha-256`,
      );
  }
}

/** Waits for the event, an error, the end, or the deadline. */
export function opened(socket: Socket, event: string, deadline: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      socket.off(event, onEvent);
      socket.off('error', settle);
      socket.off('close', onClose);
      deadline.removeEventListener('abort', onDeadline);
      if (error === undefined) resolve(socket);
      else {
        socket.on('error', () => undefined);
        socket.destroy();
        reject(error);
      }
    };
    const onEvent = () => settle();
    const onClose = () =>
      settle(Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' }));
    const onDeadline = () =>
      settle(Object.assign(new Error('the server does not answer in time'), { code: 'ETIMEDOUT' }));
    socket.once(event, onEvent);
    socket.once('error', settle);
    socket.once('close', onClose);
    deadline.addEventListener('abort', onDeadline, { once: true });
  });
}

async function secured(socket: Socket, target: BackendTarget, deadline: AbortSignal): Promise<Socket> {
  socket.write(SSL_REQUEST);
  await opened(socket, 'readable', deadline);
  const answer: unknown = socket.read(1);
  if (!(answer instanceof Buffer) || answer[0] !== 0x53 || socket.readableLength > 0) {
    throw new Error('the server does not offer TLS');
  }
  const tls = tlsConnect({ ...(target.ssl === false ? {} : target.ssl), socket, servername: target.host });
  return opened(tls, 'secureConnect', deadline);
}

/** Whole messages one by one, for logins only. Errors of the server are thrown. */
class MessageReader {
  readonly #socket: Socket;
  readonly #assembler = new Assembler(MESSAGE_MAX);
  readonly #deadline: AbortSignal;
  readonly #ready: Buffer[] = [];
  #wake: (() => void) | null = null;
  #failure: Error | undefined;
  readonly #onData = (chunk: Buffer): void => {
    const whole = this.#assembler.push(chunk);
    for (let at = 0; whole !== null && at < whole.length; ) {
      const end = at + 1 + whole.readUInt32BE(at + 1);
      this.#ready.push(whole.subarray(at, end));
      at = end;
    }
    this.#wake?.();
  };
  readonly #onError = (error: Error): void => this.#fail(error);
  readonly #onClose = (): void =>
    this.#fail(Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' }));
  readonly #onDeadline = (): void =>
    this.#fail(Object.assign(new Error('the server does not answer in time'), { code: 'ETIMEDOUT' }));

  constructor(socket: Socket, deadline: AbortSignal) {
    this.#socket = socket;
    this.#deadline = deadline;
    socket.on('data', this.#onData).on('error', this.#onError).on('close', this.#onClose);
    deadline.addEventListener('abort', this.#onDeadline, { once: true });
  }

  async next(): Promise<Buffer> {
    for (;;) {
      const found = this.#ready.shift();
      if (found !== undefined) {
        if (found[0] === 0x45) {
          const fields = errorFields(found, 0, found.length);
          throw new ServerError(fields.code, fields.message);
        }
        if (found[0] !== 0x4e) return found;
        continue;
      }
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }

  close(): void {
    this.#socket.off('data', this.#onData).off('error', this.#onError).off('close', this.#onClose);
    this.#deadline.removeEventListener('abort', this.#onDeadline);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    // After a failed login nobody reads on; the socket's late errors must not be unhandled.
    this.#socket.on('error', () => undefined);
    this.#wake?.();
  }
}
