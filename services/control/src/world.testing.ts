/** For the tests of this service: the control plane on a real NATS, its clients, and stand-ins for the services it asks. */
import { type Bus, connectBus, ensureStream, paged, serveRpc } from '@drover/bus';
import { type Catalog, openCatalog, type Placement } from '@drover/catalog';
import { type Config, configFromParts } from '@drover/config';
import { type Closeable, Closer, clusterId, must, type TenantId, tenantId } from '@drover/core';
import {
  createClient,
  FailoverService,
  MigrationService,
  ReplicationService,
  type ServiceClient,
} from '@drover/rpc';
import { newTenant, TEST_SECRET, type TestNats, testNats } from '@drover/testkit';
import { run } from './main.ts';

export const EAST = clusterId('east');
export const WEST = clusterId('west');
export const ACME = tenantId('acme');

export interface WorldOptions {
  /** Sections of the configuration. */
  readonly sections?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** `[[transform]]` */
  readonly transform?: readonly Readonly<Record<string, unknown>>[];
  /** Port of each cluster; default: none that anybody listens on. */
  readonly ports?: Readonly<Record<'east' | 'west', number>>;
  readonly databases?: readonly string[];
}

export interface World extends Closeable {
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly config: Config;
  readonly address: string;
  readonly metricsUrl: string;
  readonly failover: ServiceClient<typeof FailoverService>;
  readonly tenants: ServiceClient<typeof MigrationService>;
  readonly replication: ServiceClient<typeof ReplicationService>;
  /** Answers as another service would; errors it throws travel. */
  answer(
    method: string,
    answer: (request: unknown, progress: (update: unknown) => void) => unknown,
  ): Promise<Closeable>;
  /** As {@link answer}, a list in pages. */
  answerList(method: string, list: (request: unknown) => readonly unknown[]): Promise<Closeable>;
  /** A controller that leads, and that does nothing. */
  lead(): Promise<Closeable>;
  place(placement?: Partial<Placement>): Promise<Placement>;
  /** Stops the control plane; a second call does nothing. */
  stop(): Promise<void>;
}

export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const closer = new Closer();
  const nats = await testNats();
  closer.add({ close: () => nats.stop() });
  const bus = closer.add(await connectBus({ url: nats.url, name: 'test' }));
  const databases = options.databases ?? ['app'];
  const config = configFromParts({
    clusters: (['east', 'west'] as const).map((name) => ({
      name,
      host: '127.0.0.1',
      port: options.ports?.[name] ?? { east: 1, west: 2 }[name],
      databases,
    })),
    transform: options.transform ?? [],
    sections: {
      ...options.sections,
      security: { secret: TEST_SECRET },
      nats: { url: nats.url, partitions: 2 },
      control: { port: 0, ...options.sections?.['control'] },
      telemetry: { port: 0, log_level: process.env['DROVER_TEST_LOG'] === undefined ? 'error' : 'debug' },
    },
  });
  for (const cluster of [EAST, WEST]) {
    for (const partition of [0, 1])
      await ensureStream(bus, { cluster, partition, replicas: 1, maxBytes: 1 << 24, maxAgeMs: 3_600_000 });
  }
  const catalog = closer.add(await openCatalog(bus, { replicas: 1 }));
  const stop = new AbortController();
  const ready = Promise.withResolvers<Readonly<Record<string, unknown>>>();
  const ended = run({ config, signal: stop.signal, metricsPort: 0, onReady: ready.resolve });
  ended.catch(ready.reject);
  const info = await ready.promise;
  closer.add({
    close: async () => {
      stop.abort();
      await ended;
    },
  });
  const address = String(info['control']);
  const auth = config.control.token === undefined ? {} : { token: config.control.token };
  const failover = createClient(FailoverService, address, auth);
  const tenants = createClient(MigrationService, address, auth);
  const replication = createClient(ReplicationService, address, auth);
  closer.add({
    close: async () => {
      for (const client of [failover, tenants, replication]) client.close();
    },
  });
  const world: World = {
    nats,
    bus,
    catalog,
    config,
    address,
    metricsUrl: String(info['metricsUrl']),
    failover,
    tenants,
    replication,
    answer: async (method, answer) => {
      const served = closer.add(
        serveRpc(bus, method, async (request, rpc) => answer(request, (update) => rpc.progress(update))),
      );
      await bus.nc.flush(); // the server knows of it before anybody asks
      return served;
    },
    answerList: async (method, list) => {
      const served = closer.add(serveRpc(bus, method, paged(list)));
      await bus.nc.flush();
      return served;
    },
    lead: () =>
      world.answer('failover.status', () => ({
        leader: 'l1',
        auto: true,
        paused: false,
        clusters: [
          {
            cluster: 'east',
            state: 'suspect',
            failing: ['cdc.stream'],
            observers: ['cdc-east'],
            forMs: 1.5,
            score: 80,
          },
        ],
      })),
    place: async (placement = {}) => {
      const [entry, made] = newTenant(placement.tenant ?? ACME, {
        west: 'live',
        tenant: { users: { app: { verifier: 'v' } } },
        placement,
      });
      await catalog.createTenant(entry, made);
      return made;
    },
    stop: async () => {
      stop.abort();
      await ended;
    },
    close: () => closer.close(),
  };
  return world;
}

export async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const value of stream) out.push(value);
  return out;
}

/** The next value; the stream goes on. */
export async function nextOf<T>(iterator: AsyncIterator<T>): Promise<T> {
  const { value, done } = await iterator.next();
  return must(done === true ? undefined : (value as T), 'another value of the stream');
}

export function change(
  world: World,
  tenant: TenantId,
  fn: (placement: Placement) => Placement,
): Promise<Placement> {
  return world.catalog.changePlacement(tenant, fn);
}
