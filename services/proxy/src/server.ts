/**
 * The listening side: sockets become sessions, sessions are counted, swept and ended. Everything it needs to know about tenants comes
 * through ports, so that it can be built without a bus.
 */
import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Tenant } from '@drover/catalog';
import { type Closeable, DroverError, sleep } from '@drover/core';
import type { WireError } from './protocol/builders.ts';
import type { TenantBook } from './routing/tenant-book.ts';
import type { Door, Stats } from './session/door.ts';
import { type LoginPorts, serveClient } from './session/login.ts';
import { Session } from './session/session.ts';
import type { Settings } from './session/settings.ts';
import { StatementRegistry } from './session/statements.ts';
import type { ServerTls } from './tls/server-tls.ts';

/** A statement waits at most this long in line for a backend, milliseconds (PgBouncer's query_wait_timeout). */
const QUEUE_MS = 120_000;
/** A client that does not read for this long is given up, milliseconds. */
const SEND_TIMEOUT_MS = 60_000;
const SWEEP_MS = 50;

export interface FrontDoorOptions {
  readonly host: string;
  readonly port: number;
  readonly maxClients: number;
  readonly holdMs: number;
  readonly tls: ServerTls | null;
  readonly tlsRequired: boolean;
  readonly secret: string;
  readonly book: TenantBook;
  readonly router: Door['router'];
  readonly errors: Door['errors'];
  sign: Door['sign'];
  findTenant(name: string): Tenant | undefined;
  databaseOf(tenant: Tenant): string | undefined;
  settingsOf: LoginPorts['settingsOf'];
  authFailed(user: string): void;
}

export class FrontDoor implements Closeable {
  readonly stats: Stats = {
    transactions: 0,
    adoptions: 0,
    replays: 0,
    holds: 0,
    pins: new Map(),
    holdSeconds: [],
  };
  readonly #options: FrontDoorOptions;
  readonly #sessions = new Map<number, Session>();
  readonly #sockets = new Set<Socket>();
  readonly #door: Door;
  readonly #server: Server;
  readonly #stop = new AbortController();
  #sweeping: Promise<void> = Promise.resolve();

  constructor(options: FrontDoorOptions) {
    this.#options = options;
    this.#door = {
      router: options.router,
      registry: new StatementRegistry(),
      sign: options.sign,
      waiting: new Set(),
      stalled: new Set(),
      holdMs: options.holdMs,
      stats: this.stats,
      errors: options.errors,
      closed: (session) => this.#sessions.delete(session.pid),
    };
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) => this.#accept(socket));
  }

  get clients(): number {
    return this.#sessions.size;
  }

  sessions(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  /** @returns the port. @throws DroverError `local.port_in_use` */
  async listen(): Promise<number> {
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'EADDRINUSE'
            ? new DroverError('local.port_in_use', `port ${port} of the front door is taken`, {
                hint: 'choose another [proxy] port',
                cause: error,
              })
            : error,
        ),
      );
      this.#server.listen({ host, port, backlog: 1024 }, resolve);
    });
    this.#sweeping = this.#sweep();
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends every transaction in flight now. */
  cutAll(): void {
    for (const session of Array.from(this.#sessions.values())) session.cutOff();
  }

  /** Sends everybody of the tenant away. */
  dismiss(tenant: string, error: WireError): void {
    for (const session of Array.from(this.#sessions.values()))
      if (session.tenant === tenant) session.fatal(error);
  }

  /** Takes nobody new, waits up to `graceMs` for transactions to end, then ends all connections. */
  async close(graceMs = 5000): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    const deadline = performance.now() + graceMs;
    const busy = () => [...this.#sessions.values()].some((session) => session.busy);
    while (busy() && performance.now() < deadline) await sleep(20);
    for (const session of Array.from(this.#sessions.values())) {
      session.fatal({ severity: 'FATAL', code: '57P01', message: 'the front door is shutting down' });
    }
    this.#stop.abort();
    await this.#sweeping;
    for (const socket of this.#sockets) socket.destroySoon();
    const cut = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, 1000);
    await closed;
    clearTimeout(cut);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    const o = this.#options;
    const ports: LoginPorts = {
      tls: o.tls,
      tlsRequired: o.tlsRequired,
      secret: o.secret,
      findTenant: (name) => o.findTenant(name),
      databaseOf: (tenant) => o.databaseOf(tenant),
      settingsOf: (tenant) => o.settingsOf(tenant),
      authFailed: (user) => o.authFailed(user),
      findSession: (pid) => this.#sessions.get(pid),
      open: (options) => this.#open(options),
    };
    void serveClient(socket, ports);
  }

  #open(options: {
    socket: Socket;
    tenant: Tenant;
    settings: Settings;
    longKey: boolean;
  }): Session | WireError {
    if (this.#sessions.size >= this.#options.maxClients || this.#stop.signal.aborted) {
      return { severity: 'FATAL', code: '53300', message: 'sorry, too many clients already' };
    }
    const { socket, tenant, settings } = options;
    let pid: number;
    do pid = randomBytes(4).readUInt32BE(0) & 0x7fff_ffff || 1;
    while (this.#sessions.has(pid));
    const record = this.#options.book.of(tenant.tenant, tenant.isolation);
    const secret = randomBytes(options.longKey ? 32 : 4);
    const session = new Session({ door: this.#door, socket, record, settings, pid, secret });
    this.#sessions.set(pid, session);
    const left = () => session.clientLeft();
    socket.on('error', left).on('end', left).on('close', left);
    return session;
  }

  async #sweep(): Promise<void> {
    while (await sleep(SWEEP_MS, this.#stop.signal)) {
      const now = performance.now();
      for (const checkout of Array.from(this.#door.waiting)) checkout.expire(now, QUEUE_MS);
      for (const session of Array.from(this.#door.stalled)) {
        if (now - session.link.stalledSince > SEND_TIMEOUT_MS) session.abandon();
      }
    }
  }
}
