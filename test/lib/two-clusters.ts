/**
 * Two clusters of their own, `east` and `west`, with one database each, a bus, and Drover's services between them, each of which can be ended and
 * started again. The worlds of test/data, test/compat and test/chaos are made of this.
 */
import { type Bus, connectBus } from '@drover/bus';
import { type Catalog, openCatalog } from '@drover/catalog';
import { type Config, type ConfigParts, configFromParts } from '@drover/config';
import { Closer, clusterId } from '@drover/core';
import { originName } from '@drover/pg';
import {
  ownPostgres,
  preparedDatabase,
  TEST_SECRET,
  type TestNats,
  type TestNatsOptions,
  type TestPostgres,
  type TestPostgresOptions,
  testNats,
} from '@drover/testkit';
import { inProcess, type Running, type Service } from './services.ts';

export const EAST = clusterId('east');
export const WEST = clusterId('west');
export const NAMES = ['east', 'west'] as const;
export type Name = (typeof NAMES)[number];
export const DATABASE = 'app';

/** Of the configuration, as they stand in the file. */
export type Sections = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface ClustersOptions {
  readonly postgres?: Partial<Record<Name, TestPostgresOptions>>;
  readonly nats?: TestNatsOptions;
  /** On top of few partitions, any free port and the tenant column `tenant`. */
  readonly sections?: Sections;
  readonly transform?: ConfigParts['transform'];
  /** Makes {@link DATABASE} and what the application has in it; the setup comes afterwards. */
  readonly makeDatabase: (server: TestPostgres, name: Name) => Promise<void>;
}

/** The parts of a {@link TwoClusters}, no service running yet. */
export interface Clusters {
  readonly servers: Readonly<Record<Name, TestPostgres>>;
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly config: Config;
  /** Closes all of it, and what is added. */
  readonly closer: Closer;
}

export async function startClusters(options: ClustersOptions): Promise<Clusters> {
  const closer = new Closer();
  const nats = await testNats(options.nats);
  closer.add({ close: () => nats.stop() });
  const servers = {
    east: await ownPostgres(options.postgres?.east),
    west: await ownPostgres(options.postgres?.west),
  };
  for (const name of NAMES) closer.add({ close: () => servers[name].stop() });
  const config = configFromParts({
    clusters: NAMES.map((name) => ({
      name,
      host: '127.0.0.1',
      port: servers[name].port,
      databases: [DATABASE],
    })),
    sections: merged(
      {
        security: { secret: TEST_SECRET },
        tagging: { column: 'tenant' },
        telemetry: { port: 0, log_level: process.env['DROVER_TEST_LOG'] ?? 'error' },
        nats: { url: nats.url, partitions: 2 },
      },
      options.sections ?? {},
    ),
    transform: options.transform ?? [],
  });
  for (const name of NAMES) {
    await options.makeDatabase(servers[name], name);
    await setUp(servers[name], name, config);
  }
  const bus = closer.add(await connectBus({ url: nats.url, name: 'test' }));
  const catalog = closer.add(await openCatalog(bus, { replicas: 1 }));
  return { servers, nats, bus, catalog, config, closer };
}

/** As `drover setup` does it; may be repeated, after tables were made. */
export async function setUp(server: TestPostgres, name: Name, config: Config): Promise<void> {
  await preparedDatabase(server, {
    cluster: clusterId(name),
    database: DATABASE,
    tagging: config.tagging,
    origins: [0, 1].map((slot) => originName('copy', slot)),
    ddl: config.capture.ddl,
  });
}

export class TwoClusters {
  readonly servers: Readonly<Record<Name, TestPostgres>>;
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly catalog: Catalog;
  readonly config: Config;
  readonly #closer: Closer;
  readonly #start: typeof inProcess;
  readonly #running = new Map<Service, Running>();

  /** `start`: how services are started. */
  constructor(clusters: Clusters, start: typeof inProcess = inProcess) {
    this.servers = clusters.servers;
    this.nats = clusters.nats;
    this.bus = clusters.bus;
    this.catalog = clusters.catalog;
    this.config = clusters.config;
    this.#closer = clusters.closer;
    this.#start = start;
  }

  async run(...services: Service[]): Promise<void> {
    for (const service of services) {
      const running = this.#start(service, this.config);
      this.#running.set(service, running);
      await running.ready;
    }
  }

  /** Where a service that runs serves its metrics and its health. */
  metricsUrl(service: Service): string {
    return this.#running.get(service)?.metricsUrl ?? '';
  }

  async end(service: Service, how: 'stop' | 'kill' = 'stop'): Promise<void> {
    const running = this.#running.get(service);
    this.#running.delete(service);
    await running?.[how]();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((service) => this.end(service)));
    await this.#closer.close();
  }
}

export function merged(below: Sections, above: Sections): Sections {
  const names = new Set([...Object.keys(below), ...Object.keys(above)]);
  return Object.fromEntries([...names].map((name) => [name, { ...below[name], ...above[name] }]));
}
