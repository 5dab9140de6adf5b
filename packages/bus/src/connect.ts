/** The connection to NATS: reconnects for ever, checks the server's version and JetStream once at the start. */
import { type Closeable, DroverError, describeError } from '@drover/core';
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';

export interface BusOptions {
  readonly url: string;
  readonly user?: string;
  readonly password?: string;
  /** Shown by the server's monitoring. */
  readonly name: string;
}

export interface Bus extends Closeable {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  /** Largest message the server takes, bytes, headers included. */
  readonly maxPayload: number;
  readonly serverVersion: string;
  status(): 'connected' | 'disconnected';
}

/** @throws DroverError `bus.unreachable`, `bus.version` */
export async function connectBus(options: BusOptions): Promise<Bus> {
  let nc: NatsConnection;
  try {
    nc = await connect({
      servers: options.url,
      name: options.name,
      ...(options.user === undefined ? {} : { user: options.user, pass: options.password ?? '' }),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 100,
      pingInterval: 5000,
      maxPingOut: 2,
      timeout: 5000,
    });
  } catch (error) {
    throw new DroverError('bus.unreachable', `NATS does not answer at ${options.url}`, {
      cause: error,
      hint: 'start it, or correct [nats] url in drover.toml',
    });
  }
  try {
    const version = nc.info?.version ?? '0';
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major < 2 || (major === 2 && minor < 10)) {
      throw new DroverError('bus.version', `nats-server ${version} is too old`, {
        hint: 'use 2.10 or newer',
      });
    }
    if (nc.info?.jetstream !== true) {
      throw new DroverError('bus.version', 'this nats-server runs without JetStream', {
        hint: 'start it with `jetstream {}` in its configuration',
      });
    }
    let connected = true;
    void watchStatus(nc, (state) => {
      connected = state;
    });
    return {
      nc,
      js: jetstream(nc, { timeout: 10_000 }),
      jsm: await jetstreamManager(nc, { timeout: 10_000 }),
      maxPayload: nc.info.max_payload,
      serverVersion: version,
      status: () => (connected && !nc.isClosed() ? 'connected' : 'disconnected'),
      close: async () => {
        if (!nc.isClosed()) await nc.close();
      },
    };
  } catch (error) {
    await nc.close();
    if (error instanceof DroverError) throw error;
    throw new DroverError('bus.unreachable', `JetStream does not answer: ${describeError(error)}`, {
      cause: error,
    });
  }
}

async function watchStatus(nc: NatsConnection, set: (connected: boolean) => void): Promise<void> {
  for await (const status of nc.status()) {
    if (status.type === 'disconnect') set(false);
    else if (status.type === 'reconnect') set(true);
  }
}
