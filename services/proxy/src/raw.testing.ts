/** A client that speaks the protocol byte by byte, for tests of what drivers never do. */
import { connect, type Socket } from 'node:net';
import { Assembler } from './protocol/assembler.ts';
import { int16, int32, message } from './protocol/builders.ts';
import { ScramClient } from './protocol/scram.ts';

export interface Message {
  readonly type: string;
  readonly body: Buffer;
}

export class RawClient {
  readonly socket: Socket;
  readonly #assembler = new Assembler(1 << 30);
  readonly #messages: Message[] = [];
  #wake: (() => void) | null = null;
  #ended = false;
  pid = 0;
  secret: Buffer = Buffer.alloc(0);
  readonly parameters = new Map<string, string>();

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port });
    this.socket.on('data', (chunk: Buffer) => {
      const whole = this.#assembler.push(chunk);
      for (let at = 0; whole !== null && at < whole.length; ) {
        const end = at + 1 + whole.readUInt32BE(at + 1);
        this.#messages.push({ type: String.fromCharCode(whole[at] ?? 0), body: whole.subarray(at + 5, end) });
        at = end;
      }
      this.#wake?.();
    });
    const ended = () => {
      this.#ended = true;
      this.#wake?.();
    };
    this.socket.on('error', ended).on('close', ended);
  }

  /** The next message; type '' when the connection has ended. */
  async next(): Promise<Message> {
    for (;;) {
      const found = this.#messages.shift();
      if (found !== undefined) return found;
      if (this.#ended) return { type: '', body: Buffer.alloc(0) };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Types of all messages up to and with the n-th ReadyForQuery, or the end. Errors as `E:<sqlstate>`, ready as `Z<status>`. */
  async untilReady(n = 1): Promise<string[]> {
    const out: string[] = [];
    for (let ready = 0; ready < n; ) {
      const m = await this.next();
      if (m.type === 'N' || m.type === 'S') continue;
      if (m.type === 'E') out.push(`E:${sqlState(m.body)}`);
      else if (m.type === 'Z') {
        out.push(`Z${m.body.toString()}`);
        ready++;
      } else out.push(m.type);
      if (m.type === '') break;
    }
    return out;
  }

  send(...pieces: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(pieces));
  }

  /** StartupMessage of any version. */
  startup(version: number, parameters: Readonly<Record<string, string>>): void {
    const body = Buffer.concat([
      int32(version),
      ...Object.entries(parameters).map(([k, v]) => Buffer.from(`${k}\0${v}\0`)),
      Buffer.alloc(1),
    ]);
    this.send(int32(body.length + 4), body);
  }

  /** Logs in. @returns the types of the messages up to ReadyForQuery or the error. */
  async login(
    parameters: Readonly<Record<string, string>>,
    password: string,
    version = 196_608,
  ): Promise<string[]> {
    this.startup(version, parameters);
    const scram = new ScramClient(password);
    const seen: string[] = [];
    for (;;) {
      const m = await this.next();
      seen.push(m.type === 'E' ? `E:${sqlState(m.body)}` : m.type);
      if (m.type === 'R') {
        const kind = m.body.readInt32BE(0);
        if (kind === 10) {
          const first = Buffer.from(scram.first());
          this.send(message('p', 'SCRAM-SHA-256', int32(first.length), first));
        } else if (kind === 11) this.send(message('p', Buffer.from(scram.final(m.body.toString('utf8', 4)))));
      } else if (m.type === 'K') {
        this.pid = m.body.readInt32BE(0);
        this.secret = Buffer.from(m.body.subarray(4));
      } else if (m.type === 'S') {
        const [name = '', value = ''] = m.body.toString().split('\0');
        this.parameters.set(name, value);
      } else if (m.type === 'Z' || m.type === 'E' || m.type === '') return seen;
    }
  }
}

export function sqlState(body: Buffer): string {
  for (const field of body.toString('utf8').split('\0')) if (field.startsWith('C')) return field.slice(1);
  return '';
}

export const parse = (name: string, sql: string): Buffer => message('P', name, sql, int16(0));
export const bind = (portal: string, statement: string, values: readonly string[] = []): Buffer =>
  message(
    'B',
    portal,
    statement,
    int16(0),
    int16(values.length),
    ...values.flatMap((v) => [int32(Buffer.byteLength(v)), Buffer.from(v)]),
    int16(0),
  );
export const describe = (kind: 'S' | 'P', name: string): Buffer => message('D', Buffer.from(kind), name);
export const execute = (portal = '', max = 0): Buffer => message('E', portal, int32(max));
export const close = (kind: 'S' | 'P', name: string): Buffer => message('C', Buffer.from(kind), name);
export const sync = message('S');
export const flush = message('H');
export const query = (sql: string): Buffer => message('Q', sql);
