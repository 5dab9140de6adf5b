/**
 * The connection to NATS. It reconnects for ever; what waits for an answer learns at once that the connection broke, because
 * that answer will never come.
 */
import { type Closeable, cancelled, DroverError, describeError } from '@drover/core';
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, errors, type NatsConnection } from '@nats-io/transport-node';

export interface BusOptions {
  /** One URL, or several separated by commas. */
  readonly url: string;
  readonly user?: string;
  readonly password?: string;
  /** Shown by the server's monitoring. */
  readonly name: string;
}

export type BusStatus = 'connected' | 'disconnected';

export interface Bus extends Closeable {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  /** Largest message the server takes, bytes, headers included. */
  readonly maxPayload: number;
  readonly serverVersion: string;
  status(): BusStatus;
  /** Called at each change; returns how to stop. */
  onStatus(listener: (status: BusStatus) => void): () => void;
  /** Resolves at once when connected, otherwise with the next connection. @throws `internal.cancelled` when the signal aborts or the bus closes */
  connected(signal?: AbortSignal): Promise<void>;
  /**
   * Sends a request when connected, and gives its outcome. @throws DroverError `bus.unreachable` when there is no connection in time, or it
   * breaks before the answer came: then the outcome is not known
   */
  ask<T>(send: () => Promise<T>): Promise<T>;
  /** As {@link ask}, for what may be asked twice: asked again when the connection broke, as long as the time of one request is not over. */
  read<T>(send: () => Promise<T>): Promise<T>;
}

const REQUEST_TIMEOUT_MS = 10_000;

/** @throws DroverError `bus.unreachable`, `bus.version` */
export async function connectBus(options: BusOptions): Promise<Bus> {
  const nc = await dial(options);
  try {
    const version = nc.info?.version ?? '0';
    checkServer(version, nc.info?.jetstream === true);
    const jsm = await jetstreamManager(nc, { timeout: REQUEST_TIMEOUT_MS });
    return new NatsBus(nc, jsm, version);
  } catch (error) {
    await nc.close();
    if (error instanceof DroverError) throw error;
    throw new DroverError('bus.unreachable', `JetStream does not answer: ${describeError(error)}`, {
      cause: error,
    });
  }
}

async function dial(options: BusOptions): Promise<NatsConnection> {
  try {
    return await connect({
      servers: options.url.split(',').map((server) => server.trim()),
      name: options.name,
      ...(options.user === undefined ? {} : { user: options.user, pass: options.password ?? '' }),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 100,
      ignoreAuthErrorAbort: true, // rights may be mended while we keep trying
      noAsyncTraces: true,
      pingInterval: 5000,
      maxPingOut: 2,
      timeout: 5000,
    });
  } catch (error) {
    const refused = error instanceof errors.AuthorizationError;
    throw new DroverError(
      'bus.unreachable',
      refused ? `NATS at ${options.url} refuses the login` : `NATS does not answer at ${options.url}`,
      {
        cause: error,
        hint: refused
          ? 'correct [nats] user and password in drover.toml'
          : 'start it, or correct [nats] url in drover.toml',
      },
    );
  }
}

/** @throws DroverError `bus.version` */
export function checkServer(version: string, jetStream: boolean): void {
  if (!versionAtLeast(version, 2, 10)) {
    throw new DroverError('bus.version', `nats-server ${version} is too old`, { hint: 'use 2.10 or newer' });
  }
  if (!jetStream) {
    throw new DroverError('bus.version', 'this nats-server runs without JetStream', {
      hint: 'start it with `jetstream {}` in its configuration',
    });
  }
}

export function versionAtLeast(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.replace(/^v/, '').split('.').map(Number);
  return a > major || (a === major && b >= minor);
}

class NatsBus implements Bus {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly serverVersion: string;
  readonly #listeners = new Set<(status: BusStatus) => void>();
  #connected = true;

  constructor(nc: NatsConnection, jsm: JetStreamManager, version: string) {
    this.nc = nc;
    this.js = jetstream(nc, { timeout: REQUEST_TIMEOUT_MS });
    this.jsm = jsm;
    this.serverVersion = version;
    void this.#follow();
  }

  get maxPayload(): number {
    return this.nc.info?.max_payload ?? 1024 * 1024;
  }

  status(): BusStatus {
    return this.#connected && !this.nc.isClosed() ? 'connected' : 'disconnected';
  }

  onStatus(listener: (status: BusStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  connected(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted || this.nc.isClosed()) return Promise.reject(cancelled());
    if (this.#connected) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = () => {
        off();
        signal?.removeEventListener('abort', end);
        if (this.status() === 'connected' && !signal?.aborted) resolve();
        else reject(cancelled());
      };
      const off = this.onStatus((status) => {
        if (status === 'connected' || this.nc.isClosed()) end();
      });
      signal?.addEventListener('abort', end, { once: true });
    });
  }

  async ask<T>(send: () => Promise<T>): Promise<T> {
    // What is sent while there is no connection is lost with the attempt to connect.
    await this.connected(AbortSignal.timeout(REQUEST_TIMEOUT_MS)).catch((cause: unknown) => {
      throw new DroverError('bus.unreachable', 'there is no connection to NATS', { cause });
    });
    const answer = Promise.withResolvers<T>();
    const off = this.onStatus((status) => {
      if (status === 'connected') return;
      answer.reject(
        new DroverError('bus.unreachable', 'the connection to NATS broke before the answer came'),
      );
    });
    // It may have broken again since.
    if (this.status() === 'connected')
      (async () => send())().then(answer.resolve, answer.reject); // what send throws, too
    else answer.reject(new DroverError('bus.unreachable', 'there is no connection to NATS'));
    return answer.promise.finally(off);
  }

  async read<T>(send: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + REQUEST_TIMEOUT_MS;
    for (;;) {
      try {
        return await this.ask(send);
      } catch (error) {
        const broke = error instanceof DroverError && error.code === 'bus.unreachable';
        if (!broke || this.nc.isClosed() || performance.now() >= deadline) throw error;
      }
    }
  }

  async close(): Promise<void> {
    if (!this.nc.isClosed()) await this.nc.close();
    this.#tell(false);
  }

  async #follow(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === 'disconnect') this.#tell(false);
      else if (status.type === 'reconnect') this.#tell(true);
    }
    this.#tell(false);
  }

  #tell(connected: boolean): void {
    this.#connected = connected;
    for (const listener of Array.from(this.#listeners)) listener(connected ? 'connected' : 'disconnected');
  }
}
