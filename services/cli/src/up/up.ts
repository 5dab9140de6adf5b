/**
 * `drover up`: everything on this machine. Two clusters, NATS, every service as a process of its own, sample tenants, a modest load. Stops all
 * of it in order; data survives in the data folder.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, loadConfig, renderConfigTemplate, setupConnection } from '@drover/config';
import { describeError } from '@drover/core';
import {
  attachNats,
  attachPostgres,
  type LocalServer,
  type PgMajor,
  startNats,
  startPostgres,
} from '@drover/local';
import { connectPg } from '@drover/pg';
import { runSetup } from '../commands/clusters.ts';
import { outputOf } from '../output/terminal.ts';
import { Child, type ChildSpec } from './children.ts';
import { clearLayout, type Layout, layoutOf, loadState, type UpState } from './layout.ts';
import {
  SAMPLE_DATABASE,
  SAMPLE_REFERENCE,
  SAMPLE_REFERENCE_TABLES,
  SAMPLE_SCHEMA,
} from './sample-schema.ts';
import { createSampleTenants } from './sample-tenants.ts';

export interface UpOptions {
  readonly dataDir: string;
  readonly fresh: boolean;
  readonly major: PgMajor;
  readonly seedTenants: number;
  readonly demoLoad: boolean;
  readonly rate: number;
  readonly autoPorts: boolean;
  /** Where services send traces, when the configuration is written. */
  readonly otlpUrl?: string;
  readonly json: boolean;
  readonly signal: AbortSignal;
  /** The CLI's entry, with which services are started. */
  readonly entry: string;
  readonly write?: (line: string) => void;
}

export const UP_CLUSTERS = ['east', 'west'] as const;
const NATS_MAX_PAYLOAD = 8 * 1024 * 1024;

export async function up(options: UpOptions): Promise<void> {
  const say = new Reporter(options);
  const layout = layoutOf(options.dataDir);
  if (options.fresh) clearLayout(layout);
  const state = await loadState(layout, {
    clusters: UP_CLUSTERS,
    major: options.major,
    autoPorts: options.autoPorts,
  });
  const servers: { name: string; server: LocalServer }[] = [];
  const children: Child[] = [];
  try {
    say.step('starting PostgreSQL (east, west) and NATS');
    servers.push(...(await startServers(layout, state, say)));
    const config = writeConfig(layout, state, options.otlpUrl);
    say.step('preparing clusters');
    await prepareDatabases(config);
    await runSetup(
      config,
      { adopt: false, resync: false },
      outputOf(true, () => undefined),
    );
    say.step('starting services');
    const specs = serviceSpecs(layout);
    const metrics: Record<string, unknown> = {};
    const start = async (spec: ChildSpec) => {
      const child = new Child(options.entry, spec, (event) => {
        if (event.event === 'exited')
          say.event(event, `  ${event.name} ended (${event.code ?? event.signal}), starting it again`);
        else if (metrics[event.name] !== undefined) say.event(event, `  ${event.name} is back`);
      });
      children.push(child);
      const info = await child.start();
      metrics[spec.name] = info['metricsUrl'];
      say.line(`  ${spec.name} ready (pid ${child.pid})`);
    };
    await Promise.race([Promise.all(specs.map(start)), until(options.signal)]);
    if (options.signal.aborted) return;
    say.step('sample tenants');
    const tenants = await createSampleTenants(config, {
      count: options.seedTenants,
      password: state.samplePassword,
      signal: options.signal,
    });
    await seedReference(config);
    if (options.demoLoad && tenants.length > 0) {
      await start({
        name: 'demo-load',
        logFile: join(layout.logs, 'demo-load.log'),
        args: [
          'demo-load',
          '--config',
          layout.configFile,
          '--tenants',
          tenants.join(','),
          '--rate',
          String(options.rate),
          '--state',
          layout.stateFile,
        ],
      });
    }
    ready(say, layout, state, config, tenants, metrics);
    watchServers(servers, layout, state, say, options.signal);
    await until(options.signal);
    say.step('stopping');
  } finally {
    await stopAll(children, servers, say);
  }
}

function until(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

async function startServers(
  layout: Layout,
  state: UpState,
  say: Reporter,
): Promise<{ name: string; server: LocalServer }[]> {
  const clusters = UP_CLUSTERS.map(async (name) => {
    const own = {
      dir: layout.cluster(name),
      superPassword: state.superPassword,
      major: state.major as PgMajor,
    };
    const left = await attachPostgres(own).catch(() => null);
    if (left !== null) await left.stop('fast');
    return { name, server: await startServer(name, layout, state, say) };
  });
  const nats = (async () => {
    const left = await attachNats({ dir: layout.nats, port: state.ports.nats }).catch(() => null);
    if (left !== null) await left.stop();
    return { name: 'nats', server: await startServer('nats', layout, state, say) };
  })();
  const settled = await Promise.allSettled([nats, ...clusters]);
  const started = settled.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
  const failed = settled.find((s) => s.status === 'rejected');
  if (failed !== undefined) {
    await Promise.all(started.map((s) => s.server.stop()));
    throw failed.reason;
  }
  return started;
}

/** Says when a server ends (somebody tries what the third printed command does); SIGUSR1 starts those that ended again. */
function watchServers(
  servers: { name: string; server: LocalServer }[],
  layout: Layout,
  state: UpState,
  say: Reporter,
  signal: AbortSignal,
): void {
  const ended = new Set<{ name: string; server: LocalServer }>();
  const watch = (entry: { name: string; server: LocalServer }) =>
    void entry.server.exited.then(() => {
      if (signal.aborted) return;
      ended.add(entry);
      const restart = `kill -USR1 ${process.pid}`;
      say.event(
        { event: 'server_ended', name: entry.name, restart },
        `  ${entry.name} has ended; \`${restart}\` starts it again`,
      );
    });
  for (const entry of servers) watch(entry);
  process.on('SIGUSR1', () => {
    for (const entry of ended) {
      ended.delete(entry);
      startServer(entry.name, layout, state, say).then(
        (server) => {
          entry.server = server;
          watch(entry);
          say.event(
            { event: 'server_started', name: entry.name, pid: server.pid },
            `  ${entry.name} is back (pid ${server.pid})`,
          );
        },
        (error: unknown) => say.line(`  ${entry.name} did not start: ${describeError(error)}`),
      );
    }
  });
}

function startServer(name: string, layout: Layout, state: UpState, say: Reporter): Promise<LocalServer> {
  const notice = (line: string) => say.line(`  ${line}`);
  if (name === 'nats')
    return startNats({ dir: layout.nats, port: state.ports.nats, maxPayload: NATS_MAX_PAYLOAD, notice });
  const port = state.ports.clusters[name] ?? 0;
  return startPostgres({
    dir: layout.cluster(name),
    port,
    major: state.major as PgMajor,
    superPassword: state.superPassword,
    notice,
  });
}

function writeConfig(layout: Layout, state: UpState, otlpUrl: string | undefined): Config {
  const text = renderConfigTemplate({
    sections: {
      nats: { url: `nats://127.0.0.1:${state.ports.nats}`, max_bytes: '2GiB' },
      security: { secret: state.secret },
      tagging: { column: 'tenant_id', reference: SAMPLE_REFERENCE_TABLES },
      proxy: { port: state.ports.proxy },
      control: { port: state.ports.control },
      telemetry: { port: state.ports.metrics, ...(otlpUrl === undefined ? {} : { otlp_url: otlpUrl }) },
    },
    clusters: UP_CLUSTERS.map((name) => ({
      name,
      host: '127.0.0.1',
      port: state.ports.clusters[name],
      databases: [SAMPLE_DATABASE],
      setup_user: 'postgres',
      setup_password: state.superPassword,
    })),
  });
  if (!existsSync(layout.configFile)) writeFileSync(layout.configFile, text, { mode: 0o600 });
  return loadConfig({ file: layout.configFile });
}

async function prepareDatabases(config: Config): Promise<void> {
  await Promise.all(
    config.clusters.map(async (cluster) => {
      const admin = await connectPg(setupConnection(cluster, 'postgres'));
      try {
        const { rowCount } = await admin.query('SELECT 1 FROM pg_database WHERE datname = $1', [
          SAMPLE_DATABASE,
        ]);
        if (rowCount === 0) await admin.query(`CREATE DATABASE ${SAMPLE_DATABASE}`);
      } finally {
        await admin.end();
      }
      const client = await connectPg(setupConnection(cluster));
      try {
        await client.query(`SET search_path = public; ${SAMPLE_SCHEMA}`);
      } finally {
        await client.end();
      }
    }),
  );
}

/** Reference rows are written where `_shared` is served; the stream brings them to the other cluster. */
async function seedReference(config: Config): Promise<void> {
  const home = config.clusters[0];
  if (home === undefined) return;
  const client = await connectPg(setupConnection(home));
  try {
    const { rows } = await client.query<{ role: string }>(
      `SELECT role FROM drover.tenant WHERE tenant = '_shared'`,
    );
    if (rows[0]?.role === 'primary') await client.query(`SET search_path = public; ${SAMPLE_REFERENCE}`);
  } finally {
    await client.end();
  }
}

function serviceSpecs(layout: Layout): ChildSpec[] {
  const spec = (service: string, cluster?: string): ChildSpec => {
    const name = cluster === undefined ? service : `${service}-${cluster}`;
    return {
      name,
      logFile: join(layout.logs, `${name}.log`),
      args: [
        'run',
        service,
        '--config',
        layout.configFile,
        ...(cluster === undefined ? [] : ['--cluster', cluster]),
      ],
    };
  };
  return [
    ...UP_CLUSTERS.flatMap((cluster) => [spec('cdc', cluster), spec('apply', cluster)]),
    spec('failover'),
    spec('migration'),
    spec('proxy'),
    spec('control'),
  ];
}

function ready(
  say: Reporter,
  layout: Layout,
  state: UpState,
  config: Config,
  tenants: readonly string[],
  metrics: Record<string, unknown>,
): void {
  const first = tenants[0] ?? 't01';
  const proxy = `postgres://${first}.app:${state.samplePassword}@127.0.0.1:${state.ports.proxy}/${SAMPLE_DATABASE}`;
  const clusters = Object.fromEntries(
    config.clusters.map((c) => [
      c.name,
      `postgres://postgres:${state.superPassword}@127.0.0.1:${c.port}/${SAMPLE_DATABASE}`,
    ]),
  );
  const drover = `npm run -s drover --`;
  const flag = `--config ${layout.configFile}`;
  const pidFile = join(layout.cluster('east'), 'data', 'postmaster.pid');
  say.event(
    {
      event: 'ready',
      proxy,
      clusters,
      nats: config.nats.url,
      control: `${config.control.host}:${config.control.port}`,
      metrics,
      config: layout.configFile,
      tenants,
    },
    [
      '',
      `ready. ${tenants.length} tenants on two clusters; connect as an application would:`,
      `  psql '${proxy}'`,
      '',
      `  NATS     ${config.nats.url}`,
      `  control  ${config.control.host}:${config.control.port} (gRPC)`,
      ...Object.entries(metrics).flatMap(([name, url]) =>
        typeof url === 'string' ? [`  metrics  ${name.padEnd(11)} ${url}/metrics`] : [],
      ),
      `  logs     ${layout.logs}`,
      '',
      'try next, in another shell:',
      `  ${drover} lag --watch ${flag}`,
      `  ${drover} tenant failover ${first} --to west ${flag}`,
      `  kill -9 $(head -1 ${pidFile})    # the whole cluster east; its tenants go on at west`,
      '',
      'Ctrl-C stops everything; the data stays.',
    ].join('\n'),
  );
}

/** Load first, then the front door, then what moves data, then the servers. */
async function stopAll(
  children: readonly Child[],
  servers: readonly { name: string; server: LocalServer }[],
  say: Reporter,
): Promise<void> {
  const order = ['demo-load', 'proxy', 'control', 'failover', 'migration', 'cdc', 'apply'];
  const rank = (child: Child) => order.findIndex((name) => child.spec.name.startsWith(name));
  for (const name of order) {
    await Promise.all(
      children.filter((child) => rank(child) === order.indexOf(name)).map((child) => child.stop()),
    );
  }
  for (const { name, server } of [...servers].reverse()) {
    await server
      .stop('fast')
      .catch((error: unknown) => say.line(`  ${name} did not stop: ${describeError(error)}`));
  }
  say.event({ event: 'stopped' }, 'stopped.');
}

class Reporter {
  readonly #json: boolean;
  readonly #write: (line: string) => void;
  readonly #began = performance.now();

  constructor(options: UpOptions) {
    this.#json = options.json;
    this.#write = options.write ?? ((line) => process.stdout.write(`${line}\n`));
  }

  step(text: string): void {
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(1);
    this.event({ event: 'step', step: text, seconds: Number(seconds) }, `[${seconds.padStart(5)} s] ${text}`);
  }

  line(text: string): void {
    if (this.#json) this.#write(JSON.stringify({ event: 'note', text: text.trim() }));
    else this.#write(text);
  }

  event(value: Record<string, unknown> | { event: string }, text: string): void {
    this.#write(this.#json ? JSON.stringify(value) : text);
  }
}
